"""params.yaml, read and checked whole: what it names exists, has the right type and lies in its range. Hydra-free."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from pipeline.config.like import begun_method, part, written_out
from pipeline.config.methods import Variant, between, check_method
from pipeline.config.refusals import (
    Section,
    check_commit,
    check_env,
    check_name,
    check_step,
    check_value,
    check_values,
    check_whole,
    known,
    mapping,
    one_line,
    one_of,
)
from pipeline.config.shapes import AGENT, META, NETWORK, Shape, checked, checked_methods, checked_scale
from pipeline.files import ROOT, read_yaml
from tom.settings import KINDS
from tom.settings.experiments.networked import AGENTS
from tom.settings.experiments.networked import Settings as Networked
from tom.settings.experiments.pacoh import ARMS
from tom.settings.experiments.road_and_rocks import Offline, World
from tom.settings.fields import SettingsError
from tom.settings.pacoh import families

TRACKING = ("off", "wandb", "tensorboard")
ROAD = {"world": World, "offline": Offline}  # sections of `road` besides those of the parts
GORGE = "gorge"  # and what the second world changes in them
GRID = ("methods", "envs", "seeds")
UNTIL = "until"  # beside them, if the runs are to stop before their end for now
ABLATION = "ablation"  # the suite that makes methods of its own
PAIR = ("base", "target")
STAND_IN = "stand_in"  # beside them, where some switches have no meaning for the base
ABLATION_KEYS = (*PAIR, "scale", "envs", "seeds")
FAMILIES, NETWORKS = "meta", "networked"  # suites whose methods and settings are their own
COMMIT = "commit"  # of the evidence, and of a grid of it that newer code trains
EVIDENCE_KEYS = ("scale", COMMIT, "grids")
TOP = ("scale", "tracking", "grid", "methods", "envs", "all", "road", "evidence", "scales")
SUITES = tuple(  # the folders of pipeline/suites whose cells.py has a SUITE; each may have a section of its name
    path.parent.name
    for path in sorted(ROOT.glob("pipeline/suites/*/cells.py"))
    if "\nSUITE = " in path.read_text(encoding="utf-8")
)


@dataclass(frozen=True)
class Grid:
    """Every method on every environment with every seed, and at which env step the runs stop for now, if at one."""

    methods: tuple[str, ...]
    envs: tuple[str, ...]
    seeds: tuple[int, ...]
    until: int | Mapping[str, int] | None = None
    commit: str = ""  # whose code trains them, in the evidence

    def until_on(self, env: str) -> int | None:
        """Where the runs on an environment stop for now; None if nowhere."""
        return self.until.get(env) if isinstance(self.until, Mapping) else self.until


@dataclass(frozen=True)
class Suite:
    """A grid of its own at a scale of its own, and what it changes at each scale.

    The methods of an ablation are its base, each variant of it, its stand-in if it has one, and its target; `origins`
    says which method each of them is measured from. `methods` are what the methods of a suite change, where they are
    not those of params.yaml's own `methods`.
    """

    scale: str
    grid: Grid
    scales: dict[str, Section]
    origins: Mapping[str, str] = field(default_factory=dict)
    methods: Mapping[str, Section] = field(default_factory=dict)

    def tuned(self, env: str, *keys: str) -> dict[str, Any]:
        """What the suite sets below these keys at its scale, and there on an environment."""
        whole = self.scales.get(self.scale)
        return at(whole, *keys) | at(whole, "envs", env, *keys)


@dataclass(frozen=True)
class Evidence:
    """Grids at one scale in the order in which they are trained, each with the commit whose code trains it."""

    scale: str
    grids: tuple[Grid, ...]

    def cells(self) -> Iterator[tuple[str, str, str, int, int | None]]:
        """Commit, method, env, seed and `until` of every run, in order; the methods of a seed follow one another."""
        for grid in self.grids:
            for env, seed, method in product(grid.envs, grid.seeds, grid.methods):
                yield grid.commit, method, env, seed, grid.until_on(env)


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
    suites: dict[str, Suite]
    evidence: Evidence | None
    variants: dict[str, Variant]

    @property
    def entries(self) -> dict[str, Section]:
        """Everything that can be named as a method: those written down, and those between the ablation's two."""
        return self.methods | {name: variant.entry for name, variant in self.variants.items()}

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
    try:
        return parse_params((root / "params.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"params.yaml: {one_line(error)}") from None


def parse_params(text: str) -> Params:
    """The same of a text that is, or is to become, params.yaml."""
    try:
        return _params(text)
    except SettingsError as error:
        raise SettingsError(f"params.yaml: {one_line(error)}") from None


@functools.lru_cache(maxsize=4)
def _params(text: str) -> Params:
    try:
        top = mapping(read_yaml(text), "the file")
    except ValueError as error:
        raise SettingsError(f"{error}; write valid YAML with plain values") from None
    known(top, (*TOP, *SUITES), "")
    for key in ("scale", "grid", "methods", "envs", "scales"):
        if top.get(key) is None:
            raise SettingsError(f"{key} is missing; write `{key}:` with its value at the top level")
    whole, tracking = written_out(_named(top, "methods"), "methods", begun_method), top.get("tracking")
    methods = {name: check_method(section, name) for name, section in whole.items()}
    variants = _variants(top.get(ABLATION), methods)
    entries = [*methods, *variants]
    envs = {
        check_env(check_name(name, "envs")): checked(section, f"envs.{name}")
        for name, section in _named(top, "envs").items()
    }
    scales = {
        check_name(name, "scales"): checked_scale(section, f"scales.{name}", envs)
        for name, section in _named(top, "scales").items()
    }

    def suite(name: str) -> Suite:
        if name == ABLATION:
            return _ablation(top[name], variants, envs, scales)
        if name == NETWORKS:
            return _networks(top[name], scales)
        if name == FAMILIES:
            return _in_one_piece(top[name], name, ARMS, families(), scales, META)
        return _in_one_piece(top[name], name, entries, envs, scales)

    return Params(
        scale=one_of("scale", top["scale"], scales),
        tracking=one_of("tracking", {False: "off", None: "wandb"}.get(tracking, tracking), TRACKING),
        grid=_grid(mapping(top["grid"], "grid"), entries, envs),
        methods=methods,
        envs=envs,
        all=checked(top.get("all"), "all"),
        scales=scales,
        road=_road(top.get("road"), entries),
        suites={name: suite(name) for name in SUITES if top.get(name) is not None},
        evidence=None if top.get("evidence") is None else _evidence(top["evidence"], entries, envs, scales),
        variants=variants,
    )


def _evidence(given: Any, methods: Iterable[str], envs: Iterable[str], scales: Iterable[str]) -> Evidence:
    section = mapping(given, "evidence")
    known(section, EVIDENCE_KEYS, "evidence.")
    scale, grids = one_of("evidence.scale", section.get("scale"), scales), section.get("grids")
    commit = check_commit(section.get(COMMIT), f"evidence.{COMMIT}")
    if not isinstance(grids, list) or not grids:
        raise SettingsError(
            f"evidence.grids={grids} is not a list of at least one grid; write `- methods: [...]` there"
        )
    found = []
    for place, each in enumerate(grids):
        where = f"evidence.grids[{place}]"
        grid = _grid(given := mapping(each, where), methods, envs, where, (COMMIT,))
        found.append(replace(grid, commit=check_commit(given.get(COMMIT, commit), f"{where}.{COMMIT}")))
    evidence, seen, commits = Evidence(scale, tuple(found)), set(), dict[tuple[str, str], str]()
    for commit, method, env, seed, _ in evidence.cells():
        if (method, env, seed) in seen:
            raise SettingsError(
                f"evidence.grids: {method} on {env} with seed {seed} is there twice; nearest valid choice: once"
            )
        if (first := commits.setdefault((method, env), commit)) != commit:
            raise SettingsError(
                f"evidence.grids: {method} on {env} is of two commits, {first} and {commit}; "
                f"nearest valid choice: {COMMIT}: {first} in both grids"
            )
        seen.add((method, env, seed))
    return evidence


def _variants(given: Any, methods: dict[str, Section]) -> dict[str, Variant]:
    """The methods between the ablation's base and target; nothing without an ablation."""
    if given is None:
        return {}
    section = mapping(given, "ablation")
    known(section, (*ABLATION_KEYS, STAND_IN, UNTIL), "ablation.")
    named = [key for key in (*PAIR, STAND_IN) if key in section or key in PAIR]
    base, target, *stand_in = (one_of(f"ablation.{key}", section.get(key), methods) for key in named)
    return between(base, target, methods, *stand_in)


def _ablation(given: Section, variants: Mapping[str, Variant], envs: Iterable[str], scales: Iterable[str]) -> Suite:
    base, target = (given[key] for key in PAIR)
    stand_in = [given[STAND_IN]] if STAND_IN in given else []
    origins = {name: variant.origin for name, variant in variants.items()} | dict.fromkeys([*stand_in, target], base)
    methods = [base, *origins]
    section = {key: value for key, value in given.items() if key not in (*PAIR, STAND_IN)} | {"methods": methods}
    return replace(_suite(section, "ablation", methods, envs, scales), origins=origins)


def _networks(given: Any, scales: Iterable[str]) -> Suite:
    section, where = mapping(given, NETWORKS), f"{NETWORKS}.methods"
    methods = checked_methods(section.get("methods"), where, Networked, NETWORK.parts)
    listed = {**section, "methods": list(methods)}
    return replace(_in_one_piece(listed, NETWORKS, methods, AGENTS, scales, NETWORK), methods=methods)


def _in_one_piece(
    given: Any, name: str, methods: Iterable[str], envs: Iterable[str], scales: Iterable[str], shape: Shape = AGENT
) -> Suite:
    if UNTIL in mapping(given, name):
        raise SettingsError(
            f"{name}.{UNTIL}={given[UNTIL]} cannot be, since a cell of this suite is made in one piece; "
            f"nearest valid choice: something shorter below {name}.scales"
        )
    return _suite(given, name, methods, envs, scales, shape)


def _suite(
    given: Any, where: str, methods: Iterable[str], envs: Iterable[str], scales: Iterable[str], shape: Shape = AGENT
) -> Suite:
    section = mapping(given, where)
    known(section, ["scale", *GRID, UNTIL, "scales"], f"{where}.")
    changed = {
        one_of(f"{where}.scales", scale, scales): checked_scale(values, f"{where}.scales.{scale}", envs, shape)
        for scale, values in mapping(section.get("scales"), f"{where}.scales").items()
    }
    scale = one_of(f"{where}.scale", section.get("scale"), scales)
    return Suite(scale, _grid({key: section.get(key) for key in (*GRID, UNTIL)}, methods, envs, where), changed)


def _grid(
    grid: Section, methods: Iterable[str], envs: Iterable[str], where: str = "grid", more: Sequence[str] = ()
) -> Grid:
    known(grid, (*GRID, UNTIL, *more), f"{where}.")
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
        until=_until(grid.get(UNTIL), envs, f"{where}.{UNTIL}"),
    )


def _until(given: Any, envs: Iterable[str], where: str) -> int | dict[str, int] | None:
    """One env step for all environments, or one for each of some; whether a run can stop there depends on its cell."""
    if given is None:
        return None
    if not isinstance(given, dict):
        return check_step(given, where)
    return {one_of(where, env, envs): check_step(step, f"{where}.{env}") for env, step in given.items()}


def _road(given: Any, methods: Iterable[str]) -> Section:
    """The section of Figure 2: its methods, seeds and strengths, its worlds, data and training, and the parts."""
    section = mapping(given, "road")
    known(section, ["methods", "seeds", "compared", "strengths", GORGE, *ROAD, *KINDS], "road.")
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
        check_value("road.strengths", World, "strength", strength)
    second = mapping(section.get(GORGE), f"road.{GORGE}")
    known(second, ROAD, f"road.{GORGE}.")
    for key, settings in ROAD.items():
        check_values(section.get(key), settings, f"road.{key}")
        check_values(second.get(key), settings, f"road.{GORGE}.{key}")
    parts = {key: value for key, value in section.items() if key not in (*grid, *ROAD, GORGE)}
    return {**section, **checked(parts, "road")}


def _named(top: Section, key: str) -> Section:
    entries = mapping(top[key], key)
    if not entries:
        raise SettingsError(f"{key}={{}} is empty; name at least one")
    return entries
