"""One run from its resolved values to a finished folder, whoever asks for it. Imports torch only when it trains."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.analysis.extent import TOTAL, so_far
from pipeline.files import ROOT, cores
from pipeline.runs.batch import Batch, Clocks, Run
from pipeline.runs.datasets.chosen import data_of
from pipeline.runs.datasets.replays import keep_replays
from pipeline.runs.fence import Fence
from pipeline.runs.folder import Cell, Refused, State, beside, provenance, refuse_altered, state
from pipeline.runs.interruptions import Interruptions
from pipeline.runs.partial import locked, new_run
from pipeline.runs.provenance import machine, names_of, other_machine, segments_of, write_provenance
from pipeline.runs.records import Writer, rows_so_far
from pipeline.runs.repetition import Repetition
from pipeline.runs.tracking import refuse_missing
from tom.core.finite import Diverged

if TYPE_CHECKING:
    from pipeline.runs.checkpoints import Checkpoint, Checkpoints
    from tom.core.recording import Recording


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
    keep_replay: bool = False  # whether the run's folder is a data set besides


@dataclass(frozen=True)
class Job:
    """A cell, the folder it is to be trained in, and the one where its run is recorded, if it is."""

    cell: Cell
    folder: Path
    record: Path | None = None


def ensure_trained(cell: Cell, folder: Path, options: Options) -> str:
    """Trains the cell in `folder` unless it is finished there; returns the one line that says what happened.

    Raises Refused, before any compute, if the folder holds something else or another process trains there.
    """
    return ensure_all_trained([Job(cell, folder)], options)[0]


def ensure_all_trained(jobs: Sequence[Job], options: Options) -> list[str]:
    """The same for cells that differ in their seed alone, trained in one process; a line for each.

    A replica that diverges ends; the others go on from their last checkpoint before its error is raised.
    """
    refuse_missing(options.tracking)
    if options.device == "cuda" and not all(map(is_finished, jobs)):
        refuse_without_cuda()
    for job in jobs:
        refuse_foreign(job.folder, job.cell)
    with ExitStack() as stack:
        for job in sorted(jobs, key=lambda job: str(job.folder)):  # in one order, so that no two wait for each other
            stack.enter_context(locked(job.folder, options.wait))
            refuse_foreign(job.folder, job.cell)
        lines = {job.folder: f"already trained, in {shown(job.folder)}" for job in jobs if is_finished(job)}
        lines |= _train_those_that_can([job for job in jobs if job.folder not in lines], options)
    return [f"{job.cell.name}: {lines[job.folder]}" for job in jobs]


def refuse_without_cuda() -> None:
    """Refused where torch finds no CUDA device."""
    import torch

    if not torch.cuda.is_available():
        raise Refused("device=cuda: torch finds no CUDA device here; nearest valid choice: device=cpu")


def is_finished(job: Job) -> bool:
    """Whether the folder holds the cell's finished run."""
    return state(job.folder, job.cell) is State.FINISHED


def _train_those_that_can(jobs: Sequence[Job], options: Options) -> dict[Path, str]:
    """The line about each job, by its folder."""
    if not jobs:
        return {}
    summaries, failures = dict[Path, str](), []
    with _device(options) as (device, threads):
        waiting = _together([_begun(job, options, device) for job in jobs], options)
        while waiting:
            group = waiting.pop(0)
            try:
                with ExitStack() as stack:
                    for each in group:
                        stack.enter_context(new_run(each.job.folder))
                    summaries |= _train(group, options, device, threads)
            except Diverged as error:
                lost = [group[replica] for replica in error.replicas]
                failures.append(error)
                left, options = [each for each in group if each not in lost], replace(options, resume=True)
                if left:
                    names = ", ".join(each.job.cell.name for each in lost)
                    print(f"{names}: {error}; the others go on", file=sys.stderr, flush=True)
                    waiting = [*_together(left, options), *waiting]
    if failures:
        raise failures[-1]
    return summaries


def refuse_foreign(folder: Path, cell: Cell) -> None:
    """Raises Refused if the folder is neither free nor a finished run of this cell, as it was written."""
    if (folder.exists() and not folder.is_dir()) or state(folder, cell) is State.FOREIGN:
        raise Refused(f"{shown(folder)} holds something that is not a run with these values; give an empty run_dir")
    refuse_altered(folder, cell)


def shown(path: Path) -> str:
    """The path as people read it: relative to the repository where it lies inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


@dataclass(frozen=True)
class _Begun:
    """A job, and where it can go on."""

    job: Job
    checkpoints: "Checkpoints"
    data: "Recording | None"  # what it begins with


def _begun(job: Job, options: Options, device: str) -> _Begun:
    from pipeline.runs.checkpoints import Checkpoints  # after the checks: this takes seconds to import

    shorter = job.folder if state(job.folder, job.cell) is State.SHORT else None
    identity, partial = _identity(job.cell, device), beside(job.folder, ".partial")
    data = data_of(job.cell.config)
    return _Begun(job, Checkpoints(partial, identity, options.checkpoint_every, shorter=shorter), data)


def _together(begun: Sequence[_Begun], options: Options) -> list[list[_Begun]]:
    """Those that train side by side, one group after the other."""
    from pipeline.runs.checkpoints import groups

    if not options.resume or len(begun) == 1:
        return [list(begun)]
    by_seed = {each.job.cell.seed: each for each in begun}
    found = groups({seed: each.checkpoints for seed, each in by_seed.items()})
    return [[by_seed[seed] for seed in seeds] for seeds in found]


def _train(group: Sequence[_Begun], options: Options, device: str, threads: int) -> dict[Path, str]:
    """Trains one group; returns the line about each job, by its folder."""
    from pipeline.runs.checkpoints import Checkpoint, latest_of_all
    from tom.states import join

    cell, seeds = group[0].job.cell, [each.job.cell.seed for each in group]
    with Interruptions() as interruptions, ExitStack() as fences, ExitStack() as stack:
        found = latest_of_all([each.checkpoints for each in group]) if options.resume else None
        begun: Sequence[Checkpoint | None] = found or [None] * len(group)
        end, total = _end(cell, found[0].state["env_steps"] if found else 0), cell.config["train"][TOTAL]
        runs = [
            _open(stack, fences, each, checkpoint, options, seeds, device)
            for each, checkpoint in zip(group, begun, strict=True)
        ]
        data = [each.data for each in group if each.data is not None]
        batch = Batch(runs, interruptions, end if end < total else None, data)
        if found:
            print(f"{batch.name}: goes on from env step {found[0].state['env_steps']}", file=sys.stderr, flush=True)
        state = batch.train(device, join([checkpoint.state for checkpoint in found]) if found else None, threads)
        stack.close()  # tables and mirrors
        if options.keep_replay:
            keep_replays(runs, state)
        summaries = {}
        for each, run in zip(group, runs, strict=True):
            write_provenance(run, end, device, len(group))
            trained = f"trained {end if end == total else so_far(end, total)} env steps in {run.clocks.wall_s:.0f} s"
            summaries[each.job.folder] = f"{trained}, return {run.writer.last_return:.1f}, in {shown(each.job.folder)}"
        return summaries


def _end(cell: Cell, begun: int) -> int:
    """The env step at which a run ends, here and now: an earlier `until` than it has come to is its next evaluation."""
    total, every = cell.config["train"][TOTAL], cell.config["train"]["eval_every_env_steps"]
    return min(total, total if cell.until is None else max(cell.until, -(-begun // every) * every))


def _open(
    stack: ExitStack,
    fences: ExitStack,
    begun: _Begun,
    found: "Checkpoint | None",
    options: Options,
    batch: Sequence[int],
    device: str,
) -> Run:
    """The run of one cell, its tables and mirror as they were at the checkpoint."""
    from omegaconf import OmegaConf

    from pipeline.runs.tracking import tracker

    cell, checkpoints = begun.job.cell, begun.checkpoints
    folder = checkpoints.run
    checkpoints.begin(batch)
    if found is None:
        checkpoints.clear()
    else:
        checkpoints.restore_tables(found)
    OmegaConf.save(OmegaConf.create({**names_of(cell), **cell.config}), folder / "config.yaml")
    mirror = stack.enter_context(tracker(options.tracking, cell, folder))
    for env_steps, numbers in rows_so_far(folder):
        mirror.log(numbers, env_steps)
    spent = (found.wall_s, found.cpu_s) if found else (0.0, 0.0)
    clocks = Clocks(*spent, len(batch))
    writer = stack.enter_context(Writer(folder, clocks.wall_s, lambda: clocks.wall_s))
    fence = fences.enter_context(closing(Fence(folder)))
    start = found.state["env_steps"] if found else 0
    segments = segments_of(found.segments if found else (), start)
    again = list(_repeated(begun.job, folder, start, machine(device, len(batch))))
    run = Run(cell, folder, mirror, checkpoints, writer, clocks, fence, segments, again)
    run.compare()
    return run


def _repeated(job: Job, folder: Path, env_steps: int, now: Mapping[str, Any]) -> Iterator[Repetition]:
    """The records of the job's run that go further than it does, and so have rows that it makes again."""
    for place in filter(None, (job.folder, job.record)):
        recorded = provenance(place)
        if state(place, job.cell) is not State.SHORT or recorded["env_steps"] <= env_steps:
            continue
        if changes := other_machine(recorded, now):
            print(f"{shown(place)}: its digits may not come out again ({'; '.join(changes)})", file=sys.stderr)
        else:
            yield Repetition(folder, place)


def _identity(cell: Cell, device: str) -> dict[str, str]:
    """What a checkpoint must have in common with the run that goes on from it."""
    return {
        "fingerprint": cell.fingerprint,
        "source_digest": cell.source_digest,
        "torch": version("torch"),
        "device": device,
    }


def simulator_threads(device: str) -> int:
    """How many threads step environments: on a CPU one, since cells run side by side; else as many as it may use."""
    return 1 if device == "cpu" else cores()


@contextmanager
def _device(options: Options) -> Iterator[tuple[str, int]]:
    """Yields 'cpu' or 'cuda', and how many threads step environments."""
    import torch

    from tom.core.graphs import use_graphs

    word = options.device
    device = word if word != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    use_graphs(options.graphs)
    try:
        yield device, options.threads or simulator_threads(device)
    finally:
        torch.set_num_threads(threads)
