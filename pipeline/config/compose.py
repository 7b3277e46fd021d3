"""The resolved settings of a cell, merged from params.yaml and the command line; Hydra is given what came out.

default < scales.S < scales.S.envs.E < all < envs.E < methods.M < methods.M.envs.E < command line. Part of the answer
is which file of `tom/settings` is meant: `method` chooses a part of each kind, `weighting=uniform` on the command line
another one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.params import Grid, Params, load_params
from pipeline.config.refusals import check_until, one_line
from pipeline.files import ROOT
from tom.settings import KINDS, names, settings_class
from tom.settings import train as train_settings
from tom.settings.agent import agent_settings
from tom.settings.fields import SettingsError

SCIENCE = ("env", "train", *KINDS)  # what decides a run, with its seed
DEVICES = ("auto", "cpu", "cuda")
CHOICES = ("method", "env", "scale")


def compose_cell(method: str, env: str, scale: str, overrides: Iterable[str] = (), root: Path = ROOT) -> dict[str, Any]:
    """The resolved values of a cell as plain nested dicts: `env`, `train` and one part of each kind.

    Raises SettingsError with one sentence; it begins with 'params.yaml: ' where the fault is there.
    """
    return compose(load_params(root), {"method": method, "env": env, "scale": scale, **_values(overrides)})


def compose(params: Params, selection: Mapping[str, Any]) -> dict[str, Any]:
    """The same of what a command line says by key: `method`, `env`, `scale`, parts by kind, `train.seed` and the like.

    Keys that are no settings of the science are passed over.
    """
    config = _merged(params, selection)
    try:
        agent_settings(config)
    except SettingsError as error:
        raise SettingsError(f"{_origin(params, selection)}{error}") from None
    return config


def stop_of(grid: Grid, env: str, config: Mapping[str, Any], where: str = "grid") -> int | None:
    """The env step at which the grid's runs of this cell stop for now; SettingsError if they cannot stop there."""
    until = grid.until_on(env)
    key = f"{where}.until" + (f".{env}" if isinstance(grid.until, Mapping) else "")
    return None if until is None else check_until(key, until, config["train"])


def _merged(params: Params, selection: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {"env": selection["env"]}
    try:
        parts = parts_of(params, selection)
        for key, settings in classes_of(parts).items():
            layers = _layers(params, selection, key, parts.get(key))
            config[key] = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(settings), *layers))
    except OmegaConfBaseException as error:
        raise SettingsError(one_line(error)) from None
    return config


def parts_of(params: Params, selection: Mapping[str, Any]) -> dict[str, str]:
    """The name of the chosen part of each kind."""
    return {kind: selection.get(kind, params.part(selection["method"], kind)) for kind in KINDS}


def classes_of(parts: Mapping[str, str]) -> dict[str, Any]:
    """The settings class of `train`, and of the part of each kind that has this name."""
    return {"train": train_settings.Settings} | {kind: settings_class(kind, parts[kind]) for kind in KINDS}


def _layers(params: Params, selection: Mapping[str, Any], key: str, part: str | None) -> Iterator[dict[str, Any]]:
    """What is set for `train` or for the part of a kind, later ones win; what a method sets is for its own part."""
    method, env = selection["method"], selection["env"]
    yield params.tuned(selection.get("scale", params.scale), env, key, part)
    if part is None or part == params.part(method, key):
        yield params.own(method, key)
        yield params.own(method, key, env)
    yield {name.partition(".")[2]: value for name, value in selection.items() if name.startswith(f"{key}.")}


def _origin(params: Params, selection: Mapping[str, Any]) -> str:
    """'params.yaml: ' if the contradiction is there without the command line."""
    try:
        agent_settings(_merged(params, {key: selection[key] for key in CHOICES if key in selection}))
    except SettingsError:
        return "params.yaml: "
    return ""


def _values(overrides: Iterable[str]) -> dict[str, Any]:
    """The values of `key=value` words by key, in Hydra's grammar."""
    words = list(overrides)
    if not words:
        return {}
    from hydra.core.override_parser.overrides_parser import OverridesParser  # loads a grammar, which takes its time

    return {each.key_or_group: each.value() for each in OverridesParser.create().parse_overrides(words)}


@dataclass
class Command:
    """Everything that can be said on the command line of `tom train`."""

    defaults: list[Any] = field(default_factory=list)
    method: str = MISSING
    env: str = MISSING
    scale: str = MISSING
    seed: int = 0
    seeds: list[int] | None = None
    until: int | None = None
    device: str = "auto"
    tracking: str = "off"
    run_dir: str | None = None
    resume: bool = True
    checkpoint_every: int = 0
    threads: int = 0
    graphs: bool = True
    keep_replay: bool = False
    train: train_settings.Settings = field(default_factory=train_settings.Settings)
    weighting: Any = MISSING
    loss: Any = MISSING
    dynamics: Any = MISSING
    backbone: Any = MISSING


def register(params: Params, runs: Sequence[Mapping[str, Any]]) -> None:
    """Stores in Hydra what its command line chooses from: the parts, and the merged values of each of these runs.

    The word after `method=` chooses a part of each kind, another word may choose another one, and the values that are
    merged for all of them together come last; Hydra sets what is typed as `kind.key=value` on top of them.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for kind in KINDS:
        for name in names(kind):
            store.store(group=kind, name=name, node=settings_class(kind, name))
    for choice, options in {"env": params.envs, "scale": params.scales}.items():
        for option in options:
            store.store(group=choice, name=option, package="_global_", node={choice: option})
    for method in params.entries:
        chosen = [{f"override /{kind}": params.part(method, kind)} for kind in KINDS]
        node = {"defaults": [*chosen, "_self_"], "method": method}
        store.store(group="method", name=method, package="_global_", node=node)
    for run in runs:
        choices = {"scale": params.scale, **{key: run[key] for key in run if key in (*CHOICES, *KINDS)}}
        values = {key: value for key, value in _merged(params, choices).items() if key != "env"}
        name = "-".join([*(choices[key] for key in CHOICES), *parts_of(params, choices).values()])
        store.store(group="cell", name=name, package="_global_", node=values)
    cell = "-".join(f"${{{key}}}" for key in (*CHOICES, *KINDS))
    first = [{"scale": params.scale}, {"env": runs[0]["env"]}, *({kind: "???"} for kind in KINDS)]
    last = [{"optional cell": cell}, {"method": runs[0]["method"]}]  # --multirun composes once without what varies
    store.store(name="command", node=Command(defaults=["_self_", *first, *last], tracking=params.tracking))
