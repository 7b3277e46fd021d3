"""Which method each is measured from: the one with uniform weights, and the same loss and backbone, set alike."""

from collections.abc import Mapping
from typing import Any

from tom.settings.fields import SettingsError

UNIFORM = "uniform"  # the weighting that the others are measured from
AXES = ("weighting", "loss", "backbone")


def crossed(suite: str, methods: Mapping[str, Mapping[str, Any]], scale: str) -> dict[str, dict[str, str]]:
    """What each of a suite's methods is made of, and which it is measured `against`, by its resolved values.

    SettingsError if two that weigh are made of the same parts, or two that don't are the same, if one has no uniform
    counterpart or differs from it in more than the weighting, or if the model is never tried on fresh rows.
    """
    parts = {method: {axis: str(config[axis]["name"]) for axis in AXES} for method, config in methods.items()}
    against = {method: _counterpart(suite, method, parts, methods) for method in methods}
    for config in methods.values():
        if not config["train"]["probe_every_env_steps"]:
            raise SettingsError(
                f"{suite}: train.probe_every_env_steps=0, and the model's error on fresh rows is the measure; "
                f"valid example: 500, below {suite}.scales.{scale}.train"
            )
    return {method: {**own, "against": against[method]} for method, own in parts.items()}


def _counterpart(
    suite: str, method: str, parts: Mapping[str, dict[str, str]], methods: Mapping[str, Mapping[str, Any]]
) -> str:
    own = parts[method]
    uniform = [other for other, theirs in parts.items() if theirs == own | {"weighting": UNIFORM}]
    plain = {other: _unlike(methods[method], methods[other]) for other in uniform}
    if own["weighting"] == UNIFORM:
        for other in (other for other, unlike in plain.items() if not unlike and other != method):
            raise SettingsError(f"{suite}.methods: {method} and {other} are the same; take one of them out")
        return method
    for other in (other for other, theirs in parts.items() if theirs == own and other != method):
        raise SettingsError(f"{suite}.methods: {method} and {other} have the same parts; take one of them out")
    if not plain:
        raise SettingsError(
            f"{suite}.methods: {method} has no counterpart with uniform weights; "
            f"add a method with loss {own['loss']} and backbone {own['backbone']}"
        )
    for other in (other for other, unlike in plain.items() if not unlike):
        return other
    other, unlike = next(iter(plain.items()))
    raise SettingsError(f"{suite}.methods: {method} and {other} differ in {unlike[0]} too, not in weights alone")


def _unlike(config: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What two methods differ in, their weights apart."""
    return sorted({key for key in config if config[key] != other[key]} - {"weighting"})
