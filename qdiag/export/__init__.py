"""Export: a quantized model as a file, and the check that a runtime or a device computes the same from it.

Here live `export_onnx()` with its result `ExportedModel`, and `verify()` with its result `Verification`. Both run the
user's own forward in `Numerics` that write ONNX's operators in place of numbers. `export_target()` adds what an
engine's importer needs (`TargetExport`), and `compare_dump()` reads what its device computed (`DumpComparison`). onnx,
onnxscript and onnxruntime are imported where they are used: they are the extra `qdiag[onnx]`. May import: linting,
quantization and below.
"""
