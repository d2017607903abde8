"""What `torch.export` records: the user's forward in ONNX's operators, from tensors to tensors."""

from torch import Tensor, nn

from qdiag.export.constant_tensors import ConstantTensors
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.tracing.inputs import Inputs, named_leaves


class Network(nn.Module):
    """Takes the tensors of `inputs` in their order, and returns those of the model's result in theirs.

    Everything else that the model is called with stays as it is in `inputs`.
    """

    def __init__(self, interpreter: Interpreter, constants: ConstantTensors, inputs: Inputs):
        super().__init__()
        self.model, self.tensors = interpreter.model, constants
        self.interpreter, self.inputs = interpreter, inputs

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = iter(tensors)
        result = InterpreterRun(self.interpreter).forward(self.inputs.map(lambda _: next(given)))
        return tuple(tensor for _, tensor in named_leaves(result))
