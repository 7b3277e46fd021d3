"""The environments, one file each: `tom/envs/<name>.py` holds `SPEC`."""

import importlib
import pkgutil
from typing import Any

HELPERS = {"spec", "simulator"}


def names() -> list[str]:
    """The environments' names, alphabetically; imports nothing heavy."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in HELPERS)


def spec_of(name: str) -> Any:
    """The `EnvSpec` of one environment."""
    return importlib.import_module(f"tom.envs.{name}").SPEC
