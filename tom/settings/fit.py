"""Settings of the weighted model fit, shared by the dynamics models."""

from collections.abc import Iterator
from dataclasses import dataclass

from tom.settings.fields import choice, number, switch


@dataclass
class SplitSettings:
    """Which rows a dynamics model is fitted on, and how their weights enter."""

    holdout_fraction: float = number(
        0.1, low=0.0, high=0.9, unit="share of rows", origin="official code", help="rows held out"
    )
    holdout_max_rows: int = number(5_000, low=1, unit="rows", origin="official code", help="most rows held out")
    fit_rows: str = choice(
        "whole",
        ("whole", "bootstrap"),
        origin="paper",
        help="bootstrap: as many rows, drawn with replacement, before some are held out (which may be fitted too)",
        neutral="whole",
    )
    weights_by: str = choice(
        "multiply", ("multiply", "resample"), origin="ours", help="weights scale the loss, or the chance to be drawn"
    )


@dataclass
class FitSettings(SplitSettings):
    """How a dynamics model is refitted each round by gradient descent."""

    learning_rate: float = number(1e-3, low=1e-8, high=1.0, origin="official code", help="Adam step size")
    batch: int = number(256, low=1, unit="rows", origin="official code", help="rows per update")
    batches_per_epoch: int = number(100, low=1, unit="updates", origin="official code", help="updates in one epoch")
    max_epochs: int = number(30, low=1, unit="epochs per round", origin="official code", help="most epochs of a fit")
    patience: int = number(5, low=0, unit="epochs", origin="official code", help="epochs without improvement allowed")
    min_improvement: float = number(
        0.01, low=0.0, high=1.0, unit="share of |loss|", origin="official code", help="what counts as improvement"
    )
    epoch_passes: bool = switch(
        False,
        origin="official code",
        help="an epoch passes over the rows in whole batches, at most batches_per_epoch, instead of drawing them",
        neutral=False,
    )
    restore_best: bool = switch(True, origin="ours", help="keep the parameters of the best epoch, not of the last")
    averages: bool = switch(
        True,
        origin="ours",
        help="a fit ends in the average of its parameters over its last steps, not in the last ones",
        neutral=False,
    )
    average_sharpness: float = number(
        4.0,
        low=0.0,
        high=1e3,
        origin="ours",
        help="the average reaches back over about 1 / (1 + this) of the fit's steps",
        neutral=4.0,
    )

    def contradictions(self) -> Iterator[str]:
        if self.epoch_passes and self.weights_by == "resample":
            yield "epoch_passes=true draws no rows by weight; nearest valid choice: weights_by=multiply"
