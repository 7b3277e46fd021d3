"""The resolved settings of a cell: Hydra groups made from params.yaml, composed in the order of precedence.

default < scales.S < scales.S.envs.E < all < envs.E < methods.M < methods.M.envs.E < command line. Part of the answer
is which file of `tom/settings` is meant: `method` chooses a part of each kind, `weighting=uniform` on the command line
another one.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.methods import DEFAULT_PARTS
from pipeline.config.params import Grid, Params, at, load_params
from pipeline.config.refusals import check_until, one_line
from pipeline.files import ROOT
from tom.settings import KINDS, names, settings_class
from tom.settings import train as train_settings
from tom.settings.agent import agent_settings
from tom.settings.fields import SettingsError

SCIENCE = ("env", "train", *KINDS)  # what decides a run, with its seed
DEVICES = ("auto", "cpu", "cuda")

# Hydra's defaults list between the choices: the parts, what params.yaml changes in them, what the method changes in its
# own; later entries win.
_DEFAULTS: list[Any] = [
    *({kind: DEFAULT_PARTS.get(kind, "???")} for kind in KINDS),
    {"tuned/train": "train-${scale}-${env}"},
    *({f"tuned/{kind}": f"${{{kind}}}-${{scale}}-${{env}}"} for kind in KINDS),
    {"own/train": "train-${method}"},
    *({f"optional own/{kind}": f"${{{kind}}}-${{method}}"} for kind in KINDS),
    {"optional own_there/train": "train-${method}-${env}"},
    *({f"optional own_there/{kind}": f"${{{kind}}}-${{method}}-${{env}}"} for kind in KINDS),
]


@dataclass
class Command:
    """Everything that can be said on the command line of `pipeline.train`."""

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
    train: train_settings.Settings = field(default_factory=train_settings.Settings)
    weighting: Any = MISSING
    loss: Any = MISSING
    dynamics: Any = MISSING
    backbone: Any = MISSING


@functools.lru_cache(maxsize=1)
def register(params: Params) -> None:
    """Stores Hydra's groups: the parts with their defaults, what params.yaml changes in them, and the three choices."""
    store = ConfigStore.instance()
    for group in ("method", "env", "scale", "tuned", "own", "own_there"):
        store.repo.pop(group, None)  # of a params.yaml read earlier
    for kind in KINDS:
        for name in names(kind):
            store.store(group=kind, name=name, node=settings_class(kind, name))
    for (kind, part), scale, env in product(_tunable(), params.scales, params.envs):
        values = params.tuned(scale, env, kind, part)
        store.store(group=f"tuned/{kind}", name=f"{part or kind}-{scale}-{env}", package=kind, node=values)
    for method in params.entries:
        chosen = {kind: params.part(method, kind) for kind in KINDS}
        choices = [{f"override /{kind}": name} for kind, name in chosen.items()]
        _choice("method", method, defaults=choices)
        for kind, name in {**chosen, "train": "train"}.items():
            store.store(group=f"own/{kind}", name=f"{name}-{method}", package=kind, node=params.own(method, kind))
            for env in at(params.entries[method], "envs"):
                there, values = f"{name}-{method}-{env}", params.own(method, kind, env)
                store.store(group=f"own_there/{kind}", name=there, package=kind, node=values)
    for choice, options in (("env", params.envs), ("scale", params.scales)):
        for option in options:
            _choice(choice, option)
    store_command(params, params.grid.methods[0], params.grid.envs[0])


def store_command(params: Params, method: str, env: str) -> None:
    """Stores the primary config, for which the groups are needed: what holds where the command line says nothing."""
    first = [{"scale": params.scale}, {"env": env}]
    node = Command(defaults=["_self_", *first, *_DEFAULTS, {"method": method}], tracking=params.tracking)
    ConfigStore.instance().store(name="command", node=node)


def compose_cell(method: str, env: str, scale: str, overrides: Iterable[str] = (), root: Path = ROOT) -> dict[str, Any]:
    """The resolved values of a cell as plain nested dicts: `env`, `train` and one part of each kind.

    Raises SettingsError with one sentence; it begins with 'params.yaml: ' where the fault is there.
    """
    return science(compose_command([f"method={method}", f"env={env}", f"scale={scale}", *overrides], root))


def stop_of(grid: Grid, env: str, config: Mapping[str, Any], where: str = "grid") -> int | None:
    """The env step at which the grid's runs of this cell stop for now; SettingsError if they cannot stop there."""
    until = grid.until_on(env)
    key = f"{where}.until" + (f".{env}" if isinstance(grid.until, Mapping) else "")
    return None if until is None else check_until(key, until, config["train"])


def compose_command(overrides: Sequence[str], root: Path = ROOT) -> DictConfig:
    """The whole command composed from Hydra overrides, its settings checked."""
    command = _compose(overrides, root)
    try:
        agent_settings(science(command))
    except SettingsError as error:
        raise SettingsError(f"{_origin(command, root)}{error}") from None
    return command


def science(command: DictConfig) -> dict[str, Any]:
    """The values that decide a run, as plain nested dicts."""
    values: dict[str, Any] = OmegaConf.to_container(OmegaConf.masked_copy(command, list(SCIENCE)), resolve=True)  # type: ignore[assignment]
    return values


def _compose(overrides: Sequence[str], root: Path) -> DictConfig:
    register(load_params(root))
    GlobalHydra.instance().clear()
    try:
        with initialize(version_base="1.3", config_path=None):
            return compose("command", list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(one_line(error)) from None


def _origin(command: DictConfig, root: Path) -> str:
    """'params.yaml: ' if the contradiction is there without the command line."""
    try:
        plain = _compose([f"{key}={command[key]}" for key in ("method", "env", "scale")], root)
        agent_settings(science(plain))
    except SettingsError:
        return "params.yaml: "
    return ""


def _choice(group: str, name: str, defaults: Sequence[Any] = ()) -> None:
    node = {"defaults": [*defaults, "_self_"], group: name}
    ConfigStore.instance().store(group=group, name=name, package="_global_", node=node)


def _tunable() -> list[tuple[str, str | None]]:
    """What params.yaml can change: `train`, and every part of every kind."""
    return [("train", None), *((kind, name) for kind in KINDS for name in names(kind))]
