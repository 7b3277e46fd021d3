"""Settings of value-gradient weighted model learning (Voelcker et al., 2022)."""

from collections.abc import Iterator
from dataclasses import dataclass

from tom.settings.fields import choice, number, part, switch


@dataclass
class Settings:
    """The corrected loss for a mixture density network; the switches lead to the two released losses."""

    name: str = part("vagram", origin="VaGraM")
    error: str = choice(
        "nll", ("nll", "squared"), origin="official code", help="what is weighted: NLL, or the mean's squared error"
    )
    form: str = choice(
        "bounded",
        ("bounded", "taylor"),
        origin="VaGraM",
        help="squares summed over dimensions, or the square of the first-order error of the value (use_vaml)",
    )
    gradient: str = choice(
        "squared",
        ("squared", "signed"),
        origin="VaGraM",
        help="a dimension's weight: mean over critics of g^2, or (TOM's code) of g, which may be negative",
    )
    alignment: str = choice(
        "aligned",
        ("aligned", "shifted"),
        origin="VaGraM",
        help="weights on their own outputs, or (TOM's code) on the one before, the last output taken for the reward",
    )
    units: str = choice(
        "raw",
        ("raw", "normalised"),
        origin="VaGraM",
        help="units of the errors that g weighs; in TOM's code g is per raw unit and the errors are normalised",
    )
    heads: str = choice(
        "separate",
        ("separate", "accumulated"),
        origin="ours",
        help="each critic's gradient, or (both releases) the running sum over critics",
    )
    clip_quantile: float = number(
        0.95,
        low=0.0,
        high=1.0,
        unit="share of rows",
        origin="VaGraM",
        help="longer gradients are shortened to this quantile; 1 never clips, which is what both releases do",
    )
    mean_over_dimensions: bool = switch(
        False, origin="ours", help="state errors divided by O beside the reward's (both releases), not summed"
    )
    anchor_env_steps: int = number(
        1_000,
        low=0,
        unit="env steps",
        origin="VaGraM",
        help="the plain loss, mean over outputs, is added this long after warm-up (add_mse)",
    )

    @property
    def leaves_variance(self) -> str:
        """The setting by which the model's variance is not learned; empty where it is."""
        return "error=squared" if self.error == "squared" else ""

    def contradictions(self) -> Iterator[str]:
        if self.error == "squared" and self.gradient == "signed":
            yield (
                "error=squared with gradient=signed has no minimum (errors with a negative weight grow for ever); "
                "nearest valid choice: gradient=squared"
            )
        if self.form == "taylor" and self.error == "nll":
            yield "form=taylor squares a sum of errors, and error=nll has none; nearest valid choice: form=bounded"
        if self.form == "taylor" and (self.alignment, self.mean_over_dimensions) != ("aligned", False):
            yield (
                "form=taylor has one error, so alignment and mean_over_dimensions do not apply; "
                "nearest valid choice: alignment=aligned and mean_over_dimensions=false"
            )
