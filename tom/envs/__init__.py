"""The environments of the grid, one file each: `tom/envs/<name>.py` holds `SPEC`; Figure 2 has a world of its own."""

import dataclasses
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # names are asked for where nothing heavy is to be loaded
    from tom.envs.spec import EnvSpec


def spec_of(name: str, contact_cost: bool) -> "EnvSpec":
    """The `EnvSpec` of one environment, with its contact cost (if it has one) or without."""
    spec: EnvSpec = importlib.import_module(f"tom.envs.{name}").SPEC
    return spec if contact_cost else dataclasses.replace(spec, contact_cost=None)
