"""What each ONNX operator becomes, by family: one small function for each."""
