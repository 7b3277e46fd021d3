"""Trains recorded results again and compares the bytes: a part of `tom verify`."""

import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.analysis.extent import is_partial
from pipeline.analysis.results import read_evaluations
from pipeline.engines.batches import Batch, until_of, words_of
from pipeline.engines.engine import task_of
from pipeline.engines.local import Local
from pipeline.engines.training import train_all
from pipeline.runs.ensure import shown
from pipeline.runs.folder import Cell, State, different, provenance, state
from pipeline.runs.provenance import PROCESSOR, other_machine
from pipeline.suites.returns.cells import cell_of
from tom.settings.fields import SettingsError


def rerun(results: Sequence[Path], count: int, jobs: int) -> Iterator[str]:
    """Trains `count` whole results again, `jobs` at a time, and says which.

    Yields what failed and, where the machine and the packages are those of the result, what came out otherwise.
    """
    found = {cell.name: (cell, folder) for folder in results if (cell := present_cell(folder))}
    if len(found) < len(results):
        print(f"results that cannot be trained again, of other code or settings: {len(results) - len(found)}")
    names = drawn({name: provenance(folder).get("wall_s", 0.0) for name, (_, folder) in found.items()}, count)
    print(f"to train again: {', '.join(names) or 'none'}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:

        def command(batch: Batch) -> list[str]:
            (cell,) = batch
            device = "cpu" if provenance(found[cell.name][1]).get("device") == "cpu" else "auto"
            words = ["tracking=off", f"device={device}", f"run_dir='{scratch}/{cell.name}'"]
            return ["pipeline.train", *words_of(batch), *words, *until_of(batch)]

        tasks = [task_of([found[name][0]], command, lambda cell: Path(scratch) / cell.name) for name in names]
        failed = train_all(tasks, Local(jobs=jobs))
        yield from failed.values()
        for name in (name for name in names if name not in failed):
            yield from compare(found[name][1], Path(scratch) / name)


def present_cell(folder: Path) -> Cell | None:
    """The cell, as far as it goes, of a result that the settings and the code here made; None if others did."""
    scale, method, env, seed = folder.parts[-4:]
    found = provenance(folder)
    try:
        cell = cell_of(method, env, int(seed), scale)
    except SettingsError:
        return None
    cell = replace(cell, until=found["env_steps"] if is_partial(found) else None)
    return cell if state(folder, cell) is State.FINISHED else None


def drawn(seconds: Mapping[str, float], count: int) -> list[str]:
    """`count` of the names, or all there are, at random from the half with the fewest seconds; always the same ones."""
    cheapest = sorted(seconds, key=lambda name: (seconds[name], name))[: max(count, (len(seconds) + 1) // 2)]
    return sorted(random.Random(0).sample(sorted(cheapest), min(count, len(cheapest))))


def compare(recorded: Path, again: Path) -> Iterator[str]:
    """Which files of a result differ from those of its second run; on another machine only prints by how much."""
    changed = different(recorded, again)
    changes = other_machine(provenance(recorded), provenance(again))
    if changed and changes:
        what = "other processor" if any(change.startswith(PROCESSOR) for change in changes) else "differs"
        by = f"return_mean by up to {largest_difference(recorded, again):g}"
        print(f"{shown(recorded)}: {what}, {by} ({'; '.join(changes)})", flush=True)
        return
    yield from (f"{shown(recorded / name)}: not what training again gives" for name in changed)


def largest_difference(recorded: Path, again: Path) -> float:
    """The largest absolute difference of return_mean between two runs of a cell."""
    one, other = (read_evaluations(folder / "evals.csv")["return_mean"] for folder in (recorded, again))
    return float((one - other).abs().max())
