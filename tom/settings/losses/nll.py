"""Settings of the negative log-likelihood: there are none."""

from dataclasses import dataclass

from tom.settings.fields import part


@dataclass
class Settings:
    """Maximum likelihood."""

    name: str = part("nll", origin="paper")
