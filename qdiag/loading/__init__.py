"""Model files in: ONNX files and exported programs become modules whose addresses are the file's own names.

May import: tracing, and the leaves below it. Never another room: what a loaded model is for is not known here.
"""
