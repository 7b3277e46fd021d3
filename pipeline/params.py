"""params.yaml, read and checked whole: what it names exists, has the right type and lies in its range. Hydra-free."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from pipeline.checks import (
    Section,
    check_env,
    check_name,
    check_value,
    check_values,
    check_whole,
    known,
    mapping,
    one_line,
    one_of,
)
from pipeline.methods import between, check_method, part
from tom.settings import KINDS, names, offline, road_and_rocks, settings_class
from tom.settings import train as train_settings
from tom.settings.fields import SettingsError

ROOT = Path(__file__).resolve().parents[1]
TRACKING = ("off", "wandb")
ROAD = {"world": road_and_rocks.Settings, "offline": offline.Settings}  # sections of `road` besides those of the parts
GRID = ("methods", "envs", "seeds")
PAIR = ("base", "target")
ABLATION_KEYS = (*PAIR, "scale", "envs", "seeds")
TOP = ("scale", "tracking", "grid", "methods", "envs", "all", "road", "weights", "ablation", "scales")


@dataclass(frozen=True)
class Grid:
    """Every method on every environment with every seed."""

    methods: tuple[str, ...]
    envs: tuple[str, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Suite:
    """A grid of its own at a scale of its own, and what it changes at each scale.

    The methods of an ablation are its base, each variant of it, and its target.
    """

    scale: str
    grid: Grid
    scales: dict[str, Section]


@dataclass(frozen=True, eq=False)
class Params:
    """The contents of params.yaml; sections as they stand there, every value of them checked."""

    scale: str
    tracking: str
    grid: Grid
    methods: dict[str, Section]
    envs: dict[str, Section]
    all: Section
    scales: dict[str, Section]
    road: Section
    weights: Suite | None
    ablation: Suite | None
    variants: dict[str, Section]

    @property
    def entries(self) -> dict[str, Section]:
        """Everything that can be named as a method: those written down, and those between the ablation's two."""
        return self.methods | self.variants

    def part(self, method: str, kind: str) -> str:
        """The name of the part of this kind that a method uses."""
        return str(part(self.entries[method], kind))

    def tuned(self, scale: str, env: str, kind: str, name: str | None = None) -> dict[str, Any]:
        """What the scale, the environment and `all` set for `train` (no name) or for the part `name` of this kind."""
        values: dict[str, Any] = {}
        for layer in (self.scales[scale], at(self.scales[scale], "envs", env), self.all, self.envs[env]):
            values |= at(layer, kind, name) if name else at(layer, kind)
        return values

    def own(self, method: str, kind: str, env: str | None = None) -> dict[str, Any]:
        """What the method's entry sets for `train` or for its part of this kind: everywhere, or on one environment."""
        entry = self.entries[method]
        values = at(entry, kind) if env is None else at(entry, "envs", env, kind)
        return {key: value for key, value in values.items() if key != "name"}


def at(section: Section | None, *keys: str) -> dict[str, Any]:
    """The mapping below the keys, empty where there is none."""
    for key in keys:
        section = (section or {}).get(key)
    return dict(section or {})


def load_params(root: Path = ROOT) -> Params:
    """The checked contents of `root/params.yaml`; SettingsError with one sentence about the first thing wrong."""
    path = root / "params.yaml"
    try:
        text = path.read_text(encoding="utf-8")
        return _params(text)
    except (SettingsError, OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"params.yaml: {one_line(error)}") from None


@functools.lru_cache(maxsize=4)
def _params(text: str) -> Params:
    try:
        raw = OmegaConf.to_container(OmegaConf.create(text), resolve=True)
    except (YAMLError, OmegaConfBaseException, OSError) as error:
        found = one_line(error).replace('in "<unicode string>", ', "at ")
        raise SettingsError(f"{found}; write valid YAML with plain values") from None
    top = mapping(raw, "the file")
    known(top, TOP, "")
    for key in ("scale", "grid", "methods", "envs", "scales"):
        if top.get(key) is None:
            raise SettingsError(f"{key} is missing; write `{key}:` with its value at the top level")
    methods = {name: check_method(section, name) for name, section in _named(top, "methods")}
    pair, variants = _variants(top.get("ablation"), methods)
    entries = methods | variants
    envs = {
        check_env(check_name(name, "envs")): _section(section, f"envs.{name}") for name, section in _named(top, "envs")
    }
    scales = {check_name(name, "scales"): _scale(section, name, envs) for name, section in _named(top, "scales")}
    return Params(
        scale=one_of("scale", top["scale"], scales),
        tracking=one_of(
            "tracking", {False: "off", None: "wandb"}.get(top.get("tracking"), top.get("tracking")), TRACKING
        ),
        grid=_grid(mapping(top["grid"], "grid"), entries, envs),
        methods=methods,
        envs=envs,
        all=_section(top.get("all"), "all"),
        scales=scales,
        road=_road(top.get("road"), entries),
        weights=None if top.get("weights") is None else _suite(top["weights"], "weights", entries, envs, scales),
        ablation=_ablation(top["ablation"], pair, variants, envs, scales) if variants else None,
        variants=variants,
    )


def _variants(given: Any, methods: dict[str, Section]) -> tuple[tuple[str, ...], dict[str, Section]]:
    """The ablation's base and target, and the methods between them; nothing without an ablation."""
    if given is None:
        return (), {}
    section = mapping(given, "ablation")
    known(section, ABLATION_KEYS, "ablation.")
    base, target = (one_of(f"ablation.{key}", section.get(key), methods) for key in PAIR)
    return (base, target), between(base, target, methods)


def _ablation(
    given: Any, pair: Sequence[str], variants: Iterable[str], envs: Iterable[str], scales: Iterable[str]
) -> Suite:
    section, methods = mapping(given, "ablation"), [pair[0], *variants, pair[1]]
    suite = {key: value for key, value in section.items() if key not in PAIR}
    return _suite({**suite, "methods": methods}, "ablation", methods, envs, scales)


def _suite(given: Any, where: str, methods: Iterable[str], envs: Iterable[str], scales: Iterable[str]) -> Suite:
    section = mapping(given, where)
    known(section, ["scale", *GRID, "scales"], f"{where}.")
    changed = {
        one_of(f"{where}.scales", scale, scales): _scale(values, scale, envs, f"{where}.scales")
        for scale, values in mapping(section.get("scales"), f"{where}.scales").items()
    }
    scale = one_of(f"{where}.scale", section.get("scale"), scales)
    return Suite(scale, _grid({key: section.get(key) for key in GRID}, methods, envs, where), changed)


def _grid(grid: Section, methods: Iterable[str], envs: Iterable[str], where: str = "grid") -> Grid:
    known(grid, GRID, f"{where}.")
    lists = {}
    for key in GRID:
        entries = grid.get(key)
        if not isinstance(entries, list) or not entries:
            raise SettingsError(f"{where}.{key}={entries} is not a list with at least one entry; valid example: [0, 1]")
        twice = [entry for position, entry in enumerate(entries) if entry in entries[:position]]
        if twice:
            raise SettingsError(f"{where}.{key}: {twice[0]} is there twice; nearest valid choice: once")
        lists[key] = entries
    return Grid(
        methods=tuple(one_of(f"{where}.methods", name, methods) for name in lists["methods"]),
        envs=tuple(one_of(f"{where}.envs", name, envs) for name in lists["envs"]),
        seeds=tuple(check_whole(seed, f"{where}.seeds") for seed in lists["seeds"]),
    )


def _scale(given: Any, scale: str, envs: Iterable[str], where: str = "scales") -> Section:
    section = mapping(given, f"{where}.{scale}")
    for env, values in mapping(section.get("envs"), f"{where}.{scale}.envs").items():
        one_of(f"{where}.{scale}.envs", env, envs)
        _section(values, f"{where}.{scale}.envs.{env}")
    _section(section, f"{where}.{scale}", also=("envs",))
    return section


def _section(given: Any, where: str, also: tuple[str, ...] = ()) -> Section:
    """A section that holds for whichever part is chosen: train: {...}, weighting: {tom: {...}, ...}, ..."""
    section = mapping(given, where)
    known(section, ["train", *KINDS, *also], f"{where}.")
    check_values(section.get("train"), train_settings.Settings, f"{where}.train")
    for kind in KINDS:
        for name, values in mapping(section.get(kind), f"{where}.{kind}").items():
            one_of(f"{where}.{kind}", name, names(kind))
            check_values(values, settings_class(kind, name), f"{where}.{kind}.{name}")
    return section


def _road(given: Any, methods: Iterable[str]) -> Section:
    """The section of Figure 2: its methods, seeds and strengths, its world, data and training, and the parts."""
    section = mapping(given, "road")
    known(section, ["methods", "seeds", "compared", "strengths", *ROAD, *KINDS], "road.")
    grid = {key: section[key] for key in ("methods", "seeds", "compared", "strengths") if key in section}
    for key, entries in grid.items():
        if not isinstance(entries, list) or not entries or len(entries) != len(set(map(str, entries))):
            raise SettingsError(
                f"road.{key}={entries} is not a list of one entry or more, each once; valid example: [0, 1]"
            )
    for name in grid.get("methods", []):
        one_of("road.methods", name, methods)
    for name in grid.get("compared", []):
        one_of("road.compared", name, grid.get("methods", []))
    for seed in grid.get("seeds", []):
        check_whole(seed, "road.seeds")
    for strength in grid.get("strengths", []):
        check_value("road.strengths", road_and_rocks.Settings, "strength", strength)
    for key, settings in ROAD.items():
        check_values(section.get(key), settings, f"road.{key}")
    _section({key: value for key, value in section.items() if key not in (*grid, *ROAD)}, "road")
    return section


def _named(top: Section, key: str) -> Iterable[tuple[Any, Any]]:
    entries = mapping(top[key], key)
    if not entries:
        raise SettingsError(f"{key}={{}} is empty; name at least one")
    return entries.items()
