"""One run from its resolved values to a finished folder, whoever asks for it. Imports torch only when it trains."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.interruptions import Interruptions
from pipeline.params import ROOT
from pipeline.provenance import names_of, write_provenance
from pipeline.records import Writer, rows_so_far
from pipeline.run import Batch, Clocks, Run
from pipeline.run_folder import Cell, Refused, State, locked, new_run, state

if TYPE_CHECKING:
    from pipeline.checkpoints import Checkpoint, Checkpoints


@dataclass(frozen=True)
class Options:
    """How a run is done; nothing here changes its numbers, except the device in the last digits."""

    device: str = "auto"
    tracking: str = "off"
    wait: bool = False  # for a process that trains the same cell; else refuse
    resume: bool = True  # from the last checkpoint of an interrupted run
    checkpoint_every: int = 0  # env steps; 0: as often as 2 % of the time allows
    threads: int = 0  # that step environments; 0: one on a CPU, one for each core beside a GPU
    graphs: bool = True  # whether a GPU repeats update steps as CUDA graphs


@dataclass(frozen=True)
class Job:
    """A cell, and the folder it is to be trained in."""

    cell: Cell
    folder: Path


def ensure_trained(cell: Cell, folder: Path, options: Options) -> str:
    """Trains the cell in `folder` unless it is finished there; returns the one line that says what happened.

    Raises Refused, before any compute, if the folder holds something else or another process trains there.
    """
    return ensure_all_trained([Job(cell, folder)], options)[0]


def ensure_all_trained(jobs: Sequence[Job], options: Options) -> list[str]:
    """The same for cells that differ in their seed alone, trained in one process; a line for each.

    A replica that diverges ends; the others go on from their last checkpoint before its error is raised.
    """
    for job in jobs:
        refuse_foreign(job.folder, job.cell)
    with ExitStack() as stack:
        for job in sorted(jobs, key=lambda job: str(job.folder)):  # in one order, so that no two wait for each other
            stack.enter_context(locked(job.folder, options.wait))
            refuse_foreign(job.folder, job.cell)
        lines = {job.folder: f"already trained, in {shown(job.folder)}" for job in jobs if is_finished(job)}
        lines |= _train_those_that_can([job for job in jobs if job.folder not in lines], options)
    return [f"{job.cell.name}: {lines[job.folder]}" for job in jobs]


def is_finished(job: Job) -> bool:
    """Whether the folder holds the cell's finished run."""
    return state(job.folder, job.cell) is State.FINISHED


def _train_those_that_can(jobs: Sequence[Job], options: Options) -> dict[Path, str]:
    left, failures = list(jobs), []
    summaries: dict[Path, str] = {}
    while left:
        try:
            with ExitStack() as stack:
                summaries = _train(left, [stack.enter_context(new_run(job.folder)) for job in left], options)
            break
        except ArithmeticError as error:
            lost = [left[replica] for replica in getattr(error, "replicas", range(len(left)))]
            failures.append(error)
            left, options = [job for job in left if job not in lost], replace(options, resume=True)
            if left:
                names = ", ".join(job.cell.name for job in lost)
                print(f"{names}: {error}; the others go on", file=sys.stderr, flush=True)
    if failures:
        raise failures[-1]
    return summaries


def refuse_foreign(folder: Path, cell: Cell) -> None:
    """Raises Refused if the folder is neither free nor a finished run of this cell."""
    if (folder.exists() and not folder.is_dir()) or state(folder, cell) is State.FOREIGN:
        raise Refused(f"{shown(folder)} holds something that is not a run with these values; give an empty run_dir")


def shown(path: Path) -> str:
    """The path as people read it: relative to the repository where it lies inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _train(jobs: Sequence[Job], folders: Sequence[Path], options: Options) -> dict[Path, str]:
    """Trains in the folders; returns the line about each job, by its folder."""
    from pipeline.checkpoints import (
        Checkpoint,
        Checkpoints,
        latest_of_all,
    )  # after the checks: this takes seconds to import
    from tom.checkpoint import join

    with _device(options) as (device, threads), Interruptions() as interruptions, ExitStack() as stack:
        every, together = options.checkpoint_every, len(jobs)
        kept = [
            Checkpoints(folder, _identity(job.cell, device), every, together=together)
            for job, folder in zip(jobs, folders, strict=True)
        ]
        found = latest_of_all(kept) if options.resume else None
        begun: Sequence[Checkpoint | None] = found or [None] * together
        runs = [
            _open(stack, job.cell, checkpoints, checkpoint, options.tracking, together)
            for job, checkpoints, checkpoint in zip(jobs, kept, begun, strict=True)
        ]
        batch = Batch(runs, interruptions)
        if found:
            print(f"{batch.name}: goes on from env step {found[0].state['env_steps']}", file=sys.stderr, flush=True)
        batch.train(device, join([checkpoint.state for checkpoint in found]) if found else None, threads)
    summaries = {}
    for job, run in zip(jobs, runs, strict=True):
        write_provenance(run, device, together)
        trained = f"trained {job.cell.config['train']['total_env_steps']} env steps in {run.clocks.wall_s:.0f} s"
        summaries[job.folder] = f"{trained}, return {run.writer.last_return:.1f}, in {shown(job.folder)}"
    return summaries


def _open(
    stack: ExitStack, cell: Cell, checkpoints: "Checkpoints", found: "Checkpoint | None", tracking: str, together: int
) -> Run:
    """The run of one cell, its tables and mirror as they were at the checkpoint."""
    from omegaconf import OmegaConf

    from pipeline.tracking import tracker

    folder = checkpoints.run
    if found is None:
        checkpoints.clear()
    else:
        checkpoints.restore_tables(found)
    OmegaConf.save(OmegaConf.create({**names_of(cell), **cell.config}), folder / "config.yaml")
    mirror = stack.enter_context(tracker(tracking, cell, cell.config, folder))
    for env_steps, numbers in rows_so_far(folder):
        mirror.log(numbers, env_steps)
    clocks = Clocks(found.wall_s, found.cpu_s, together) if found else Clocks(0.0, 0.0, together)
    writer = stack.enter_context(Writer(folder, clocks.wall_s, lambda: clocks.wall_s))
    return Run(cell, folder, mirror, checkpoints, writer, clocks)


def _identity(cell: Cell, device: str) -> dict[str, str]:
    """What a checkpoint must have in common with the run that goes on from it."""
    return {
        "fingerprint": cell.fingerprint,
        "source_digest": cell.source_digest,
        "torch": version("torch"),
        "device": device,
    }


@contextmanager
def _device(options: Options) -> Iterator[tuple[str, int]]:
    """Yields 'cpu' or 'cuda', and how many threads step environments; on a CPU one, since cells run side by side."""
    import torch

    from tom.graphs import use_graphs

    word = options.device
    if word == "cuda" and not torch.cuda.is_available():
        raise Refused("device=cuda: torch finds no CUDA device here; nearest valid choice: device=cpu")
    device = word if word != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    use_graphs(options.graphs)
    try:
        yield device, options.threads or (1 if device == "cpu" else os.cpu_count() or 1)
    finally:
        torch.set_num_threads(threads)
