"""The entries of `methods` in params.yaml, and those that lie between two of them."""

from collections.abc import Mapping
from typing import Any

from pipeline.checks import Section, check_name, check_values, known, mapping, one_of
from pipeline.fingerprint import decisive
from tom.settings import KINDS, names, settings_class
from tom.settings import train as train_settings
from tom.settings.fields import SettingsError

DEFAULT_PARTS = {"dynamics": "mdn", "backbone": "mbpo"}  # what an entry may leave out


def check_method(given: Any, method: str) -> Section:
    """The entry, if it names a part of each kind and only settings that these have."""
    where = f"methods.{check_name(method, 'methods')}"
    section = mapping(given, where)
    known(section, ["train", *KINDS], f"{where}.")
    for kind in KINDS:
        values = mapping(section.get(kind), f"{where}.{kind}")
        name = part(section, kind)
        if name is None:
            raise SettingsError(f"{where}.{kind}.name is missing; valid choices: {', '.join(names(kind))}")
        one_of(f"{where}.{kind}.name", name, names(kind))
        check_values({k: v for k, v in values.items() if k != "name"}, settings_class(kind, name), f"{where}.{kind}")
    check_values(section.get("train"), train_settings.Settings, f"{where}.train")
    return section


def part(section: Section, kind: str) -> str | None:
    """The name of the part of this kind that an entry uses; None if it has to say and does not."""
    return (section.get(kind) or {}).get("name", DEFAULT_PARTS.get(kind))


def decided(entry: Section, section: str) -> dict[str, Any]:
    """What an entry sets in a section, but for neutral settings that it sets to their default."""
    values = dict(entry.get(section) or {})
    named = values if section == "train" else {**values, "name": part(entry, section)}
    return {key: value for key, value in decisive({section: named})[section].items() if key in values}


def between(base: str, target: str, methods: Mapping[str, Section]) -> dict[str, Section]:
    """`base` with each setting by which `target` differs, one at a time: `tom_clip_raw` is `tom` with that switched.

    SettingsError if they differ in their parts, or not at all, or a name that would be made is taken.
    """
    first, last = methods[base], methods[target]
    for kind in KINDS:
        if part(first, kind) != part(last, kind):
            raise SettingsError(
                f"ablation: {base} and {target} differ in their {kind}, which is no switch; "
                "nearest valid choice: two methods with the same parts"
            )
    made: dict[str, Section] = {}
    for section in ("train", *KINDS):
        old, new = decided(first, section), decided(last, section)
        for key in [key for key in {**new, **old} if key != "name" and old.get(key) != new.get(key)]:
            name = f"{base}_{key}"
            if name in methods or name in made:
                raise SettingsError(f"ablation: {base} with {key} would be called {name}, and there is one already")
            changed = {**old, key: new[key]} if key in new else {k: v for k, v in old.items() if k != key}
            made[name] = {**first, section: changed}
    if not made:
        raise SettingsError(f"ablation: {base} and {target} do not differ; nearest valid choice: another target")
    return made
