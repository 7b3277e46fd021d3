"""Settings of the linear-Gaussian model."""

from dataclasses import dataclass
from typing import ClassVar

from tom.settings.fields import number, part
from tom.settings.fit import SplitSettings


@dataclass
class Settings(SplitSettings):
    """Least squares: the smallest model that weights can matter to."""

    losses: ClassVar[tuple[str, ...]] = ("nll",)  # what a fit in closed form minimises

    name: str = part("linear", origin="ours")
    ridge: float = number(
        1e-6, low=1e-12, high=1e6, unit="normalised inputs^2", origin="ours", help="penalty on squared coefficients"
    )
    variance_floor: float = number(
        1e-6, low=1e-12, high=1.0, unit="variance of normalised outputs", origin="ours", help="least variance"
    )
