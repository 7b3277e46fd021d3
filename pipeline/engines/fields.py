"""Fields of the settings of engines: no number of a run depends on them, so they are none of tom/settings."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from tom.settings.fields import SettingsError, nearest


def setting(default: Any, kind: type, *, low: float = -math.inf, high: float = math.inf, unit: str = "") -> Any:
    """A field of this kind, a number in [low, high]; where the default is None, nothing is a value too."""
    return dataclasses.field(default=default, metadata={"kind": kind, "low": low, "high": high, "unit": unit})


def checked(settings: Any, values: Any, where: str) -> Any:
    """The settings class with these values; SettingsError, by key, about the first that it cannot have."""
    if not isinstance(values, Mapping):
        raise SettingsError(f"{where}={values} is not a mapping of keys to values; nearest valid choice: {{}}")
    fields = {field.name: field for field in dataclasses.fields(settings)}
    for name, value in values.items():
        if name not in fields:
            raise SettingsError(f"{where}.{name}={value} is not a setting; {nearest(name, fields)}")
        if reason := _refusal(fields[name], value):
            raise SettingsError(f"{where}.{name}={value} {reason}")
    made = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return settings(**made)


def _refusal(field: "dataclasses.Field[Any]", value: Any) -> str | None:
    """Why a field cannot have the value, in words that follow `key=value`."""
    kind, low, high = (field.metadata[key] for key in ("kind", "low", "high"))
    default = field.default
    if value is None and default is None:
        return None
    shown = "null" if default is None else "[]" if default == () else str(default).lower()
    if kind is bool:
        return None if isinstance(value, bool) else "is not true or false; valid choices: true, false"
    if kind is str:
        return None if isinstance(value, str) and value.strip() else f"is not a text; nearest valid choice: {shown}"
    if kind is tuple:
        texts = isinstance(value, list) and all(isinstance(word, str) for word in value)
        return None if texts else f"is not a list of texts; nearest valid choice: {shown}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return f"is not a number; nearest valid value: {shown} (the default)"
    if not low <= value <= high:
        end, word = (low, "below") if value < low else (high, "above")
        return f"is {word} {end:g}; nearest valid value: {end:g}"
    if kind is int and not isinstance(value, int):
        return f"is not a whole number; nearest valid value: {max(round(value), math.ceil(low))}"
    return None
