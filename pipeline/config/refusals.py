"""Checks of one name or value: a SettingsError of one sentence that ends in the nearest valid choice."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tom.settings import environments
from tom.settings.fields import SettingsError, nearest, refusal

LARGEST = 2**31 - 1
NOWHERE = "none"  # in place of the env step after --until: the runs go to their end
ELSEWHERE = {  # what other libraries call a setting
    "lr": "learning_rate",
    "gamma": "discount",
    "tau": "target_rate",
    "batch_size": "batch",
    "total_timesteps": "total_env_steps",
    "learning_starts": "warmup_env_steps",
    "n_eval_episodes": "eval_episodes",
    "eval_freq": "eval_every_env_steps",
}
Section = Mapping[str, Any]


def one_of(key: str, value: Any, choices: Iterable[str]) -> str:
    """The value, if it is one of the choices; else SettingsError with the nearest one."""
    choices = list(choices)
    if value not in choices:
        page = "; tom/README.md says how to add one" if key.split(".")[-1].rstrip("s") in ("method", "env") else ""
        raise SettingsError(f"{key}={value} does not exist; {nearest(value, choices)}{page}")
    return str(value)


def check_env(name: str) -> str:
    """The name, if there is a file tom/envs/<name>.py."""
    return one_of("envs", name, environments())


def check_whole(value: Any, key: str = "seed") -> int:
    """The value, if it is a whole number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int):
        close = round(value) if isinstance(value, float) and abs(value) < LARGEST else 0
        raise SettingsError(f"{key}={value} is not a whole number; nearest valid value: {max(close, 0)}")
    if not 0 <= value <= LARGEST:
        limit = min(max(value, 0), LARGEST)
        raise SettingsError(f"{key}={value} is outside [0, {LARGEST}]; nearest valid value: {limit}")
    return value


def check_value(key: str, settings: Any, name: str, value: Any) -> None:
    """Refuses `key=value` unless the settings class has a field `name` that can take the value."""
    fields = {field.name: field for field in dataclasses.fields(settings)}
    part = fields.pop("name", None)
    if name == "name" and part:
        raise SettingsError(f"{key}={value} is fixed by the chosen part; nearest valid choice: {part.default}")
    if name not in fields:
        raise SettingsError(f"{key}={value} is not a setting; {nearest_setting(name, fields)}")
    reason = refusal(fields[name], value)
    if reason:
        raise SettingsError(f"{key}={value} {reason}")


def nearest_setting(key: str, settings: Iterable[str]) -> str:
    """The end of a refusal of a key: the settings that other libraries call so, else the one most like it."""
    settings, (section, _, name) = list(settings), key.rpartition(".")
    ends = (f".{ELSEWHERE.get(name)}", f"_{ELSEWHERE.get(name)}")
    found = [each for each in settings if each.startswith(section) and f".{each}".endswith(ends)]
    return f"nearest valid choice: {' or '.join(found)}" if found else nearest(key, settings)


def check_values(section: Any, settings: Any, where: str) -> None:
    """Refuses a section unless each of its keys is a field of the settings class that can take the value."""
    for name, value in mapping(section, where).items():
        check_value(f"{where}.{name}", settings, name, value)


def check_name(name: Any, where: str) -> str:
    """The name, if it is made of a-z, 0-9 and _: names become folders and stage names, where `-` and `/` separate."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        close = re.sub(r"[^a-z0-9_]+", "_", str(name).lower()).lstrip("0123456789_") or "x"
        raise SettingsError(
            f"{where}: the name {name!r} is not made of a-z, 0-9 and _, a letter first; nearest valid choice: {close}"
        )
    return name


def mapping(section: Any, where: str) -> Section:
    """The section if it is a mapping; nothing counts as an empty one."""
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise SettingsError(f"{where}={section} is not a mapping of keys to values; nearest valid choice: {{}}")
    return section


def known(section: Section, keys: Iterable[str], prefix: str) -> None:
    """Refuses a section with a key that is none of `keys`."""
    keys = list(keys)
    for key in section:
        if key not in keys:
            raise SettingsError(f"{prefix}{key} is not a key; {nearest(key, keys)}")


def check_step(value: Any, key: str = "until") -> int:
    """The value, if it is a number of env steps."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LARGEST:
        raise SettingsError(f"{key}={value} is not a whole number of env steps from 1 on; valid example: 40000")
    return value


def stop_in(word: str) -> int | None:
    """The env step that the word after --until says; None for NOWHERE."""
    return None if word == NOWHERE else check_step(int(word) if word.isdecimal() else word)


def check_commit(value: Any, key: str) -> str:
    """The value, if it is the whole name of a commit."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{40}", value):
        raise SettingsError(
            f"{key}={value} is not the whole name of a commit, 40 hexadecimal digits; "
            "nearest valid choice: what `git rev-parse HEAD` says"
        )
    return value


def check_until(key: str, value: Any, train: Mapping[str, Any]) -> int | None:
    """The env step at which a run with these settings of the loop is to stop for now; None if that is its end.

    There has to be an evaluation that the whole run has too, so that stopping adds nothing to it.
    """
    until, total, every = check_step(value, key), int(train["total_env_steps"]), int(train["eval_every_env_steps"])
    if until >= total:
        return None
    if until % every:
        below = until // every * every
        close = [str(step) for step in (below, min(below + every, total)) if step]
        raise SettingsError(
            f"{key}={until} is not a multiple of train.eval_every_env_steps={every}; "
            f"nearest valid value: {' or '.join(close)}"
        )
    return until


def one_line(error: BaseException) -> str:
    """The message of an error without its line breaks."""
    return " ".join(str(error).split())


def key_values(argv: Sequence[str], keys: Iterable[str]) -> dict[str, str]:
    """The arguments `key=value` by key; refuses one that has no value or is none of `keys`."""
    keys = list(keys)
    for argument in argv:
        if argument.partition("=")[0] not in keys or "=" not in argument:
            raise SettingsError(f"{argument} is not an argument; {nearest(argument, [f'{key}=' for key in keys])}")
    return dict(argument.partition("=")[::2] for argument in argv)


def whole_number(key: str, text: str, low: int) -> int:
    """The number that a text holds, if it is a whole one and at least `low`."""
    if not text.isdecimal() or int(text) < low:
        raise SettingsError(f"{key}={text} is not a whole number of at least {low}; nearest valid value: {low}")
    return int(text)
