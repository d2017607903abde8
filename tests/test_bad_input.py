"""What cannot be used is refused: with an error of ours that says what to do, before long work, the model unharmed."""

import inspect as python_inspect
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from qdiag.comparison.compare import compare
from qdiag.comparison.inspect import inspect
from qdiag.errors import InputError, ModelError, OptionError, QdiagError, SiteNotFound
from qdiag.linting.lint import lint_model
from qdiag.tracing.tracer import trace
from tests.models import IMAGE, Small, calibrate

IMAGES = torch.randn(IMAGE)


class Counting(Small):
    """Knows how often it ran."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.runs.append(len(x))
        return super().forward(x)


def many(images: Tensor = IMAGES) -> list[Tensor]:
    """Enough batches for a test to see whether the work was begun."""
    return [images] * 50


BOTH = pytest.mark.parametrize("call", [calibrate, compare], ids=["calibrate", "compare"])


# Models -------------------------------------------------------------------------------------------------


class Raising(Small):
    """Raises in its own code."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        raise KeyError("mean")


@BOTH
def test_a_model_that_raises_is_named_with_the_last_site_and_line(call: Callable[..., Any]) -> None:
    line = python_inspect.getsourcelines(Raising.forward)[1] + 1
    expected = rf"the model raised KeyError at or after site 'conv1' \(tests/test_bad_input.py:{line}\): 'mean'"
    with pytest.raises(ModelError, match=expected) as error:
        call(Raising(), IMAGES)
    assert isinstance(error.value.__cause__, KeyError)


@BOTH
def test_images_of_a_wrong_shape(call: Callable[..., Any]) -> None:
    with pytest.raises(ModelError, match=r"site 'conv1'.*It was called with \(input: float32\[2, 1, 12, 12\]\)"):
        call(Small(), torch.randn(4, 1, 12, 12))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", ["conv2.weight", "bn1.running_var", "head.bias"])
@BOTH
def test_weights_that_are_no_numbers(call: Callable[..., Any], name: str, value: float) -> None:
    model = Counting()
    model.state_dict()[name].view(-1)[1] = value
    with pytest.raises(ModelError, match=rf"{name} holds NaN or infinity \(1 of \d+ values\)"):
        call(model, many())
    assert not model.runs


@BOTH
def test_infinity_in_a_mask_is_no_error(call: Callable[..., Any]) -> None:
    class Masked(Small):
        def __init__(self) -> None:
            super().__init__()
            self.mask = nn.Buffer(torch.tensor([0.0, 0.0, 0.0, 0.0, -torch.inf]))

        def forward(self, x: Tensor) -> Tensor:
            return (super().forward(x) + self.mask).softmax(1)

    with pytest.raises(ModelError, match="computes NaN or infinity, first at site ':add#1'"):
        call(Masked(), IMAGES)
    unused = Small()
    unused.register_buffer("mask", torch.tensor(-torch.inf))
    assert call(unused, IMAGES)


@BOTH
def test_a_model_that_computes_infinity_is_found_out_at_its_first_batch(call: Callable[..., Any]) -> None:
    class Overflowing(Counting):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 1e30 * 1e30

    model = Overflowing()
    with pytest.raises(ModelError, match="the float model itself computes NaN or infinity, first at site ':mul#1'"):
        call(model, many())
    assert len(model.runs) < 6


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@BOTH
def test_half_precision(call: Callable[..., Any], kind: torch.dtype) -> None:
    with pytest.raises(ModelError, match=r"conv1.weight is b?float16.*model\.float\(\)"):
        call(Small().to(kind), IMAGES.to(kind))


@pytest.mark.parametrize("call", [calibrate, compare, trace, lint_model])
def test_a_model_without_numbers(call: Callable[..., Any]) -> None:
    with torch.device("meta"):
        model = Small()
    with pytest.raises(
        ModelError, match=r"conv1\.weight lies on the 'meta' device and has no numbers\. Load the model's"
    ):
        call(model, IMAGES)


@pytest.mark.parametrize("call", [calibrate, compare, trace, lint_model])
def test_a_model_whose_weights_have_no_shape_yet(call: Callable[..., Any]) -> None:
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU())
    with pytest.raises(ModelError, match=r"0\.weight has no shape yet.*Run the model once"):
        call(model, IMAGES)
    assert isinstance(model[0], nn.LazyConv2d)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
@BOTH
def test_a_script(call: Callable[..., Any]) -> None:
    script = torch.jit.script(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
    with pytest.raises(ModelError, match=r"the model is a ScriptModule.*Pass the nn\.Module it was made from"):
        call(script, IMAGES)
    with pytest.raises(ModelError, match="0 is a ScriptModule"):
        call(nn.Sequential(script), IMAGES)


@pytest.mark.parametrize(
    "model",
    [Small.forward, None, "resnet18", Small, {"state_dict": {}}],
    ids=["function", "nothing", "name", "class", "checkpoint"],
)
@pytest.mark.parametrize("call", [calibrate, compare, trace, lint_model])
def test_what_is_no_model(call: Callable[..., Any], model: Any) -> None:
    with pytest.raises(ModelError, match=r"^the model is (a|the) .*Pass an nn.Module"):
        call(model, IMAGES)


@BOTH
def test_a_model_that_cannot_be_pickled_or_copied_is_as_good_as_any(call: Callable[..., Any]) -> None:
    model = Small()
    model.callback = lambda x: x  # type: ignore[assignment]
    model.log = io.BytesIO()  # type: ignore[assignment]
    model.handle = memoryview(b"")  # type: ignore[assignment]
    with pytest.raises(TypeError):
        __import__("copy").deepcopy(model)
    assert call(model, IMAGES)


# Data ---------------------------------------------------------------------------------------------------


class Broken(Dataset[Tensor]):
    """Fails at its tenth image."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Tensor:
        if index == 9:
            raise OSError("image 9 is truncated")
        return IMAGES[0]


@BOTH
def test_data_that_raises(call: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="the data raised OSError: image 9 is truncated") as error:
        call(Small(), DataLoader(Broken(), batch_size=4))
    assert isinstance(error.value.__cause__, OSError)


@pytest.mark.parametrize("data", [[], DataLoader([]), torch.zeros(0, 3, 12, 12)], ids=["list", "loader", "tensor"])  # type: ignore[arg-type]
@BOTH
def test_no_data(call: Callable[..., Any], data: Any) -> None:
    with pytest.raises(InputError, match=r"the data is empty|there is no image in it"):
        call(Small(), data)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@BOTH
def test_images_that_are_no_numbers(call: Callable[..., Any], bad: float) -> None:
    images = IMAGES.clone()
    images[3, 0, 0, 0] = bad
    with pytest.raises(
        InputError, match=r"batch 2 of the data: input holds NaN or infinity.*how the images are loaded"
    ):
        call(Small(), [IMAGES, IMAGES, images])


@BOTH
def test_integers(call: Callable[..., Any]) -> None:
    with pytest.raises(ModelError, match="input is of an integer type: convert it to float and normalise"):
        call(Small(), torch.randint(0, 255, IMAGE, dtype=torch.uint8))


@BOTH
def test_images_of_another_precision(call: Callable[..., Any]) -> None:
    with pytest.raises(ModelError, match=r"weights are torch\.float32: convert the inputs to that type"):
        call(Small(), IMAGES.double())


@BOTH
def test_data_that_can_be_read_once(call: Callable[..., Any]) -> None:
    def stream() -> Iterator[Tensor]:
        yield IMAGES

    with pytest.raises(InputError, match="an iterator, which can be read only once"):
        call(Small(), stream())


@pytest.mark.parametrize("data", [7, Small(), "images/"], ids=["int", "module", "path"])
@BOTH
def test_what_is_no_data(call: Callable[..., Any], data: Any) -> None:
    with pytest.raises(InputError, match=r"the data is a \w+\. Pass a DataLoader, a list of batches, or a tensor"):
        call(Small(), data)


@BOTH
def test_no_data_at_all(call: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="no-data"):
        call(Small(), None)


@BOTH
def test_batches_of_what_is_no_image(call: Callable[..., Any]) -> None:
    with pytest.raises(QdiagError, match=r"no tensor|the model raised"):
        call(Small(), [["a.jpg", "b.jpg"]])


@pytest.mark.parametrize("example", [None, "image.jpg", 3])
def test_an_example_without_a_tensor(example: Any) -> None:
    with pytest.raises(QdiagError, match=r"the model raised \w+"):
        trace(Small(), example)


# Options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 1}, "1 bits: a fixed-point format has 2 to 32 bits"),
        ({"bits": 99}, "99 bits"),
        ({"bits": "8"}, "'8' bits"),
        ({"bits": {"conv9": 16}}, "bits for 'conv9': no layer is called that"),
        ({"bits": {"conv1": 0}}, "0 bits"),
        ({"method": "magic"}, "no method 'magic'. There are: .*simple"),
        ({"target": "gpu"}, "no target 'gpu'. There are: onnxruntime, tidl"),
        ({"per_channel": "channels"}, "per_channel='channels': it is None, 'depthwise' or 'all'"),
    ],
    ids=str,
)
def test_options_that_do_not_exist(options: dict[str, Any], message: str) -> None:
    model = Counting()
    with pytest.raises(OptionError, match=message):
        calibrate(model, many(), **options)
    for_compare = options | ({"bits": [options["bits"]]} if "bits" in options else {})
    with pytest.raises(OptionError, match=message):
        compare(model, many(), **for_compare)
    assert len(model.runs) <= 2  # the traces


@pytest.mark.parametrize("bits", [8, "8", {"conv1": 8}, ()], ids=repr)
def test_a_comparison_needs_a_list_of_bits(bits: Any) -> None:
    model = Counting()
    with pytest.raises(OptionError, match=r"give the bits of each version to compare with float, as bits=\(16, 8\)"):
        compare(model, many(), bits=bits)
    assert not model.runs


def test_a_quantized_model_of_another_model() -> None:
    others = {"8-bit": calibrate(Small(), IMAGES)}
    for look in (compare, inspect):
        with pytest.raises(OptionError, match="'8-bit' was made from another model than the one given"):
            look(Small(), IMAGES, quantized=others)
        with pytest.raises(OptionError, match="no-versions"):
            look(Small(), IMAGES, quantized={})


def test_layers_that_do_not_exist() -> None:
    model = Small()
    quantized = calibrate(model, IMAGES)
    for look in (
        lambda: quantized.format("conv9"),
        lambda: compare(model, IMAGES, quantized={"8-bit": quantized}).layer("conv9"),
        lambda: inspect(model, IMAGES, {"8-bit": quantized}, ["conv9"]),
    ):
        with pytest.raises(SiteNotFound, match="no layer at 'conv9'"):
            look()


def test_a_saved_state_of_another_model() -> None:
    quantized = calibrate(Small(), IMAGES)
    other = calibrate(nn.Sequential(nn.Conv2d(3, 8, 3)), IMAGES)
    with pytest.raises(ModelError, match="the saved formats are of another model: only one of the two has 'conv1'"):
        other.set_extra_state(quantized.get_extra_state())
