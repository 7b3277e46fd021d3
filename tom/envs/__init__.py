"""The environments of the grid, one file each: `tom/envs/<name>.py` holds `SPEC`; Figure 2 has a world of its own."""

import dataclasses
import importlib
import pkgutil
from typing import Any

NOT_OF_THE_GRID = {"spec", "simulator", "road_and_rocks"}


def names() -> list[str]:
    """The environments' names, alphabetically; imports nothing heavy."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in NOT_OF_THE_GRID)


def spec_of(name: str, contact_cost: bool) -> Any:
    """The `EnvSpec` of one environment, with its contact cost (if it has one) or without."""
    spec = importlib.import_module(f"tom.envs.{name}").SPEC
    return spec if contact_cost else dataclasses.replace(spec, contact_cost=None)
