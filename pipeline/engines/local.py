"""Trains cells on this machine, several processes at a time."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from pipeline.engines.processes import environment
from pipeline.files import ROOT
from pipeline.runs.folder import Cell

Batch = Sequence[Cell]  # cells that differ in their seed alone
Command = Callable[[Batch], list[str]]  # the module that trains them, and its words


def batched(cells: Sequence[Cell], size: int) -> list[Batch]:
    """The cells in groups of at most `size` that can train together."""
    alike: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        alike.setdefault((cell.method, cell.env, cell.scale, cell.source_digest), []).append(cell)
    return [group[start : start + size] for group in alike.values() for start in range(0, len(group), size)]


def gpus() -> int:
    """How many GPUs the cells of this engine can have: those of this machine."""
    import torch  # takes a second

    return torch.cuda.device_count()


def words_of(batch: Batch) -> list[str]:
    """The cells on a command line."""
    cell, seeds = batch[0], ",".join(str(cell.seed) for cell in batch)
    return [f"method={cell.method}", f"env={cell.env}", f"seed={seeds}", f"scale={cell.scale}"]


def until_of(batch: Batch) -> list[str]:
    """Where they stop for now, on a command line."""
    return [] if batch[0].until is None else [f"until={batch[0].until}"]


def train_all(
    batches: Sequence[Batch], jobs: int, command: Command, is_made: Callable[[Cell], bool] = lambda cell: False
) -> dict[str, str]:
    """Trains the cells, `jobs` processes at a time; returns the reason of each that failed, by name.

    Where a process of several cells fails, those of them that `is_made` knows did not.
    """
    failed: dict[str, str] = {}
    start = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(_train, batch, command(batch)): batch for batch in batches}
        try:
            for done, future in enumerate(as_completed(running), start=1):
                batch, (code, line) = running[future], future.result()
                if code:
                    failed |= {cell.name: line for cell in batch if len(batch) == 1 or not is_made(cell)}
                left = (time.monotonic() - start) / done * (len(batches) - done)
                said = f"{'FAILED ' if code else ''}{line} ({left / 60:.0f} min left)"
                print(f"[{done}/{len(batches)}] {said}", flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    return failed


def _train(batch: Batch, module: list[str]) -> tuple[int, str]:
    """Exit code and last line of the process of its own; all it said is in runs/<first cell>/log.txt."""
    cell = batch[0]
    log = ROOT / "runs" / cell.name / "log.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        command = [sys.executable, "-m", *module]
        code = subprocess.run(
            command, cwd=ROOT, env=environment(), stdout=output, stderr=output, check=False
        ).returncode
    return code, said_last(log, cell.name, code)


def said_last(log: Path, name: str, code: int) -> str:
    """What a run's process said at its end, and with which name."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    line = lines[-1] if lines else f"ended with code {code} and said nothing"
    if code < 0:
        line = f"ended by signal {-code}"
    return line if line.startswith(name) else f"{name}: {line}; see {log.relative_to(ROOT)}"
