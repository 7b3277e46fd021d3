"""Trains every stale cell of the grid, several at a time, then records them and makes the tables and figures.

    python -m pipeline.launch [jobs=N] [batch=N] [scale=smoke|quick|paper] [until=N|none]

`jobs` is the number of processes at once (default: the number of cores); each trains `batch` seeds of one method and
environment side by side (default: 1 on a CPU, where it saves nothing; on a GPU all of them). `scale`, and `until`,
the env step at which every run stops for now, are written into params.yaml first.
A cell that fails does not stop the others; what is finished stays finished, so the same command goes on after a stop.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import product
from pathlib import Path

from pipeline.config.edit import edit_params
from pipeline.config.params import Params, load_params
from pipeline.config.refusals import key_values, one_line, one_of, whole_number
from pipeline.engines.estimate import estimate_hours
from pipeline.engines.processes import dvc, environment
from pipeline.files import ROOT
from pipeline.runs.extent import TOTAL, so_far
from pipeline.runs.folder import Cell, Refused, State, state
from pipeline.suites.configure import cell_files
from pipeline.suites.returns.cells import is_trained
from pipeline.suites.returns.work import NO_TRAINING, read_cell, result_folder
from tom.settings.fields import SettingsError

KEYS = ("jobs", "batch", "scale", "until")


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every cell of the grid is recorded and tables and figures are made; 1 if not; 2 for bad input."""
    return started(argv, lambda params: params.scale, launch)


def started(
    argv: Sequence[str] | None,
    scale_of: Callable[[Params], str],
    run: Callable[[Params, int, int | None], int],
    suite: str = "",
    keys: Sequence[str] = KEYS,
) -> int:
    """Runs a launcher with its arguments; of these scale and until are written into params.yaml. Its exit code."""
    try:
        given = key_values(sys.argv[1:] if argv is None else argv, keys)
        jobs = whole_number("jobs", given.get("jobs", str(os.cpu_count() or 1)), low=1)
        batch = whole_number("batch", given["batch"], low=1) if "batch" in given else None
        params = load_params()
        scale = one_of("scale", given.get("scale", scale_of(params)), params.scales)
        if scale != scale_of(params) or "until" in given:
            params = edit_params(ROOT, scale if scale != scale_of(params) else None, given.get("until"), suite)
        return run(params, jobs, batch)
    except SettingsError as error:
        print(one_line(error), file=sys.stderr)
        return 2
    except Refused as error:
        print(one_line(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what is finished stays, the same command goes on", file=sys.stderr)
        return 130


def launch(params: Params, jobs: int, batch: int | None = None) -> int:
    """Configures, trains, records, and prints what became of every cell."""
    cell_files(params, ROOT)  # refuses what cannot be combined, before DVC starts
    if dvc("repro", "-q", "configure"):
        return 1
    grid = params.grid
    cells = [read_cell(m, e, s, params.scale) for m, e, s in product(grid.methods, grid.envs, grid.seeds)]
    stale = [cell for cell in cells if not is_trained(cell)]
    batches = batched(stale, batch or default_batch(stale))
    print(f"{len(cells)} cells at scale {params.scale}{stops(cells)}: {len(stale)} to train", end="", flush=True)
    if batches:
        together = len(batches[0])
        print(f", {min(jobs, len(batches))} at a time", end=f" with {together} seeds each" if together > 1 else "")
        print(f", about {estimate_hours(stale, jobs)}", end="")
    print(flush=True)
    failed = train_all(batches, jobs)
    code = dvc("repro", "-q", "--keep-going", **{NO_TRAINING: "1"})
    summarise(cells, failed)
    return 1 if failed or code else 0


def stops(cells: Sequence[Cell]) -> str:
    """Where runs stop for now, in words that follow the scale; empty if none does."""
    found = {cell.env: so_far(cell.until, cell.config["train"][TOTAL]) for cell in cells if cell.until is not None}
    return f", as far as {', '.join(f'{env} {words}' for env, words in found.items())} env steps" if found else ""


Batch = Sequence[Cell]  # cells that differ in their seed alone


def batched(cells: Sequence[Cell], size: int) -> list[Batch]:
    """The cells in groups of at most `size` that can train together."""
    alike: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        alike.setdefault((cell.method, cell.env, cell.scale, cell.source_digest), []).append(cell)
    return [group[start : start + size] for group in alike.values() for start in range(0, len(group), size)]


def default_batch(cells: Sequence[Cell]) -> int:
    """All seeds at once on a GPU, where a kernel costs its launch; one on a CPU, where it costs its arithmetic."""
    if len(cells) < 2:
        return 1
    import torch  # takes a second

    return len(cells) if torch.cuda.is_available() else 1


def stage_command(batch: Batch) -> list[str]:
    """Trains the cells as `configure` wrote them down."""
    return ["pipeline.suites.returns.work", *words_of(batch), "--train-only"]


def words_of(batch: Batch) -> list[str]:
    """The cells on a command line."""
    cell, seeds = batch[0], ",".join(str(cell.seed) for cell in batch)
    return [f"method={cell.method}", f"env={cell.env}", f"seed={seeds}", f"scale={cell.scale}"]


def until_of(batch: Batch) -> list[str]:
    """Where they stop for now, on a command line."""
    return [] if batch[0].until is None else [f"until={batch[0].until}"]


def train_all(
    batches: Sequence[Batch], jobs: int, command: Callable[[Batch], list[str]] = stage_command
) -> dict[str, str]:
    """Trains the cells, `jobs` processes at a time; returns the reason of each that failed, by name."""
    failed: dict[str, str] = {}
    start = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(_train, batch, command(batch)): batch for batch in batches}
        try:
            for done, future in enumerate(as_completed(running), start=1):
                batch, (code, line) = running[future], future.result()
                if code:
                    failed |= {cell.name: line for cell in batch if len(batch) == 1 or not is_trained(cell)}
                left = (time.monotonic() - start) / done * (len(batches) - done)
                said = f"{'FAILED ' if code else ''}{line} ({left / 60:.0f} min left)"
                print(f"[{done}/{len(batches)}] {said}", flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    return failed


def summarise(cells: Sequence[Cell], failed: dict[str, str]) -> None:
    """Prints a line for every cell that is not recorded, the counts, and where the tables and figures are."""
    missing = [cell for cell in cells if state(result_folder(cell), cell) is not State.FINISHED]
    for cell in missing:
        print(f"{'failed ' if cell.name in failed else 'not run'}  {failed.get(cell.name, cell.name)}")
    not_run = len(missing) - len(failed)
    print(f"done {len(cells) - len(missing)}, failed {len(failed)}, not run {max(not_run, 0)}")
    if not missing:
        print("tables in reports/tables, figures in reports/figures")


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


if __name__ == "__main__":
    sys.exit(main())
