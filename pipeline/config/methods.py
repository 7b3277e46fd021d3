"""The entries of `methods` in params.yaml, and those that lie between two of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.like import part
from pipeline.config.refusals import Section, check_name, check_values, known, mapping, one_of
from tom.settings import KINDS, environments, names, settings_class
from tom.settings import train as train_settings
from tom.settings.fields import SettingsError, problems

ORDER = {section: index for index, section in enumerate(("train", *KINDS))}
Switch = tuple[str, str]  # `train` or a kind, and a key
Place = tuple[str | None, str, str]  # an environment or None, and a switch


def check_method(given: Any, method: str) -> Section:
    """The entry, if it names a part of each kind and only settings that these have, `envs` for one environment each."""
    where = f"methods.{check_name(method, 'methods')}"
    section, classes = mapping(given, where), {"train": train_settings.Settings}
    known(section, ["train", *KINDS, "envs"], f"{where}.")
    for kind in KINDS:
        values = mapping(section.get(kind), f"{where}.{kind}")
        name = part(section, kind)
        if name is None:
            raise SettingsError(f"{where}.{kind}.name is missing; valid choices: {', '.join(names(kind))}")
        one_of(f"{where}.{kind}.name", name, names(kind))
        classes[kind] = settings_class(kind, name)
        check_values({k: v for k, v in values.items() if k != "name"}, classes[kind], f"{where}.{kind}")
    check_values(section.get("train"), train_settings.Settings, f"{where}.train")
    for env, changed in mapping(section.get("envs"), f"{where}.envs").items():
        there = f"{where}.envs.{one_of(f'{where}.envs', env, environments())}"
        known(mapping(changed, there), classes, f"{there}.")
        for kind, values in mapping(changed, there).items():
            check_values(values, classes[kind], f"{there}.{kind}")
    return section


@dataclass(frozen=True)
class Variant:
    """A method with one setting changed, and the method that it is measured from."""

    origin: str
    entry: Section


def between(base: str, target: str, methods: Mapping[str, Section], stand_in: str | None = None) -> dict[str, Variant]:
    """`base` with each setting by which `target` differs, one at a time: `tom_clip_raw` is `tom` with that switched.

    A setting is switched for all environments at once, each to what it is there in `target`. One that `base` refuses,
    since it has no meaning there, is switched in `stand_in` instead.
    SettingsError if they differ in their parts, or not at all, or a name that would be made is taken.
    """
    for other in (target, stand_in or target):
        for kind in KINDS:
            if part(methods[base], kind) != part(methods[other], kind):
                raise SettingsError(
                    f"ablation: {base} and {other} differ in their {kind}, which is no switch; "
                    "nearest valid choice: two methods with the same parts"
                )
    new, made = flat(methods[target]), dict[str, Variant]()
    for switch in _differing(flat(methods[base]), new):
        variants = [Variant(origin, _switched(methods[origin], new, switch)) for origin in (base, stand_in) if origin]
        variant = next((each for each in variants if not refused(each.entry)), variants[0])
        name = f"{variant.origin}_{switch[1]}"
        if name in methods or name in made:
            raise SettingsError(
                f"ablation: {variant.origin} with {switch[1]} would be called {name}, and there is one already"
            )
        made[name] = variant
    if not made:
        raise SettingsError(f"ablation: {base} and {target} do not differ; nearest valid choice: another target")
    return made


def refused(entry: Section) -> bool:
    """Whether the parts of an entry contradict themselves."""
    parts = (settings_class(kind, str(part(entry, kind)))(**(entry.get(kind) or {})) for kind in KINDS)
    return any(list(problems(settings, "")) for settings in parts)


def _differing(old: Mapping[Place, Any], new: Mapping[Place, Any]) -> list[Switch]:
    """The settings by which two entries differ anywhere, `train` first, in the order of the second."""
    switches = [place[1:] for place in (*new, *old) if place[2] != "name"]
    found = [switch for switch in dict.fromkeys(switches) if _of(old, switch) != _of(new, switch)]
    return sorted(found, key=lambda switch: ORDER[switch[0]])


def _switched(entry: Section, target: Mapping[Place, Any], switch: Switch) -> Section:
    values = {place: value for place, value in flat(entry).items() if place[1:] != switch}
    return nested(values | _of(target, switch))


def _of(values: Mapping[Place, Any], switch: Switch) -> dict[Place, Any]:
    return {place: value for place, value in values.items() if place[1:] == switch}


def flat(entry: Section) -> dict[Place, Any]:
    """Every value of an entry by its place."""
    levels = {None: entry, **(entry.get("envs") or {})}
    return {
        (env, kind, key): value
        for env, level in levels.items()
        for kind, values in level.items()
        if kind != "envs"
        for key, value in (values or {}).items()
    }


def nested(values: Mapping[Place, Any]) -> Section:
    """The entry that `flat` gives these values of."""
    entry: dict[str, Any] = {}
    for (env, kind, key), value in values.items():
        level = entry if env is None else entry.setdefault("envs", {}).setdefault(env, {})
        level.setdefault(kind, {})[key] = value
    return entry
