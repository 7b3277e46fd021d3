"""Settings of the mixture density network."""

from dataclasses import dataclass

from tom.settings.fields import choice, number, part
from tom.settings.fit import FitSettings


@dataclass
class Settings(FitSettings):
    """An MLP whose output is a Gaussian mixture for the reward and each dimension of the state difference."""

    name: str = part("mdn", origin="official code")
    hidden: int = number(200, low=1, high=4096, unit="units", origin="official code", help="width of each layer")
    layers: int = number(4, low=1, high=16, unit="layers", origin="official code", help="hidden layers")
    components: int = number(
        10, low=1, high=100, unit="components", origin="official code", help="Gaussians per output"
    )
    initial_noise: float = number(
        0.6931471805599453,  # softplus(0)
        low=1e-6,
        high=10.0,
        unit="variance of normalised outputs",
        origin="official code",
        help="learned variance floor at the start",
    )
    initialisation: str = choice(
        "xavier",
        ("xavier", "torch"),
        origin="ours",
        help="first weights; torch: those of nn.Linear, biases too",
        neutral="xavier",
    )
    draw_gradient: str = choice(
        "exact",
        ("exact", "gathered"),
        origin="ours",
        help="how a draw moves with the mixture: as its inverse distribution function, or as the drawn component alone",
        neutral="exact",
    )
