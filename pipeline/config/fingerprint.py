"""What identifies a run among all others: the values that decide its numbers, and what is left out of them."""

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

from tom.settings import KINDS, names, settings_class
from tom.settings import train as train_settings
from tom.settings.experiments.road_and_rocks import Offline, World

SECTIONS = {"train": train_settings.Settings, "world": World, "offline": Offline}


def fingerprint(config: Mapping[str, Any], seed: int) -> str:
    """Of what decides the numbers, without the code: the resolved values, the seed and the simulator's version."""
    mujoco = importlib.metadata.version("mujoco")
    text = json.dumps({"config": decisive(config), "seed": seed, "mujoco": mujoco}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def decisive(values: Any) -> Any:
    """Nested values without the settings that have their neutral value, whichever section or part holds them.

    So a setting that is added later, and changes nothing at its neutral value, is not in what was recorded before, nor
    in what is compared with it.
    """
    if isinstance(values, list | tuple):
        return [decisive(value) for value in values]
    if not isinstance(values, Mapping):
        return values
    return {key: decisive(_without_neutral(key, value)) for key, value in values.items()}


def _without_neutral(key: str, value: Any) -> Any:
    settings = _settings_of(key, value) if isinstance(value, Mapping) else None
    if settings is None:
        return value
    neutral = {field.name: field.metadata.get("neutral") for field in dataclasses.fields(settings)}
    return {name: found for name, found in value.items() if neutral.get(name) is None or found != neutral[name]}


def _settings_of(key: str, section: Mapping[str, Any]) -> Any:
    """The settings class of a section, or of the part it names; None for any other mapping."""
    if key in KINDS:
        return settings_class(key, section["name"]) if section.get("name") in names(key) else None
    return SECTIONS.get(key)
