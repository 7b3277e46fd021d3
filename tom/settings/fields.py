"""Fields that carry their unit, range, origin and meaning, and the check of a value against them.

Every number of a method or a protocol is the default of exactly one field in `tom.settings`; `params.yaml` holds what a
scale, a method or a person changes. What bounds an algorithm is a constant, named beside it. Nothing here imports
torch, so a bad value is refused before any compute. The word in `origin` says whose value the default is;
reports/paper/origins.csv says what each word stands for.

A field that is added later names its `neutral` value, the one that leaves every number as it was: with that value it is
no part of what identifies a run, so that the runs recorded without it stay those of their settings.
"""

import dataclasses
import difflib
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any


class SettingsError(ValueError):
    """A setting that cannot be used: the message names the key, the value and the nearest valid choice."""


def number(
    default: float,
    *,
    low: float,
    high: float = math.inf,
    unit: str = "",
    origin: str,
    help: str,
    neutral: Any = None,
) -> Any:
    """A numeric field with its closed range [low, high]."""
    return _field(default, dict(low=low, high=high, unit=unit, origin=origin, help=help, neutral=neutral))


def choice(default: str, options: tuple[str, ...], *, origin: str, help: str, neutral: Any = None) -> Any:
    """A field that takes one of a few words."""
    return _field(default, dict(options=options, unit="", origin=origin, help=help, neutral=neutral))


def digest(*, of: str, origin: str, help: str) -> Any:
    """A field that names a thing by its content, `<of>-` and 16 hexadecimal digits; empty, and neutral, for none."""
    return _field("", dict(digest=rf"{of}-[0-9a-f]{{16}}", unit="", origin=origin, help=help, neutral=""))


def part(name: str, *, origin: str) -> Any:
    """The field that says which part a settings class belongs to; another part is chosen, never renamed."""
    return choice(name, (name,), origin=origin, help="the part these settings belong to")


def switch(default: bool, *, origin: str, help: str, neutral: Any = None) -> Any:
    """A yes/no field."""
    return _field(default, dict(unit="", origin=origin, help=help, neutral=neutral))


def _field(default: Any, metadata: dict[str, Any]) -> Any:
    return dataclasses.field(default=default, metadata=metadata)


def nearest(word: Any, choices: Iterable[str]) -> str:
    """The end of a refusal: the choice most like `word`, or all of them where none is alike."""
    choices = list(choices)
    if not choices:
        return "there is nothing to choose here"
    cutoff = 0.6 if len(choices) <= 8 else 0.0  # a long list is not worth reading
    alike = difflib.get_close_matches(str(word), choices, n=1, cutoff=cutoff)
    return f"nearest valid choice: {alike[0]}" if alike else f"valid choices: {', '.join(choices)}"


def refusal(field: "dataclasses.Field[Any]", value: Any) -> str | None:
    """Why the value cannot be used for the field, in words that follow `key=value`; None if it can."""
    rule = field.metadata
    if "options" in rule:
        listed = ", ".join(rule["options"])
        return None if value in rule["options"] else f"is not one of {listed}; {nearest(value, rule['options'])}"
    if "digest" in rule:
        known = isinstance(value, str) and re.fullmatch(rf"({rule['digest']})?", value)
        return None if known else f"is no digest; valid choices: none, or one like {rule['digest']}"
    if "low" not in rule:
        return None if isinstance(value, bool) else "is not true or false; valid choices: true, false"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return f"is not a number; nearest valid value: {field.default} (the default)"
    if not rule["low"] <= value <= rule["high"]:
        inside = min(max(value, rule["low"]), rule["high"])
        return f"is outside [{rule['low']}, {rule['high']}]; nearest valid value: {inside}"
    if field.type in (int, "int") and not isinstance(value, int):
        return f"is not a whole number; nearest valid value: {round(value)}"
    return None


def problems(settings: Any, prefix: str) -> Iterator[str]:
    """Yields one sentence for every value of the dataclass `settings` that cannot be used, and for contradictions.

    A settings class may define `contradictions() -> Iterator[str]` for rules between its own fields; they are asked
    for only where every single value can be used.
    """
    found = False
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        reason = refusal(field, value)
        if reason:
            found = True
            yield f"{prefix}.{field.name}={value} {reason}"
    if not found and hasattr(settings, "contradictions"):
        yield from (f"{prefix}: {sentence}" for sentence in settings.contradictions())
