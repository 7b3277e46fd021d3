"""Settings of the log-ratio alone: those of TOM's discriminator, with its defaults."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from tom.settings.fields import part
from tom.settings.weightings import tom

OF_ROWS_ALONE = ("uniform", "pmac", "ratio")  # weightings that ask for rows and their age, and nothing else
FALLBACK = "ratio"  # among these, in the place of one that asks for a policy
SHARED = (
    "discriminator_hidden",
    "discriminator_updates",
    "discriminator_batch",
    "discriminator_learning_rate",
    "gradient_penalty",
)  # what the discriminator is told


def _as_in_tom(name: str) -> Any:
    field = tom.Settings.__dataclass_fields__[name]
    return dataclasses.field(default=field.default, metadata=field.metadata)


@dataclass
class Settings:
    """A discriminator tells the newest rows from the whole buffer, and its ratio is the weight."""

    rows_of_policy = True  # the newest rows stand for the policy

    name: str = part("ratio", origin="ours")
    pool_env_steps: int = _as_in_tom("pool_env_steps")
    discriminator_hidden: int = _as_in_tom("discriminator_hidden")
    discriminator_updates: int = _as_in_tom("discriminator_updates")
    discriminator_batch: int = _as_in_tom("discriminator_batch")
    discriminator_learning_rate: float = _as_in_tom("discriminator_learning_rate")
    gradient_penalty: float = _as_in_tom("gradient_penalty")
    clip: float = _as_in_tom("clip")

    def of_discriminator(self) -> tom.Settings:
        """The same as the discriminator takes it; what it does otherwise in released code stays off."""
        return tom.Settings(**{name: getattr(self, name) for name in SHARED})
