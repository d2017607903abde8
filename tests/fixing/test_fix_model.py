"""What a machine can mend is mended, computes the same, and leaves the rest of the model as it was."""

import copy
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag import AddBlock, MulBlock, ResizeWith, calibrate, fix_model, lint_model
from qdiag.fixing.edit import Edit
from qdiag.linting.rules.qd108_unmerged_branches import UnmergedBranches
from tests.models import settle

IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """A shortcut as people write it: a sum in place, one ReLU for both uses, dropout as a function."""

    def __init__(self, channels: int = 8, p: float = 0.5):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.p, self.note = p, "kept"

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = F.dropout(self.bn2(self.conv2(out)), self.p, self.training)
        out += x
        return self.relu(out)


class Net(nn.Module):
    def __init__(self, *blocks: nn.Module):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.bn(self.stem(x))))
        return self.head(x.mean((2, 3), keepdim=True)).flatten(1)


def net(*blocks: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    model = Net(*(blocks or (Block(), Block())))
    settle(model, IMAGES)
    return model.eval()


def outputs(model: nn.Module, images: Tensor = IMAGES) -> Tensor:
    with torch.no_grad():
        return model(images)


def test_functions_and_reused_modules_become_modules_of_their_own_and_outputs_stay_bit_for_bit() -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    fixed = fix_model(model, IMAGES)
    assert torch.equal(outputs(fixed.model), outputs(model))
    assert fixed.difference == 0.0
    assert {type(module) for module in fixed.model.modules()} >= {AddBlock, nn.AdaptiveAvgPool2d, nn.Dropout}
    assert fixed.model.blocks[0].relu is not fixed.model.blocks[0].relu2  # type: ignore[index, union-attr]
    assert not [one for one in fixed.lint.findings if one.severity != "note"]
    assert list(fixed.model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert type(model.blocks[0]) is Block  # type: ignore[index]


def test_each_change_names_the_users_line_and_what_runs_instead() -> None:
    edit = next(one for one in fix_model(net(), IMAGES).edits if "AddBlock" in one.made)
    assert edit.was == "out += x"
    assert (edit.made, edit.now, edit.module) == ("self.add = AddBlock()", "self.add(dropout, x)", "blocks.0")


def test_changes_of_one_line_in_many_blocks_are_one_row() -> None:
    rows = fix_model(net(), IMAGES).to_pandas()
    row = rows[rows["made"] == "self.add = AddBlock()"].iloc[0]
    assert (row["modules"], row["module"]) == (2, "blocks.0")


def test_the_mended_model_gives_the_same_integers() -> None:
    model = net()
    fixed = fix_model(model, IMAGES).model
    assert torch.equal(outputs(calibrate(fixed, IMAGES, "simple")), outputs(calibrate(model, IMAGES, "simple")))


def test_dropout_is_still_told_whether_the_model_trains() -> None:
    fixed = fix_model(net(Block(p=0.9)), IMAGES).model
    fixed.train()
    assert not torch.equal(outputs(fixed), outputs(fixed))
    fixed.eval()
    assert torch.equal(outputs(fixed), outputs(fixed))


def test_attributes_hooks_and_mode_are_those_of_the_model() -> None:
    model, seen = net(), []
    model.blocks[0].register_forward_hook(lambda *_: seen.append("hook"))  # type: ignore[index, union-attr]
    fixed = fix_model(model.train(), IMAGES).model
    assert fixed.training
    assert fixed.blocks[0].note == "kept"  # type: ignore[index, union-attr]
    seen.clear()
    fixed(IMAGES)
    assert seen == ["hook"]


class Aliased(nn.Module):
    """The sum is written into a tensor that another name stands for."""

    def forward(self, x: Tensor) -> Tensor:
        y = x * torch.sigmoid(x)
        kept = y
        y += x
        return kept * 2 + y


class Deciding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(x) if float(x.mean()) > -100 else x


class Training(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) + x if self.training else x + torch.sigmoid(x)


@pytest.mark.parametrize(
    ("block", "why"),
    [(Aliased(), "works in place"), (Deciding(), "decides by values"), (Training(), "another thing in training")],
)
def test_what_only_the_author_can_change_is_left_and_said(block: nn.Module, why: str) -> None:
    model = net(block, Block())
    fixed = fix_model(model, IMAGES)
    assert torch.equal(outputs(fixed.model), outputs(model))
    (left,) = fixed.left
    assert (left.path, type(fixed.model.blocks[0])) == ("blocks.0", type(block))  # type: ignore[index]
    assert why in left.why
    assert "Left as they were" in str(fixed)
    assert [one for one in fixed.lint.findings if one.code == "QD103" and one.severity == "warning"]
    assert any(edit.module == "blocks.1" for edit in fixed.edits)


class Gated(nn.Module):
    """Squeeze-and-excitation, a list that is concatenated, and a resize to another map's size, all as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze, self.down = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.out = nn.Conv2d(16, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.sigmoid(self.squeeze(F.adaptive_avg_pool2d(x, 1)))
        parts = [x * scale, F.interpolate(self.down(x), size=x.shape[-2:], mode="bilinear", align_corners=False)]
        return self.out(torch.cat(parts, dim=1)).clamp(0, 6)


def test_gates_concats_and_resizes_become_blocks() -> None:
    model = net(Gated())
    fixed = fix_model(model, IMAGES)
    made = {type(module) for module in fixed.model.modules()}
    assert {MulBlock, ResizeWith, nn.ReLU6, nn.Sigmoid} <= made
    assert torch.equal(outputs(fixed.model), outputs(model))
    larger = torch.randn(2, 3, 24, 32)
    assert torch.equal(outputs(fixed.model, larger), outputs(model, larger))


def test_one_module_that_stands_at_two_places_becomes_two() -> None:
    relu = nn.ReLU()
    model = nn.Sequential(nn.Conv2d(3, 8, 1), relu, nn.Conv2d(8, 8, 1), relu, nn.Conv2d(8, 2, 1)).eval()
    fixed = fix_model(model, IMAGES)
    assert fixed.model[1] is not fixed.model[3]  # type: ignore[index]
    assert not lint_model(fixed.model, IMAGES, select="QD102").findings
    assert model[1] is model[3]


class Branches(nn.Module):
    """RepVGG's block in training, grouped: 3 x 3, 1 x 1 and the tensor itself, each with a BatchNorm."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, groups: int = 1):
        super().__init__()
        options: dict[str, Any] = {"stride": stride, "groups": groups, "bias": False}
        self.wide = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, **options), nn.BatchNorm2d(outputs))
        self.narrow = nn.Sequential(nn.Conv2d(inputs, outputs, 1, **options), nn.BatchNorm2d(outputs))
        self.same = nn.BatchNorm2d(inputs) if inputs == outputs and stride == 1 else None
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        itself = 0 if self.same is None else self.same(x)
        return self.relu(self.wide(x) + self.narrow(x) + itself)


@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (1, 4), (2, 1)])
def test_branches_become_the_one_convolution_that_they_are(stride: int, groups: int) -> None:
    model = net(Branches(8, 8, stride, groups))
    fixed = fix_model(model, IMAGES)
    block: Any = fixed.model.get_submodule("blocks.0")
    assert sorted(dict(block.named_children())) == ["merged", "relu"]
    assert (block.merged.kernel_size, block.merged.stride, block.merged.groups) == ((3, 3), (stride, stride), groups)
    assert torch.allclose(outputs(fixed.model), outputs(model), atol=1e-5)
    assert not lint_model(fixed.model, IMAGES, select="QD108").findings


def other_padding() -> nn.Module:
    model = UnmergedBranches.bad().model
    model.conv3 = nn.Conv2d(8, 8, 3, padding=2, dilation=2, bias=False)
    model.conv1 = nn.Conv2d(8, 8, 5, padding=2, bias=False)
    return model.eval()


def test_branches_whose_kernels_lie_on_other_places_are_left() -> None:
    assert not lint_model(other_padding(), torch.zeros(1, 8, 8, 8), select="QD108").findings


def test_a_graph_of_torch_fx_is_mended_too() -> None:
    graph = torch.fx.symbolic_trace(Block().eval())
    images = torch.randn(2, 8, 6, 6)
    fixed = fix_model(graph, images)
    assert any("AddBlock" in edit.made for edit in fixed.edits)
    assert torch.equal(outputs(fixed.model, images), outputs(graph, images))


def test_nothing_to_mend_is_said() -> None:
    fixed = fix_model(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), IMAGES)
    assert fixed.edits == ()
    assert "Nothing was changed" in str(fixed)


def test_a_change_without_a_line_has_no_words_for_it() -> None:
    assert Edit("reuse", "", None, "self.relu2 = nn.ReLU()", "self.relu2(…)").was == ""


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1"])
def test_networks_of_torchvision_are_mended_whole(name: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    fixed = fix_model(model, torch.randn(2, 3, 64, 64))
    assert fixed.edits
    assert (fixed.left, fixed.difference) == ((), 0.0)
    assert not [one for one in fixed.lint.findings if one.severity != "note"]
    assert list(fixed.model.state_dict()) == list(model.state_dict())
