"""params.yaml, read and checked whole: what it names exists, has the right type and lies in its range. Hydra-free."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from pipeline.config import networked
from pipeline.config.like import methods_written_out, part, parts_written_out
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
from pipeline.files import ROOT, read_yaml
from tom.settings import KINDS, names, settings_class
from tom.settings import train as train_settings
from tom.settings.experiments.networked import AGENTS
from tom.settings.experiments.road_and_rocks import Offline, World
from tom.settings.fields import SettingsError
from tom.settings.pacoh import ARMS, MetaSettings, families, family_settings

TRACKING = ("off", "wandb", "tensorboard")
ROAD = {"world": World, "offline": Offline}  # sections of `road` besides those of the parts
GORGE = "gorge"  # and what the second world changes in them
GRID = ("methods", "envs", "seeds")
UNTIL = "until"  # beside them, if the runs are to stop before their end for now
ABLATION = "ablation"  # the suite that makes methods of its own
PAIR = ("base", "target")
STAND_IN = "stand_in"  # beside them, where some switches have no meaning for the base
ABLATION_KEYS = (*PAIR, "scale", "envs", "seeds")
META = "meta"  # the suite of task families, whose methods are arms and whose settings are its own
EVIDENCE_KEYS = ("scale", "commit", "grids")
TOP = ("scale", "tracking", "grid", "methods", "envs", "all", "road", "evidence", "scales")
SUITES = tuple(  # the folders of pipeline/suites whose cells.py has a SUITE; each may have a section of its name
    path.parent.name
    for path in sorted(ROOT.glob("pipeline/suites/*/cells.py"))
    if "\nSUITE = " in path.read_text(encoding="utf-8")
)


Checked = Callable[[Any, str, tuple[str, ...]], Section]  # a section, where it is, other keys it may have -> it


@dataclass(frozen=True)
class Grid:
    """Every method on every environment with every seed, and at which env step the runs stop for now, if at one."""

    methods: tuple[str, ...]
    envs: tuple[str, ...]
    seeds: tuple[int, ...]
    until: int | Mapping[str, int] | None = None

    def until_on(self, env: str) -> int | None:
        """Where the runs on an environment stop for now; None if nowhere."""
        return self.until.get(env) if isinstance(self.until, Mapping) else self.until


@dataclass(frozen=True)
class Suite:
    """A grid of its own at a scale of its own, and what it changes at each scale.

    The methods of an ablation are its base, each variant of it, its stand-in if it has one, and its target; `origins`
    says which method each of them is measured from. `own` is the section of a suite whose methods are not those of
    `methods`.
    """

    scale: str
    grid: Grid
    scales: dict[str, Section]
    origins: Mapping[str, str] = field(default_factory=dict)
    own: Section = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """Grids at one scale in the order in which they are trained, and the commit whose code trains them."""

    scale: str
    commit: str
    grids: tuple[Grid, ...]

    def cells(self) -> Iterator[tuple[str, str, int, int | None]]:
        """Method, env, seed and `until` of every run, in order; in a grid the methods of a seed follow one another."""
        for grid in self.grids:
            for env, seed, method in product(grid.envs, grid.seeds, grid.methods):
                yield method, env, seed, grid.until_on(env)


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
    written_out = methods_written_out(_named(top, "methods"))
    methods = {name: check_method(section, name) for name, section in written_out.items()}
    variants = _variants(top.get(ABLATION), methods)
    entries = [*methods, *variants]
    envs = {
        check_env(check_name(name, "envs")): _section(section, f"envs.{name}")
        for name, section in _named(top, "envs").items()
    }
    scales = {
        check_name(name, "scales"): _scale(section, name, envs) for name, section in _named(top, "scales").items()
    }

    def suite(name: str) -> Suite:
        if name == ABLATION:
            return _ablation(top[name], variants, envs, scales)
        if name == networked.NAME:
            return _networked(top[name], scales)
        if name == META:
            return _in_one_piece(top[name], name, ARMS, families(), scales, _meta_section)
        return _in_one_piece(top[name], name, entries, envs, scales)

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
        suites={name: suite(name) for name in SUITES if top.get(name) is not None},
        evidence=None if top.get("evidence") is None else _evidence(top["evidence"], entries, envs, scales),
        variants=variants,
    )


def _evidence(given: Any, methods: Iterable[str], envs: Iterable[str], scales: Iterable[str]) -> Evidence:
    section = mapping(given, "evidence")
    known(section, EVIDENCE_KEYS, "evidence.")
    scale, grids = one_of("evidence.scale", section.get("scale"), scales), section.get("grids")
    commit = check_commit(section.get("commit"), "evidence.commit")
    if not isinstance(grids, list) or not grids:
        raise SettingsError(
            f"evidence.grids={grids} is not a list of at least one grid; write `- methods: [...]` there"
        )
    wheres = [f"evidence.grids[{place}]" for place in range(len(grids))]
    found = [_grid(mapping(grid, where), methods, envs, where) for grid, where in zip(grids, wheres, strict=True)]
    evidence, seen = Evidence(scale, commit, tuple(found)), set()
    for method, env, seed, _ in evidence.cells():
        if (method, env, seed) in seen:
            raise SettingsError(
                f"evidence.grids: {method} on {env} with seed {seed} is there twice; nearest valid choice: once"
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
    section = {key: value for key, value in given.items() if key not in (*PAIR, STAND_IN)} | {
        "methods": [base, *origins]
    }
    return replace(_suite(section, "ablation", [base, *origins], envs, scales), origins=origins)


def _networked(given: Any, scales: Iterable[str]) -> Suite:
    section, where = networked.checked(given, scales), networked.NAME
    grid = {key: section.get(key) for key in GRID} | {"methods": list(section["methods"])}
    return Suite(section["scale"], _grid(grid, section["methods"], AGENTS, where), {}, own=section)


def _in_one_piece(
    given: Any,
    name: str,
    methods: Iterable[str],
    envs: Iterable[str],
    scales: Iterable[str],
    checked: Checked | None = None,
) -> Suite:
    if UNTIL in mapping(given, name):
        raise SettingsError(
            f"{name}.{UNTIL}={given[UNTIL]} cannot be, since a cell of this suite is made in one piece; "
            f"nearest valid choice: another total_env_steps below {name}.scales"
        )
    return _suite(given, name, methods, envs, scales, checked)


def _suite(
    given: Any,
    where: str,
    methods: Iterable[str],
    envs: Iterable[str],
    scales: Iterable[str],
    checked: Checked | None = None,
) -> Suite:
    section = mapping(given, where)
    known(section, ["scale", *GRID, UNTIL, "scales"], f"{where}.")
    changed = {
        one_of(f"{where}.scales", scale, scales): _scale(values, scale, envs, f"{where}.scales", checked)
        for scale, values in mapping(section.get("scales"), f"{where}.scales").items()
    }
    scale = one_of(f"{where}.scale", section.get("scale"), scales)
    return Suite(scale, _grid({key: section.get(key) for key in (*GRID, UNTIL)}, methods, envs, where), changed)


def _grid(grid: Section, methods: Iterable[str], envs: Iterable[str], where: str = "grid") -> Grid:
    known(grid, (*GRID, UNTIL), f"{where}.")
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


def _meta_section(given: Any, where: str, also: tuple[str, ...] = ()) -> Section:
    """A section of the suite `meta`: {tasks: {...}, ...}, {family: {pendulum: {...}}}, {weighting: {tom: {...}}}."""
    section = mapping(given, where)
    known(section, [*MetaSettings.SECTIONS, "family", "weighting", *also], f"{where}.")
    for key, settings in MetaSettings.SECTIONS.items():
        check_values(section.get(key), settings, f"{where}.{key}")
    place = f"{where}.family"
    for name, values in mapping(section.get("family"), place).items():
        check_values(values, family_settings(one_of(place, name, families())), f"{place}.{name}")
    weighting = {"weighting": section["weighting"]} if "weighting" in section else {}
    return {**section, **_section(weighting, where)}


def _scale(
    given: Any, scale: str, envs: Iterable[str], where: str = "scales", checked: Checked | None = None
) -> Section:
    place, check = f"{where}.{scale}", checked or _section
    section = check(given, place, ("envs",))
    there = mapping(section.get("envs"), f"{place}.envs").items()
    changed = {one_of(f"{place}.envs", env, envs): check(values, f"{place}.envs.{env}", ()) for env, values in there}
    return {**section, "envs": changed}


def _section(given: Any, where: str, also: tuple[str, ...] = ()) -> Section:
    """A section that holds for whichever part is chosen: train: {...}, weighting: {tom: {...}, ...}, ..."""
    section = dict(mapping(given, where))
    known(section, ["train", *KINDS, *also], f"{where}.")
    check_values(section.get("train"), train_settings.Settings, f"{where}.train")
    for kind in [kind for kind in KINDS if kind in section]:
        place = f"{where}.{kind}"
        parts = {one_of(place, name, names(kind)): values for name, values in mapping(section[kind], place).items()}
        section[kind] = parts_written_out(parts, place)
        for name, values in section[kind].items():
            check_values(values, settings_class(kind, name), f"{place}.{name}")
    return section


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
    return {**section, **_section(parts, "road")}


def _named(top: Section, key: str) -> Section:
    entries = mapping(top[key], key)
    if not entries:
        raise SettingsError(f"{key}={{}} is empty; name at least one")
    return entries
