"""Settings of MBPO (Janner et al., 2019) with SAC in the paper's protocol."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from tom.settings.backbones import sac
from tom.settings.fields import choice, number, part


@dataclass
class Settings(sac.Settings):
    """SAC on mixed real and model transitions."""

    uses_model: ClassVar[bool] = True

    name: str = part("mbpo", origin="paper")
    real_fraction: float = number(
        0.05, low=0.0, high=1.0, unit="share of batch", origin="MBPO", help="real rows in a batch, rounded down"
    )
    model_batch_probability_first: float = number(
        1.0, low=0.0, high=1.0, origin="MBPO", help="chance that a SAC batch holds model rows, at the first update"
    )
    model_batch_probability_last: float = number(
        1.0, low=0.0, high=1.0, origin="MBPO", help="the same in the end; VaGraM: from 0 to 0.95"
    )
    model_batch_probability_env_steps: int = number(
        20_000, low=1, unit="env steps", origin="VaGraM", help="the chance goes from first to last in so many steps"
    )
    model_batch_probability_step_env_steps: int = number(
        0,
        low=0,
        unit="env steps",
        origin="VaGraM",
        help="the chance changes this often; 0: with every burst",
        neutral=0,
    )
    batch_without_model: str = choice(
        "whole",
        ("whole", "share"),
        origin="VaGraM",
        help="a batch without model rows: all real, or real_fraction of it repeated (TOM's code)",
    )
    rollout_length: int = number(1, low=1, high=1_000, unit="model steps", origin="official code", help="k")
    rollout_starts: int = number(
        100_000, low=1, unit="rows per round", origin="MBPO", help="real states from which a round's rollouts branch"
    )
    rounds_retained: int = number(
        4, low=1, unit="rounds", origin="official code", help="rounds of rollouts kept in the model buffer"
    )
    rollout_length_last: int = number(
        0, low=0, high=1_000, unit="model steps", origin="official code", help="k after its linear growth; 0: none"
    )
    rollout_grows_from: int = number(0, low=0, unit="env steps", origin="MBPO", help="k is rollout_length until here")
    rollout_grows_until: int = number(
        1, low=1, unit="env steps", origin="MBPO", help="k is rollout_length_last from here on"
    )

    def contradictions(self) -> Iterator[str]:
        if self.rollout_grows_until <= self.rollout_grows_from:
            yield (
                f"rollout_grows_until={self.rollout_grows_until} must be above rollout_grows_from="
                f"{self.rollout_grows_from}; nearest valid value: {self.rollout_grows_from + 1}"
            )
        if self.batch_without_model == "share" and self.real_fraction == 0.0:
            yield "batch_without_model=share with real_fraction=0 leaves no rows; nearest valid choice: whole"
        if self.updates_per_env_step and int(self.real_fraction * self.batch) < 1 and self.real_fraction > 0:
            yield (
                f"real_fraction={self.real_fraction} of batch={self.batch} is less than one row; "
                f"nearest valid value: real_fraction={1 / self.batch:.3g}"
            )
