"""What a section of params.yaml may set: settings below a key of their own, and those of parts by name.

`train: {...}, weighting: {tom: {...}, ...}, ...` holds for whichever part is chosen. Suites whose methods are not those
of `methods` have sections of the same form with other keys.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipeline.config.like import written_out
from pipeline.config.refusals import Section, check_name, check_values, known, mapping, one_of
from tom.settings import KINDS, names, settings_class, train
from tom.settings.experiments import networked
from tom.settings.fields import SettingsError
from tom.settings.pacoh import MetaSettings, families, family_settings

Part = tuple[Callable[[], list[str]], Callable[[str], Any]]  # the names it can have, and the settings class of one


def of_kind(kind: str) -> Part:
    """A part of an agent."""
    return partial(names, kind), partial(settings_class, kind)


@dataclass(frozen=True)
class Shape:
    """The settings class below each key, and the parts, the settings of each of which lie below its name."""

    settings: Mapping[str, Any]
    parts: Mapping[str, Part]


AGENT = Shape({"train": train.Settings}, {kind: of_kind(kind) for kind in KINDS})
META = Shape(MetaSettings.SECTIONS, {"family": (families, family_settings), "weighting": of_kind("weighting")})
NETWORK = Shape(
    {"train": networked.Settings, "rules": networked.Rules},
    {"dynamics": of_kind("dynamics"), "weighting": of_kind("weighting")},
)


def checked(given: Any, where: str, shape: Shape = AGENT, also: tuple[str, ...] = ()) -> Section:
    """A section of this shape, which may have other keys too; SettingsError about the first thing wrong in it."""
    section = dict(mapping(given, where))
    known(section, [*shape.settings, *shape.parts, *also], f"{where}.")
    for key, settings in shape.settings.items():
        check_values(section.get(key), settings, f"{where}.{key}")
    for kind, (choices, settings_of) in shape.parts.items():
        if kind in section:
            place = f"{where}.{kind}"
            values = {one_of(place, name, choices()): own for name, own in mapping(section[kind], place).items()}
            section[kind] = written_out(values, place)
            for name, own in section[kind].items():
                check_values(own, settings_of(name), f"{place}.{name}")
    return section


def checked_scale(given: Any, where: str, envs: Iterable[str], shape: Shape = AGENT) -> Section:
    """The same with what it changes on some environments, `envs: {hopper: {...}}`."""
    section, place = checked(given, where, shape, ("envs",)), f"{where}.envs"
    there = {one_of(place, env, envs): own for env, own in mapping(section.get("envs"), place).items()}
    return {**section, "envs": {env: checked(own, f"{place}.{env}", shape) for env, own in there.items()}}


def checked_methods(given: Any, where: str, settings: Any, parts: Mapping[str, Part]) -> dict[str, Section]:
    """Methods by name, each with what it changes of the settings, and by kind the part that it uses in another's place.

    SettingsError about the first thing wrong, or if there is none.
    """
    methods = {check_name(name, where): mapping(own, f"{where}.{name}") for name, own in mapping(given, where).items()}
    if not methods:
        raise SettingsError(f"{where} is empty; valid example: {{mine: {{}}}}")
    for name, own in methods.items():
        for kind, (choices, _) in parts.items():
            if kind in own:
                one_of(f"{where}.{name}.{kind}", own[kind], choices())
        check_values({key: value for key, value in own.items() if key not in parts}, settings, f"{where}.{name}")
    return methods
