"""Settings of MAAC (Clavera et al., 2020), with those of MBPO for everything but the path."""

from collections.abc import Iterator
from dataclasses import dataclass

from tom.settings.backbones import mbpo
from tom.settings.fields import choice, number, part


@dataclass
class Settings(mbpo.Settings):
    """MBPO whose actor follows the gradient of paths through the model."""

    name: str = part("maac", origin="MAAC")
    path_length: int = number(
        4, low=0, high=50, unit="model steps", origin="MAAC", help="model steps from a batch's state to the critics"
    )
    entropy: str = choice(
        "path", ("path", "first"), origin="SVG", help="actions of a path whose entropy counts: all, or (MAAC) the first"
    )
    critic_target: str = choice(
        "td",
        ("td", "expansion"),
        origin="MAAC",
        help="rewards before the value in what the critics learn: the row's alone, or (DHMBPO) path_length of them",
    )

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        if self.path_length == 0:
            yield "path_length=0 is SAC's own actor loss; nearest valid choice: backbone=mbpo"
        if self.critic_target == "expansion" and self.path_length == 1 and self.real_fraction == 1.0:
            yield (
                "critic_target=expansion with path_length=1 and real_fraction=1 has no model row to expand; "
                "nearest valid value: real_fraction=0"
            )
