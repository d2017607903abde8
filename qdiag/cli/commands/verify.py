"""`qdiag verify`."""

import typer

from qdiag.cli.gather import gather
from qdiag.cli.options import DataOptions, FormatOptions, ModelOptions, QuantizedOptions
from qdiag.cli.output import OutputOptions, bar
from qdiag.cli.quantized import quantized
from qdiag.export.verify import IMAGES
from qdiag.export.verify import verify as verify_model


def verify(
    model: ModelOptions, data: DataOptions, formats: FormatOptions, fit: QuantizedOptions, output: OutputOptions
) -> None:
    """Does an integer runtime compute the very tensors that the simulation shows?

    On 16 of the images, or on as many as --limit says.

    Exit code: 0 where it does, 1 where integers are off by more than one step, 2 where it could not be checked.

    qdiag verify my_model.py:build --images photos/ --load calibrated.pt
    """
    subject = gather(model, data, formats.calibration).subject
    found = verify_model(quantized(subject, formats, fit), subject.data, images=data.limit or IMAGES, on_progress=bar())
    output.show(found)
    raise typer.Exit(found.exit_code)
