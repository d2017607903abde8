"""Export: a quantized model as an ONNX file, and the check that an integer runtime computes the same from it.

Here live `export_onnx()` with its result `ExportedModel`, and `verify()` with its result `Verification`. Both run the
user's own forward in a `Lane` that writes ONNX's operators in place of numbers. onnx, onnxscript and onnxruntime are
imported where they are used: they are the extra `qdiag[onnx]`. May import: quantization, planning, tracing, numerics,
report, errors.
"""
