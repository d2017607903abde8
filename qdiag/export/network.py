"""What `torch.export` records: the user's forward in a lane, from tensors to tensors."""

from torch import Tensor, nn

from qdiag.export.export_lane import ExportLane
from qdiag.quantization.lane import LaneRunner
from qdiag.tracing.inputs import Inputs, named_leaves


class Network(nn.Module):
    """Takes the tensors of `inputs` in their order, and returns those of the model's result in theirs.

    Everything else that the model is called with stays as it is in `inputs`.
    """

    def __init__(self, lane: ExportLane, inputs: Inputs):
        super().__init__()
        self.model, self.tensors = lane.model, lane.tensors
        self.lane, self.inputs = lane, inputs

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = iter(tensors)
        result = LaneRunner(self.lane).forward(self.inputs.map(lambda _: next(given)))
        return tuple(tensor for _, tensor in named_leaves(result))
