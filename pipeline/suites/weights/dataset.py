"""A data set: SAC's replay in the order it was made, and its final policy, stored once and reused.

    tom dataset make hopper 0                        # trains SAC unless it is there
    tom dataset show runs/datasets/<fingerprint>

`runs/datasets/<fingerprint>/` is a finished run of SAC (evals.csv, train.csv, timing.csv, config.yaml, policy.npz:
`tom evaluate` plays it) with transitions.npz and manifest.json. transitions.npz holds float32
arrays under D4RL's names, the oldest transition first: observations [N, O], actions [N, A] in [-1, 1],
next_observations [N, O], rewards, terminals, timeouts [N], and resets [M, O], states that episodes began in. The
manifest has the format's version, the environment, sizes, settings, digests. Nothing in it is pickled.
"""

import json
import shutil
import zipfile
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config.params import load_params
from pipeline.config.refusals import one_line, one_of
from pipeline.files import ROOT, as_json, sha256
from pipeline.runs.folder import CHECKPOINTS, OWNER, Cell, Refused, beside, code_of
from pipeline.runs.interruptions import die_with_parent
from pipeline.runs.owner import owned
from pipeline.runs.partial import locked, named
from pipeline.runs.provenance import PACKAGES, names_of
from pipeline.suites.weights.cells import WEIGHTS, collector

if TYPE_CHECKING:
    from tom.experiments.curated_buffer import Recording

FORMAT = 1
TRANSITIONS, POLICY, MANIFEST = "transitions.npz", "policy.npz", "manifest.json"
# The names in transitions.npz, which are D4RL's, and those of a Recording.
ARRAYS = {
    "observations": "obs",
    "actions": "action",
    "rewards": "reward",
    "next_observations": "next_obs",
    "terminals": "terminated",
    "timeouts": "truncated",
    "resets": "resets",
}


@dataclass(frozen=True)
class Dataset:
    """A data set as it was read: its transitions, the final policy's parameters by name, and its manifest."""

    transitions: "Recording"
    policy: dict[str, np.ndarray]
    manifest: dict[str, Any]


def dataset_folder(cell: Cell, root: Path = ROOT) -> Path:
    """Where the data set of SAC's cell is kept."""
    return root / "runs/datasets" / cell.fingerprint


def load(folder: Path, env: str | None = None) -> Dataset:
    """The data set in a folder; Refused, in one sentence, if it is not whole, or not of this environment."""
    from tom.experiments.curated_buffer import Recording

    manifest = read_manifest(folder)
    if env is not None and manifest["env"] != env:
        raise Refused(f"{folder} is a data set of {manifest['env']}, not of {env}; give one of {env}")
    for name, digest in manifest["sha256"].items():
        if not (folder / name).is_file():
            raise Refused(f"{folder / name} is missing; delete {folder} and it is made again")
        if sha256(folder / name) != digest:
            raise Refused(f"{folder / name} is not as it was written; delete {folder} and it is made again")
    try:
        arrays, policy = _arrays(folder / TRANSITIONS), _arrays(folder / POLICY)
        transitions = Recording(**{field: arrays[name] for name, field in ARRAYS.items()})
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise Refused(f"{folder} is not a data set of format {FORMAT}: {one_line(error)}") from None
    return Dataset(transitions, policy, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a data set; Refused if there is none, or one of another format."""
    path = folder / MANIFEST
    if not path.is_file():
        raise Refused(f"{path} is missing; {folder} is not a data set")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found, needed = manifest["format"], (manifest["env"], manifest["sha256"].items())
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        raise Refused(f"{path} is broken; delete {folder} and it is made again") from None
    if found != FORMAT or not needed:
        raise Refused(f"{path}: format {found} is not {FORMAT}; delete {folder} and it is made again")
    return dict(manifest)


def ensure(cell: Cell, root: Path = ROOT) -> Path:
    """The folder of SAC's cell with its data set in it, made by this code: trains where there is none."""
    folder = dataset_folder(cell, root)
    with locked(folder, wait=True):
        if not folder.is_dir() or cell.source_digest not in code_of(read_manifest(folder)):
            partial = beside(folder, ".partial")
            partial.mkdir(parents=True, exist_ok=True)
            with owned(partial):
                _make(cell, partial)
                named(partial, folder)
    return folder


def _make(cell: Cell, folder: Path) -> None:
    """Trains SAC, from the last checkpoint if there is one, and writes the data set into the folder."""
    import torch
    from omegaconf import OmegaConf

    from tom.core.replay import Transitions
    from tom.experiments.curated_buffer import Recording

    torch.set_num_threads(1)
    replay = _train(cell, folder)
    OmegaConf.save(OmegaConf.create({**names_of(cell), **cell.config}), folder / "config.yaml")
    sizes = _sizes(cell)
    recording = Recording.of(
        Transitions(replay["rows"][0], *sizes), replay["resets"][0, : int(replay["reset_count"][0])]
    )
    np.savez(folder / TRANSITIONS, allow_pickle=False, **{name: getattr(recording, f) for name, f in ARRAYS.items()})
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    files = sorted(path.name for path in folder.iterdir() if path.name not in (MANIFEST, OWNER))
    manifest = {
        "format": FORMAT,
        **names_of(cell),
        "transitions": len(recording),
        "observation_dim": sizes[0],
        "action_dim": sizes[1],
        "settings": dict(cell.config),
        "fingerprint": cell.fingerprint,
        "source_digest": cell.source_digest,
        **{package: version(package) for package in PACKAGES},
        "sha256": {name: sha256(folder / name) for name in files},
    }
    (folder / MANIFEST).write_text(as_json(manifest), encoding="utf-8")


def _train(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains SAC with records and checkpoints like any run; returns the state of its replay at the end."""
    from pipeline.runs.batch import Batch, Clocks, Run
    from pipeline.runs.checkpoints import Checkpoints
    from pipeline.runs.fence import Fence
    from pipeline.runs.interruptions import Interruptions
    from pipeline.runs.records import Writer
    from pipeline.runs.tracking import Tracker

    identity = {"fingerprint": cell.fingerprint, "source_digest": cell.source_digest, "torch": version("torch")}
    checkpoints = Checkpoints(folder, identity)
    found = checkpoints.latest()
    checkpoints.restore_tables(found) if found else checkpoints.clear()
    clocks = Clocks(found.wall_s, found.cpu_s, 1) if found else Clocks(0.0, 0.0, 1)
    with (
        Interruptions() as interruptions,
        Writer(folder, clocks.wall_s, lambda: clocks.wall_s) as writer,
        closing(Fence(folder)) as fence,
    ):
        batch = Batch([Run(cell, folder, Tracker(), checkpoints, writer, clocks, fence)], interruptions)
        state = batch.train("cpu", found.state if found else None, threads=1)
        fence.check()
    return dict(state["replay"])


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:  # a pickle could run anything
        return {name: arrays[name] for name in arrays.files}


def _sizes(cell: Cell) -> tuple[int, int]:
    from tom.envs import spec_of

    spec = spec_of(cell.env, cell.config["train"]["contact_cost"])
    return spec.observation_dim, spec.action_dim


def show(folder: Path) -> str:
    """One line about a data set that is whole; Refused if it is not."""
    found = load(folder)
    ends = found.transitions.terminated.sum() + found.transitions.truncated.sum()
    return (
        f"{folder}: {found.manifest['env']}, seed {found.manifest['seed']}, {len(found.transitions):,} transitions of "
        f"{found.manifest['observation_dim']} observations and {found.manifest['action_dim']} actions, "
        f"{ends:.0f} episodes, mean reward {found.transitions.reward.mean():.2f}"
    )


def made(env: str, seed: int) -> Path:
    """The folder of the data set of the suite's environment and seed."""
    suite = WEIGHTS.section(load_params())
    one_of("env", env, suite.grid.envs)
    die_with_parent()
    return ensure(collector(WEIGHTS.read_cell(env, seed, suite.scale)))
