"""Model files in: ONNX files and exported programs become modules whose addresses are the file's own names.

May import: tracing and below. What a loaded model is for is not known here.
"""
