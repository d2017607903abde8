"""Training, of a float model or of one in fixed point: `train()`, its `Recipe`, checkpoints and what came of it.

May import: linting, quantization and below. accelerate and torchmetrics are imported here, and take seconds to load:
whoever stands above imports `train` where it is used.
"""
