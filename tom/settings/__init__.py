"""Every setting of an agent, torch-free, and the names of parts and environments: one dataclass per part.

A part is a file `tom/<kind>/<name>.py`; its settings are the class `Settings` in `tom/settings/<kind>/<name>.py`.
"""

import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

KINDS = {"weighting": "weightings", "loss": "losses", "dynamics": "dynamics", "backbone": "backbones"}


def names(kind: str) -> list[str]:
    """The names a part of this kind can have, alphabetically: kind is a key of KINDS."""
    package = importlib.import_module(f"tom.settings.{KINDS[kind]}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def settings_class(kind: str, name: str) -> Any:
    """The settings dataclass of one part; ModuleNotFoundError if there is no such part."""
    return importlib.import_module(f"tom.settings.{KINDS[kind]}.{name}").Settings


def environments() -> list[str]:
    """The environments' names, alphabetically: the files of tom/envs that hold `SPEC`; imports none of them."""
    files = (Path(__file__).parents[1] / "envs").glob("*.py")
    return sorted(path.stem for path in files if re.search(r"^SPEC\b", path.read_text(encoding="utf-8"), re.MULTILINE))
