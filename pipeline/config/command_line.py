"""The command line of `pipeline.train`, checked before Hydra runs it: every refusal is one sentence."""

import argparse
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import product
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Sweep
from hydra.errors import HydraException

from pipeline.config.compose import DEVICES, Command, classes_of, compose, parts_of
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
from tom.settings import KINDS, names
from tom.settings.fields import SettingsError, nearest

RUN_KEYS = tuple(field.name for field in fields(Command) if field.name not in ("defaults", "train", *KINDS))


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """What was typed: Hydra's flags, and `key=value` as `overrides`; SettingsError for an unknown flag."""
    parser = get_args_parser()

    def refuse(message: str) -> Any:
        raise SettingsError(message)

    parser.error = refuse  # type: ignore[method-assign]
    arguments, unknown = parser.parse_known_intermixed_args(list(argv))
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
        raise SettingsError(f"unrecognized arguments: {' '.join(unknown)}; {nearest(unknown[0], flags)}")
    return arguments


def check(arguments: argparse.Namespace, params: Params) -> list[dict[str, Any]]:
    """The values given for each run, one unless it is a multirun; SettingsError about the first fault."""
    for text in arguments.overrides:
        if "=" not in text and not text.startswith("~"):
            raise SettingsError(f"{text} is not key=value; {nearest(text, [f'{key}=...' for key in RUN_KEYS])}")
    parsed = map(_parsed, arguments.overrides)
    mine = [override for override in parsed if not override.key_or_group.startswith("hydra")]
    for override in mine:
        _plain(override, arguments.multirun)
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
    parser, key = OverridesParser.create(), override.key_or_group
    try:
        return [parser.parse_override(f"{key}={text}").value() for text in override.sweep_string_iterator()]
    except HydraException as error:
        raise SettingsError(f"{override.input_line}: {one_line(error)}") from None


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
            RUN_CHECKS[key](value, key)
        elif key not in RUN_KEYS and key not in KINDS:
            _check_setting(key, value, selection, params)


def _check_setting(key: str, value: Any, selection: dict[str, Any], params: Params) -> None:
    section, _, name = key.partition(".")
    classes = classes_of(parts_of(params, selection))
    near = {section: classes[section]} if section in classes and name else classes
    known = [f"{s}.{field.name}" for s, c in near.items() for field in fields(c)]
    if key not in known:
        choices = [each for each in known if not each.endswith(".name")]
        choices += [*RUN_KEYS, *KINDS] if near is classes else []
        raise SettingsError(f"{key}={value} is not a setting; {nearest_setting(key, choices)}")
    check_value(key, classes[section], name, value)


def check_switch(value: Any, key: str) -> None:
    """Refuses what is neither true nor false."""
    if not isinstance(value, bool):
        raise SettingsError(f"{key}={value} is not true or false; nearest valid choice: {key}=true")


def check_seeds(value: Any, key: str) -> None:
    """Refuses what is not a list of different seeds."""
    if not isinstance(value, list) or not value:
        raise SettingsError(f"{key}={value} is not a list; valid example: {key}=[0,1,2,3]")
    for seed in value:
        check_whole(seed, key)
    if len(set(value)) < len(value):
        raise SettingsError(f"{key}={value} names a seed twice; nearest valid choice: {key}={sorted(set(value))}")


def check_folder(value: Any, key: str) -> None:
    """Refuses what cannot become a folder."""
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"{key}={value!r} is not a folder's path; nearest valid choice: {key}=runs/mine")
    if os.path.isfile(os.path.expanduser(value)):
        raise SettingsError(f"{key}={value} is a file; nearest valid choice: {key}={value}_run")


RUN_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "seed": check_whole,
    "run_dir": check_folder,
    "seeds": check_seeds,
    "until": check_step,
    **dict.fromkeys(("resume", "graphs", "keep_replay"), check_switch),
    **dict.fromkeys(("threads", "checkpoint_every"), check_whole),
}
