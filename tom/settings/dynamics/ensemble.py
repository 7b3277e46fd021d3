"""Settings of MBPO's ensemble (Janner et al., 2019; released code: jannerm/mbpo@2b96db7)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tom.settings.fields import choice, number, part, switch
from tom.settings.fit import FitSettings


def _decay(default: float, where: str) -> Any:
    return number(default, low=0.0, high=1.0, origin="MBPO", help=f"weight decay of {where}")


@dataclass
class Settings(FitSettings):
    """Networks that each predict a mean and a variance per output; rollouts use the best of them."""

    name: str = part("ensemble", origin="MBPO")
    members: int = number(7, low=1, high=100, unit="networks", origin="MBPO", help="E")
    elites: int = number(5, low=1, high=100, unit="networks", origin="MBPO", help="members that rollouts use")
    hidden: int = number(200, low=1, high=4096, unit="units", origin="MBPO", help="width of each layer")
    layers: int = number(4, low=1, high=16, unit="layers", origin="MBPO", help="hidden layers")
    decay_first: float = _decay(2.5e-5, "the first layer's weights")
    decay_second: float = _decay(5e-5, "the second hidden layer's weights")
    decay_inner: float = _decay(7.5e-5, "the other hidden layers' weights")
    decay_output: float = _decay(1e-4, "the output layer's weights")
    initial_max_log_variance: float = number(
        0.5, low=-20.0, high=20.0, unit="log of target unit^2", origin="MBPO", help="learned upper bound at the start"
    )
    initial_min_log_variance: float = number(
        -10.0, low=-40.0, high=20.0, unit="log of target unit^2", origin="MBPO", help="learned lower bound at the start"
    )
    bound_penalty: float = number(
        0.01, low=0.0, high=1e3, origin="MBPO", help="price of the distance between the learned bounds"
    )
    normalise_targets: bool = switch(False, origin="MBPO", help="standardise targets; MBPO leaves them in raw units")
    bootstrap: bool = switch(
        True,
        origin="MBPO",
        help="each member passes over its own bootstrap of the rows every epoch, not batches_per_epoch fresh batches",
    )
    deterministic: bool = switch(
        False, origin="MBPO", help="samples are an elite's mean (VaGraM's ensemble), its variance unused"
    )
    elite_by: str = choice(
        "row",
        ("row", "chunk"),
        origin="MBPO",
        help="who predicts a row: an elite drawn for it, or (MAAC, a fraction of the work) one for each equal chunk",
        neutral="row",
    )
    holdout_by: str = choice(
        "mse", ("mse", "loss"), origin="MBPO", help="what stops a fit and ranks members: error of the mean, or the loss"
    )
    holdout_fraction: float = number(0.2, low=0.0, high=0.9, unit="share of rows", origin="MBPO", help="rows held out")
    max_epochs: int = number(
        1_000, low=1, unit="epochs per round", origin="ours", help="most epochs of a fit; MBPO has no bound"
    )

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        if self.epoch_passes and self.bootstrap:
            yield "epoch_passes=true with bootstrap=true is said twice; nearest valid choice: epoch_passes=false"
        if self.elites > self.members:
            yield f"elites={self.elites} is more than members={self.members}; nearest valid value: {self.members}"
        if self.elites < self.members and self.holdout_fraction == 0:
            yield f"holdout_fraction=0 leaves no rows to rank members by; nearest valid value: elites={self.members}"
        if self.initial_min_log_variance >= self.initial_max_log_variance:
            yield (
                f"initial_min_log_variance={self.initial_min_log_variance} is not below "
                f"initial_max_log_variance={self.initial_max_log_variance}; nearest valid value: a smaller one"
            )
