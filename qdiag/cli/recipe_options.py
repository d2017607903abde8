"""The options of a training recipe, as commands take them."""

from dataclasses import dataclass
from typing import Annotated

import typer

from qdiag.training.recipe import Keep, OptimizerName, Recipe

TRAINING = "Training"


@dataclass(frozen=True)
class RecipeOptions:
    """How the model is trained."""

    epochs: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=TRAINING, help="Times that the images are gone through.")
    ] = Recipe.epochs
    epoch_size: Annotated[
        float,
        typer.Option(metavar="PART", rich_help_panel=TRAINING, help="Of the images, drawn anew each epoch: 0 to 1."),
    ] = Recipe.epoch_size
    learning_rate: Annotated[
        float,
        typer.Option(
            "--learning-rate",
            "--lr",
            rich_help_panel=TRAINING,
            help="A hundredth of the one that the float weights were trained with; falls to 0 as a cosine.",
        ),
    ] = Recipe.learning_rate
    optimizer: Annotated[OptimizerName, typer.Option(rich_help_panel=TRAINING, help="sgd has momentum 0.9.")] = (
        Recipe.optimizer
    )
    weight_decay: Annotated[float, typer.Option(rich_help_panel=TRAINING, help="On all parameters.")] = (
        Recipe.weight_decay
    )
    distillation: Annotated[
        float | None,
        typer.Option(
            metavar="PART",
            rich_help_panel=TRAINING,
            help="Of the loss, what comes from the float model: 0 to 1. All of it if there are no labels, else none.",
        ),
    ] = None
    keep: Annotated[
        Keep,
        typer.Option(rich_help_panel=TRAINING, help="The epoch to end with: the best on --validation, or the last."),
    ] = Recipe.keep
    seed: Annotated[int, typer.Option(rich_help_panel=TRAINING, help="Decides all that is random.")] = Recipe.seed

    @property
    def recipe(self) -> Recipe:
        """Raises OptionError for values that cannot be used."""
        return Recipe(
            epochs=self.epochs,
            epoch_size=self.epoch_size,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            distillation=self.distillation,
            keep=self.keep,
            seed=self.seed,
        )
