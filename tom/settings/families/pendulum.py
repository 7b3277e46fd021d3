"""Settings of the pendulums: how far apart their gravity, length and mass are."""

from dataclasses import dataclass

from tom.settings.fields import number, part


@dataclass
class Settings:
    """Gravity 10, length 1 and mass 1, each times 1.5^U(-spread, spread)."""

    name: str = part("pendulum", origin="PACOH-RL")
    spread: float = number(
        1.0,
        low=0.01,
        high=3.0,
        unit="powers of 1.5",
        origin="ours",
        help="how far a task lies from the standard one at most; with the released 3 many cannot be swung up",
    )
