"""Settings of the model-advantage loss (Modhe et al., 2021; released code: nirbhayjm/va_mbpo@203ea3e)."""

from collections.abc import Iterator
from dataclasses import dataclass

from tom.settings.fields import choice, number, part


@dataclass
class Settings:
    """The size of the gap between the values of a prediction and of what happened, on top of maximum likelihood."""

    name: str = part("model_advantage", origin="MA")
    norm: str = choice("l1", ("l1", "l2"), origin="MA", help="a gap's absolute value, or its square (VAML)")
    value_weight: float = number(
        0.01, low=0.0, high=1e3, origin="MA", help="what a gap counts beside the reward's squared error, raw units"
    )
    samples: int = number(1, low=0, high=100, unit="draws per row", origin="MA", help="of the model; 0: its mean")
    expectation: str = choice(
        "sample",
        ("sample", "mean"),
        origin="MA",
        help="the mean over draws of the gaps' sizes, or the size of the draws' mean gap",
    )
    anchor: float = number(1.0, low=0.0, high=1e3, origin="ours", help="factor of the NLL; the released loss has none")
    anchor_env_steps: int = number(
        1_000, low=0, unit="env steps", origin="ours", help="the NLL's factor is at least 1 this long after warm-up"
    )
    refits: int = number(
        0, low=0, high=100, unit="fits per round", origin="ours", help="after the first, to the values that it led to"
    )
    refit_updates: int = number(
        250, low=1, unit="updates", origin="ours", help="of the critics in the model so far, before each refit"
    )

    @property
    def anchors(self) -> bool:
        """Whether the NLL is ever added."""
        return self.anchor > 0 or self.anchor_env_steps > 0

    @property
    def leaves_variance(self) -> str:
        """The settings by which the model's variance is not learned; empty where it is."""
        return "" if self.anchor > 0 or self.samples > 0 else "anchor=0 with samples=0"

    def contradictions(self) -> Iterator[str]:
        if self.value_weight == 0 and self.anchor == 0:
            yield "value_weight=0 with anchor=0 fits the reward alone; nearest valid value: value_weight=0.01"
        if self.expectation == "mean" and self.samples < 2:
            yield (
                f"expectation=mean of samples={self.samples} is no mean over draws; nearest valid value: samples=4, "
                "or expectation=sample"
            )
