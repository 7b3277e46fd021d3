"""The section `networked` of params.yaml, checked whole, and what its methods are at a scale on a network.

Its methods are not those of `methods`: each names what it changes of Settings in tom/settings/experiments/networked.py,
and the part that weighs the rows or models the agents, if that is another one.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

from pipeline.config.refusals import Section, check_name, check_values, known, mapping, one_of
from tom.settings import names, settings_class
from tom.settings.experiments.networked import Rules, Settings
from tom.settings.fields import SettingsError, problems
from tom.settings.network import network_settings

NAME = "networked"
LOOP = "tom.networked.train"
PARTS = {"dynamics": "mdn", "weighting": "uniform"}  # unless a method names others
KEYS = ("scale", "methods", "envs", "seeds", "rules", "scales")


def checked(given: Any, scales: Iterable[str]) -> Section:
    """The section with a scale and at least one method; SettingsError about the first thing wrong in it."""
    section, scales = mapping(given, NAME), list(scales)
    known(section, KEYS, f"{NAME}.")
    one_of(f"{NAME}.scale", section.get("scale"), scales)
    methods = mapping(section.get("methods"), f"{NAME}.methods")
    if not methods:
        raise SettingsError(f"{NAME}.methods is empty; valid example: {{dmpo: {{}}}}")
    for name, values in methods.items():
        where = f"{NAME}.methods.{check_name(name, f'{NAME}.methods')}"
        for kind in PARTS:
            one_of(f"{where}.{kind}", mapping(values, where).get(kind, PARTS[kind]), names(kind))
        check_values(_without_parts(values), Settings, where)
    check_values(section.get("rules"), Rules, f"{NAME}.rules")
    for scale, values in mapping(section.get("scales"), f"{NAME}.scales").items():
        _check_scale(values, f"{NAME}.scales.{one_of(f'{NAME}.scales', scale, scales)}")
    return section


def _check_scale(given: Any, where: str) -> None:
    values = mapping(given, where)
    known(values, ("train", "rules", *PARTS), f"{where}.")
    check_values(values.get("train"), Settings, f"{where}.train")
    check_values(values.get("rules"), Rules, f"{where}.rules")
    for kind in PARTS:
        for name, part in mapping(values.get(kind), f"{where}.{kind}").items():
            one_of(f"{where}.{kind}", name, names(kind))
            check_values(part, settings_class(kind, name), f"{where}.{kind}.{name}")


def composed(section: Section, scale: str, method: str, env: str) -> dict[str, Any]:
    """The resolved values of a method on a network: default < networked.scales.S < networked.methods.M.

    SettingsError says which of them contradict each other, and where.
    """
    own, tuned = section["methods"][method] or {}, (section.get("scales") or {}).get(scale) or {}
    train = (tuned.get("train") or {}) | _without_parts(own)
    config: dict[str, Any] = {"env": env, "loop": LOOP, "train": dataclasses.asdict(Settings(**train))}
    for kind, usual in PARTS.items():
        name = own.get(kind, usual)
        config[kind] = dataclasses.asdict(settings_class(kind, name)(**((tuned.get(kind) or {}).get(name) or {})))
    try:
        network_settings(config)
    except SettingsError as error:
        raise SettingsError(f"params.yaml: {error} (suite {NAME}, method {method}, env {env}, scale {scale})") from None
    return config


def rules(section: Section, scale: str) -> dict[str, Any]:
    """The resolved values of the search for a rule; SettingsError if they contradict each other."""
    tuned = ((section.get("scales") or {}).get(scale) or {}).get("rules") or {}
    found = Rules(**((section.get("rules") or {}) | tuned))
    if wrong := list(problems(found, f"{NAME}.rules")):
        raise SettingsError(f"params.yaml: {'; '.join(wrong)}")
    return dataclasses.asdict(found)


def _without_parts(values: Any) -> dict[str, Any]:
    return {key: value for key, value in (values or {}).items() if key not in PARTS}
