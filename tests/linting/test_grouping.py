"""One cause is one finding, wherever it shows."""

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from qdiag.linting.lint import lint_model

IMAGE = torch.zeros(1, 8, 8, 8)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn(self.conv(x)))
        return self.relu(x + y)


def blocks() -> nn.Module:
    return nn.Sequential(Block(), Block(), Block(), nn.Conv2d(8, 2, 1))


def test_reused_relu_of_all_blocks_is_one_finding() -> None:
    (finding,) = lint_model(blocks(), IMAGE, select="QD102").findings
    assert finding.sites == ("0.relu", "1.relu", "2.relu")
    assert finding.severity == "warning"
    assert finding.fix.splitlines()[1:] == ["self.relu1 = nn.ReLU()", "self.relu2 = nn.ReLU()"]


def test_sum_of_all_blocks_is_one_finding() -> None:
    (finding,) = lint_model(blocks(), IMAGE, select="QD103").findings
    assert finding.sites == ("0:add", "1:add", "2:add")
    assert "from qdiag import AddBlock" in finding.fix


def test_resnet18_has_one_finding_for_its_relus_and_one_for_its_sums() -> None:
    report = lint_model(resnet18(weights=None), torch.zeros(1, 3, 64, 64))
    (relus,), sums = report.by_rule("QD102"), report.by_rule("QD103")
    assert len(relus.sites) == 8
    assert [(finding.severity, len(finding.sites)) for finding in sums] == [("warning", 8), ("note", 1)]
    assert report.count("warning") == 2
    assert report.count("error") == 0


class Pyramid(nn.Module):
    """One head for three levels."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.ModuleList(nn.MaxPool2d(2) for _ in range(2))
        self.head = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = [x]
        for pool in self.pool:
            levels.append(pool(levels[-1]))
        return [self.head(level) for level in levels]


def test_shared_head_is_one_note_and_its_layers_none() -> None:
    (finding,) = lint_model(Pyramid(), IMAGE, select="QD102").findings
    assert (finding.sites, finding.severity) == (("head",), "note")
    assert "runs 3 times" in finding.why


def test_one_instance_under_two_names_is_reused() -> None:
    act = nn.ReLU(inplace=True)
    net = nn.Sequential(nn.Sequential(nn.Conv2d(8, 8, 1), act), nn.Sequential(nn.Conv2d(8, 8, 1), act))
    (finding,) = lint_model(net, IMAGE, select="QD102").findings
    assert (finding.site, finding.severity) == ("0.1", "warning")
    assert finding.fix.splitlines()[1] == "self.relu1 = nn.ReLU(inplace=True)"


class Pools(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool, self.conv = nn.MaxPool2d(2), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.pool(self.pool(x)))


def test_reuse_that_keeps_the_range_is_a_note() -> None:
    (finding,) = lint_model(Pools(), IMAGE, select="QD102").findings
    assert (finding.site, finding.severity) == ("pool", "note")


def test_modules_made_in_the_forward_are_not_reused() -> None:
    class Fresh(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.ReLU()(nn.ReLU()(x) - 1)

    assert lint_model(Fresh(), IMAGE, select="QD102").findings == ()


class Arithmetic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x * 2 - 1
        x = nn.functional.max_pool2d(x, 2)
        x = torch.flatten(self.conv(x), 1)
        return x.softmax(1)


def test_numbers_range_keepers_and_post_processing_are_one_note_each() -> None:
    report = lint_model(Arithmetic(), IMAGE, select="QD103")
    assert [(f.severity, f.sites) for f in report.findings] == [
        ("note", (":mul", ":sub")),
        ("note", (":max_pool2d", ":flatten")),
        ("note", (":softmax",)),
    ]


class Product(nn.Module):
    """A module of its own for one operation, as QD103 asks for."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x * y


def test_operation_alone_in_a_module_is_owned_by_it() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.product, self.conv = Product(), nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.product(x, x))

    assert lint_model(Net(), IMAGE, select="QD103").findings == ()
