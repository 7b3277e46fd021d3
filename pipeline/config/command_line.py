"""The command line of `pipeline.train`, checked before Hydra runs it: every refusal is one sentence."""

import argparse
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Sweep
from hydra.errors import HydraException

from pipeline.config.compose import DEVICES, compose
from pipeline.config.params import TRACKING, Params
from pipeline.config.refusals import (
    check_step,
    check_until,
    check_value,
    check_whole,
    nearest_setting,
    one_line,
    one_of,
)
from tom.settings import KINDS, names, settings_class
from tom.settings import train as train_settings
from tom.settings.fields import SettingsError, nearest

RUN_KEYS = (
    "method",
    "env",
    "scale",
    "seed",
    "seeds",
    "until",
    "device",
    "tracking",
    "run_dir",
    "resume",
    "checkpoint_every",
    "threads",
    "graphs",
    "keep_replay",
)


@dataclass(frozen=True)
class Arguments:
    """What was typed: Hydra's flags, and `key=value` overrides."""

    flags: argparse.Namespace
    overrides: list[str]


def parse(argv: Sequence[str]) -> Arguments:
    """The arguments without the program's name; SettingsError for an unknown flag."""
    parser = get_args_parser()

    def refuse(message: str) -> Any:
        flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
        raise SettingsError(f"{message}; {nearest(argv[-1] if argv else '', flags)}")

    parser.error = refuse  # type: ignore[method-assign]
    flags = parser.parse_intermixed_args(list(argv))
    return Arguments(flags=flags, overrides=list(flags.overrides))


def check(arguments: Arguments, params: Params) -> list[dict[str, Any]]:
    """The values given for each run, one unless it is a multirun; SettingsError about the first fault."""
    for text in arguments.overrides:
        if "=" not in text and not text.startswith("~"):
            raise SettingsError(f"{text} is not key=value; {nearest(text, [f'{key}=...' for key in RUN_KEYS])}")
    parsed = map(_parsed, arguments.overrides)
    mine = [override for override in parsed if not override.key_or_group.startswith("hydra")]
    for override in mine:
        _plain(override, arguments.flags.multirun)
    options = [_values(override, params) for override in mine]
    keys = [override.key_or_group for override in mine]
    runs = [dict(zip(keys, values, strict=True)) for values in product(*options)]
    for selection in runs:
        _check_selection(selection, params)
        config = compose(params, selection)
        if "until" in selection:
            check_until("until", selection["until"], config["train"])
    return runs


def _parsed(text: str) -> Override:
    """What `key=value` says in Hydra's grammar, which knows some characters, such as ~, in quotes alone."""
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        key, _, value = text.partition("=")
        quoted = shlex.quote(f'{key}="{value}"')
        raise SettingsError(f"{text} cannot be read; nearest valid choice: {quoted}") from None


def _plain(override: Override, multirun: bool) -> None:
    """Refuses `+key`, `~key` and several values outside a multirun."""
    if override.is_add() or override.is_delete():
        raise SettingsError(f"{override.input_line}: keys can only be changed; write {override.key_or_group}=VALUE")
    if override.is_sweep_override() and not multirun:
        raise SettingsError(f"{override.input_line} names several values; add --multirun, or give one")


def _values(override: Override, params: Params) -> list[Any]:
    value = override.value()
    if isinstance(value, Glob):
        return value.filter(_options(override.key_or_group, params))
    if not isinstance(value, Sweep):
        return [value]
    try:
        return [parsed.value() for parsed in _swept(override)]
    except HydraException as error:
        raise SettingsError(f"{override.input_line}: {one_line(error)}") from None


def _swept(override: Override) -> Iterator[Override]:
    parser = OverridesParser.create()
    for text in override.sweep_string_iterator():
        yield parser.parse_override(f"{override.key_or_group}={text}")


def _options(key: str, params: Params) -> list[str]:
    """The words a key can take; empty if it takes something else."""
    options = {
        "method": list(params.entries),
        "env": list(params.envs),
        "scale": list(params.scales),
        "device": list(DEVICES),
        "tracking": list(TRACKING),
    }
    return names(key) if key in KINDS else options.get(key, [])


def _check_selection(selection: dict[str, Any], params: Params) -> None:
    for key in ("method", "env"):
        if key not in selection:
            raise SettingsError(f"{key}= is missing; valid choices: {', '.join(_options(key, params))}")
    if {"seed", "seeds"} <= selection.keys():
        raise SettingsError("seed and seeds are both given; nearest valid choice: seeds alone")
    for key, value in selection.items():
        if _options(key, params):
            one_of(key, value, _options(key, params))
    for key, value in selection.items():
        if key in RUN_CHECKS:
            RUN_CHECKS[key](value)
        elif key not in RUN_KEYS and key not in KINDS:
            _check_setting(key, value, selection, params)


def _check_setting(key: str, value: Any, selection: dict[str, Any], params: Params) -> None:
    section, _, name = key.partition(".")
    classes = {
        kind: settings_class(kind, selection.get(kind, params.part(selection["method"], kind))) for kind in KINDS
    }
    classes["train"] = train_settings.Settings
    if section not in classes or not name:
        known = [
            *RUN_KEYS,
            *KINDS,
            *(f"{s}.{n}" for s, c in classes.items() for n in c.__dataclass_fields__ if n != "name"),
        ]
        raise SettingsError(f"{key}={value} is not a setting; {nearest_setting(key, known)}")
    check_value(key, classes[section], name, value)


def check_switch(value: Any, key: str) -> None:
    """Refuses what is neither true nor false."""
    if not isinstance(value, bool):
        raise SettingsError(f"{key}={value} is not true or false; nearest valid choice: {key}=true")


def check_seeds(value: Any) -> None:
    """Refuses what is not a list of different seeds."""
    if not isinstance(value, list) or not value:
        raise SettingsError(f"seeds={value} is not a list; valid example: seeds=[0,1,2,3]")
    for seed in value:
        check_whole(seed, key="seeds")
    if len(set(value)) < len(value):
        raise SettingsError(f"seeds={value} names a seed twice; nearest valid choice: seeds={sorted(set(value))}")


def check_run_dir(value: Any) -> None:
    """Refuses a run_dir that cannot become a folder."""
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"run_dir={value!r} is not a folder's path; nearest valid choice: run_dir=runs/mine")
    if os.path.isfile(os.path.expanduser(value)):
        raise SettingsError(f"run_dir={value} is a file; nearest valid choice: run_dir={value}_run")


RUN_CHECKS: dict[str, Callable[[Any], Any]] = {
    "seed": check_whole,
    "run_dir": check_run_dir,
    "seeds": check_seeds,
    "until": check_step,
    "resume": partial(check_switch, key="resume"),
    "graphs": partial(check_switch, key="graphs"),
    "keep_replay": partial(check_switch, key="keep_replay"),
    "threads": partial(check_whole, key="threads"),
    "checkpoint_every": partial(check_whole, key="checkpoint_every"),
}
