"""Settings of uniform weights: there are none."""

from dataclasses import dataclass

from tom.settings.fields import part


@dataclass
class Settings:
    """Every stored transition counts once."""

    name: str = part("uniform", origin="ours")
