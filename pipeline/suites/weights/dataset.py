"""A data set of SAC: its replay in the order it was made, and its final policy, stored once and reused.

    tom dataset make hopper 0                        # trains SAC unless it is there

`runs/datasets/<fingerprint>/` is a finished run of SAC (evals.csv, train.csv, timing.csv, config.yaml, policy.npz:
`tom evaluate` plays it) with the transitions and the manifest of a data set (pipeline/runs/datasets/folder.py).
"""

import shutil
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.config.params import load_params
from pipeline.config.refusals import one_of
from pipeline.files import ROOT
from pipeline.runs.datasets.folder import datasets, read_manifest, write
from pipeline.runs.datasets.replays import recorded
from pipeline.runs.folder import CHECKPOINTS, Cell, beside, code_of
from pipeline.runs.interruptions import die_with_parent
from pipeline.runs.owner import owned
from pipeline.runs.partial import locked, named
from pipeline.runs.provenance import PACKAGES, names_of
from pipeline.suites.weights.cells import WEIGHTS, collector


def dataset_folder(cell: Cell, root: Path = ROOT) -> Path:
    """Where the data set of SAC's cell is kept."""
    return datasets(root) / cell.fingerprint


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

    torch.set_num_threads(1)
    replay = _train(cell, folder)
    OmegaConf.save(OmegaConf.create({**names_of(cell), **cell.config}), folder / "config.yaml")
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    made = {
        **names_of(cell),
        "settings": dict(cell.config),
        "fingerprint": cell.fingerprint,
        "source_digest": cell.source_digest,
        **{package: version(package) for package in PACKAGES},
    }
    write(folder, recorded(replay, cell.config), cell.env, cell.config["train"]["contact_cost"], made)


def _train(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains SAC with records and checkpoints like any run; returns the state of its replay at the end."""
    from pipeline.runs.batch import Batch, Clocks, Run
    from pipeline.runs.checkpoints import Checkpoints
    from pipeline.runs.fence import Fence
    from pipeline.runs.interruptions import Interruptions
    from pipeline.runs.mirror import Tracker
    from pipeline.runs.records import Writer

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


def made(env: str, seed: int) -> Path:
    """The folder of the data set of the suite's environment and seed."""
    suite = WEIGHTS.section(load_params())
    one_of("env", env, suite.grid.envs)
    die_with_parent()
    return ensure(collector(WEIGHTS.read_cell(env, seed, suite.scale)))
