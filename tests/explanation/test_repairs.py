"""Repairs are tried, measured, judged by the user's figure, and left where time is up."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from qdiag import compare, diagnose, equalize
from qdiag.comparison.figure import Figure
from qdiag.comparison.output_error import OutputError, TensorError
from qdiag.errors import OptionError
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.explanation.repairs import Repair
from qdiag.explanation.trials import Trial, repair_trial
from qdiag.quantization.calibrate import calibrate


def stretched() -> tuple[nn.Module, torch.Tensor]:
    """One channel is 2^9 times the others, which the next layer takes back: equalizing mends it in 8 bit."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    with torch.no_grad():
        net.get_parameter("0.weight")[1] *= 512
        net.get_parameter("0.bias")[1] *= 512
        net.get_parameter("2.weight")[:, 1] /= 512
    return net.eval(), torch.randn(32, 3, 8, 8)


@pytest.fixture(scope="module")
def found() -> Diagnosis:
    return diagnose(*stretched())


def repairs(diagnosis: Diagnosis) -> dict[str, Trial]:
    return {trial.title: trial for trial in diagnosis.trials if trial.kind == "repair"}


def test_the_first_step_is_the_easiest_repair_and_its_code_gives_the_figure_it_names(found: Diagnosis) -> None:
    net, images = stretched()
    step = next(step for step in found.steps if step.code and "rule" not in step.code)
    assert step.code == 'equalize(calibrate(model, images, "simple"), images)'
    version = equalize(calibrate(net, images, "simple"), images)
    again = compare(net, images, quantized={"equalized": version}).outputs["equalized"]
    assert again.worst_sqnr_db == pytest.approx(repairs(found)["equalized channels"].output.worst_sqnr_db, abs=1e-4)


def test_the_model_of_an_advised_repair_need_not_be_made_again(found: Diagnosis) -> None:
    net, images = stretched()
    code = 'equalize(calibrate(model, images, "simple"), images)'
    again = equalize(calibrate(net, images, "simple"), images)
    with torch.no_grad():
        assert torch.equal(found.versions[code](images), again(images))
    assert found.versions.keys() <= {step.code for step in found.steps}


def test_steps_advise_nothing_that_gained_nothing(found: Diagnosis) -> None:
    advised = [trial for trial in repairs(found).values() if any(step.code == trial.code for step in found.steps)]
    assert advised
    assert all((trial.gained_db or 0.0) >= 1.0 for trial in advised)
    assert "not tried here" not in " ".join(step.text for step in found.steps)


def test_what_mends_the_worst_layer_gains_what_was_predicted(found: Diagnosis) -> None:
    culprit = found.culprits[0]
    assert culprit.mend is not None
    assert culprit.mend.title == "equalized channels"
    raised = next(trial for trial in culprit.mends if trial.title == "16 bit")
    assert raised.predicted_db is not None
    assert raised.gained_db == pytest.approx(raised.predicted_db, abs=1.5)


def test_without_time_the_steps_name_what_was_not_tried() -> None:
    hurried = diagnose(*stretched(), minutes=1e-9)
    assert not {"searched ranges", "all that needs no labels"} & set(repairs(hurried))
    assert "equalized channels" in repairs(hurried)
    (step,) = [step for step in hurried.steps if step.title == "Try what there was no time for"]
    assert "searched ranges and all that needs no labels" in step.text
    assert step.code == 'calibrate(model, images, "advanced")'


def test_minutes_are_refused_before_any_work() -> None:
    with pytest.raises(OptionError, match="minutes=0"):
        diagnose(*stretched(), minutes=0)


def test_the_users_figure_judges_repairs_and_is_what_steps_speak_of() -> None:
    net, images = stretched()
    with torch.no_grad():
        exact = net(images)

    def likeness(model: nn.Module) -> float:
        with torch.no_grad():
            return 1.0 - float((model(images) - exact).norm() / exact.norm())

    judged = diagnose(net, images, evaluate=likeness)
    repair = repairs(judged)["equalized channels"]
    assert repair.before is not None
    assert repair.before.score == judged.comparison.outputs["8-bit"].score
    assert repair.output.score is not None
    assert repair.output.score > (repair.before.score or 0.0)
    step = next(step for step in judged.steps if step.code == repair.code)
    assert f"reaches {repair.output.score:.4g} in your own figure, float 1" in step.text


def test_code_names_the_scales_that_the_user_gave() -> None:
    net, images = stretched()
    judged = diagnose(net, images, per_channel="all", minutes=1e-9)
    repair = repairs(judged)["equalized channels"]
    assert repair.code == "equalize(calibrate(model, images, \"simple\", per_channel='all'), images)"


def test_equalized_channels_are_expected_to_mend_the_layers_that_read_them_too() -> None:
    """Two layers share the damage, the one that writes the stretched channel and the one that takes it back."""
    net, images = stretched()
    with torch.no_grad():
        net.get_parameter("2.weight")[0, 2] *= (
            256  # the reader has a spread of its own, so that it is a culprit as well
        )
        net.get_parameter("0.weight")[2] /= 256
        net.get_parameter("0.bias")[2] /= 256
    mend = next(one for one in diagnose(net, images).culprits[0].mends if one.title == "equalized channels")
    assert mend.predicted_db is not None
    assert mend.gained_db == pytest.approx(mend.predicted_db, abs=6)
    assert (mend.gained_db or 0.0) > 10


def test_where_calibration_data_is_unlike_the_data_methods_search_on_images_like_the_data() -> None:
    net, images = stretched()
    judged = diagnose(net, images, calibration_data=images * 64)
    assert "all that needs no labels" not in repairs(judged)
    repair = repairs(judged)["all that needs no labels, with ranges from images like these"]
    assert repair.code == 'calibrate(model, data, "best")'
    version = calibrate(net, images, "best")
    again = compare(net, images, quantized={"best": version}).outputs["best"]
    assert again.worst_sqnr_db == pytest.approx(repair.output.worst_sqnr_db, abs=1e-4)
    alike = repairs(diagnose(net, images, calibration_data=images * 0.9))
    assert alike["all that needs no labels"].code == 'calibrate(model, images, "best")'


def test_a_figure_is_asked_too_where_the_worst_channels_gain_nothing() -> None:
    """A channel that stays lost, as a class that no image holds, beside one that a repair brings back."""
    net, images = stretched()
    figure = Figure(lambda _: 0.5, 1.0)
    lost, better = OutputError(3.0, 0.7, 0, None, None, None, None), OutputError(12.0, 0.2, 0, None, None, None, None)
    stays = (TensorError("", 0.1, -5.0, (1,), 4),)
    repair = Repair("any", calibrate(net, images, "simple"), "", 0)
    trial = repair_trial(figure, repair, replace(better, tensors=stays), replace(lost, tensors=stays))
    assert (trial.output.score, trial.output.float_score) == (0.5, 1.0)
    assert repair_trial(figure, repair, lost, lost).output.score is None
