"""What has to hold before a model is worth simulating."""

import itertools

import torch
from torch import nn

from qdiag.errors import ModelError
from qdiag.tracing.borrowing import check_module


@torch.no_grad()  # which tensors made in torch.inference_mode() want
def check_model(model: nn.Module) -> None:
    """Raises ModelError for what `check_module` refuses, NaN or infinity in weights, half precision, and scripts."""
    check_module(model)
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                f"{name or 'the model'} is a ScriptModule, inside which operations cannot be seen. "
                "Pass the nn.Module it was made from, or write it as ONNX and load that: torch.onnx.export(model, "
                "(images,), 'model.onnx', dynamo=False), then qdiag.load_model('model.onnx').",
                code="not-a-module",
            )
    buffers = dict(model.named_buffers())
    for name, tensor in itertools.chain(model.named_parameters(), buffers.items()):
        if not tensor.is_floating_point():
            continue
        if tensor.dtype in (torch.float16, torch.bfloat16):
            raise ModelError(
                f"{name} is {str(tensor.dtype).removeprefix('torch.')}, itself coarser than 16-bit fixed point. "
                "Compare the float32 model: model.float().",
                code="half-precision",
            )
        if name in buffers and not name.endswith(("running_mean", "running_var")):
            continue  # a mask may hold infinity, and a buffer may be there and not be used
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise ModelError(
                f"{name} holds NaN or infinity ({bad} of {tensor.numel()} values), so that every result would. "
                "Check the checkpoint it was loaded from, and the training run's loss.",
                code="weights-not-finite",
            )


def check_gradients_possible(model: nn.Module) -> None:
    """Raises ModelError where torch keeps no gradients: in `torch.inference_mode()`, and for a model made in it."""
    if torch.is_inference_mode_enabled():
        raise ModelError(
            "training was called inside torch.inference_mode(), where torch keeps no gradients. Call it outside.",
            code="inference-mode",
        )
    name = next((name for name, one in model.named_parameters() if one.is_inference()), None)
    if name is not None:
        raise ModelError(
            f"{name} was made inside torch.inference_mode(), and gets no gradient. Build the model outside of it, and "
            "load its state_dict there.",
            code="inference-mode",
        )
