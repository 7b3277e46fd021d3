"""engines.yaml: on which engine the runs of a grid train, and what it is told. Nothing that DVC knows depends on it."""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import pipeline.engines
from pipeline.config.refusals import known, mapping, one_of
from pipeline.engines.engine import Engine, Need
from pipeline.engines.fields import checked
from pipeline.files import ROOT, read_yaml
from tom.settings.fields import SettingsError

FILE, CELL, DEFAULT = "engines.yaml", "cell", "local"


def engine_names() -> list[str]:
    """The files of this folder that have an ENGINE."""
    files = sorted(path for folder in pipeline.engines.__path__ for path in Path(folder).glob("*.py"))
    return [path.stem for path in files if "\nENGINE = " in path.read_text(encoding="utf-8")]


def engine_of(
    name: str | None = None, options: Iterable[str] = (), jobs: int | None = None, root: Path = ROOT
) -> Engine:
    """The engine that engines.yaml has, or with this name, with its settings there and these `key=value` over them.

    SettingsError, by key and with the nearest valid choice, if there is no such engine, setting or value.
    """
    names, values = engine_names(), _with(_read(root / FILE), options)
    known(values, ["engine", CELL, *names], "")
    chosen = one_of("engine", name or values.get("engine", DEFAULT), names)
    need = checked(Need, _section(values, CELL), CELL)
    engines = {
        each: import_module(f"{pipeline.engines.__name__}.{each}").ENGINE for each in {chosen, *values} & {*names}
    }
    settings = {each: checked(made.Settings, _section(values, each), each) for each, made in engines.items()}
    made: Engine = engines[chosen](settings[chosen], need, jobs)
    return made


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(mapping(read_yaml(path.read_text(encoding="utf-8")), FILE)) if path.is_file() else {}
    except ValueError as error:
        raise SettingsError(f"{FILE}: {error}") from None


def _with(values: dict[str, Any], options: Iterable[str]) -> dict[str, Any]:
    """The values with `section.key=value` or `engine=name` over them, each read as YAML."""
    changed = dict(values)
    for option in options:
        key, equals, text = option.partition("=")
        path = key.split(".")
        if not equals or len(path) > 2:
            raise SettingsError(f"-o {option} is not section.key=value; valid example: -o cell.cpus=2")
        try:
            value = read_yaml(text)
        except ValueError as error:
            raise SettingsError(f"{option}: {error}") from None
        changed |= {key: value} if len(path) == 1 else {path[0]: {**_section(changed, path[0]), path[1]: value}}
    return changed


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    return dict(mapping(values.get(name), name))
