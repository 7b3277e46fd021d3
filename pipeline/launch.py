"""Trains every stale cell of the grid, several at a time, then records them and makes the tables and figures.

    python -m pipeline.launch [jobs=N] [scale=smoke|quick|paper]

`jobs` is the number of cells trained at once (default: the number of cores). `scale` is written into params.yaml first.
A cell that fails does not stop the others; what is finished stays finished, so the same command goes on after a stop.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import product
from pathlib import Path

from pipeline.cell import NO_TRAINING, read_cell, result_folder
from pipeline.checks import key_values, one_line, one_of, whole_number
from pipeline.configure import cell_files
from pipeline.estimate import estimate_hours
from pipeline.params import ROOT, Params, load_params
from pipeline.processes import dvc, environment
from pipeline.run_folder import Cell, Refused, State, run_folder, state
from tom.settings.fields import SettingsError


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every cell of the grid is recorded and tables and figures are made; 1 if not; 2 for bad input."""
    try:
        given = key_values(sys.argv[1:] if argv is None else argv, ("jobs", "scale"))
        jobs = whole_number("jobs", given.get("jobs", str(os.cpu_count() or 1)), low=1)
        params = load_params()
        if given.get("scale", params.scale) != params.scale:
            params = set_scale(one_of("scale", given["scale"], params.scales), ROOT)
        return launch(params, jobs)
    except SettingsError as error:
        print(one_line(error), file=sys.stderr)
        return 2
    except Refused as error:
        print(one_line(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what is finished stays, the same command goes on", file=sys.stderr)
        return 130


def set_scale(scale: str, root: Path) -> Params:
    """Writes the scale into params.yaml, where it stands, and says so; returns the parameters as they are now."""
    path = root / "params.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(?m)^(scale:\s*)[^\s#]+", rf"\g<1>{scale}", text, count=1), encoding="utf-8")
    print(f"params.yaml: scale is now {scale}")
    return load_params(root)


def launch(params: Params, jobs: int) -> int:
    """Configures, trains, records, and prints what became of every cell."""
    cell_files(params, ROOT)  # refuses what cannot be combined, before DVC starts
    if dvc("repro", "-q", "configure"):
        return 1
    grid = params.grid
    cells = [read_cell(m, e, s, params.scale) for m, e, s in product(grid.methods, grid.envs, grid.seeds)]
    stale = [cell for cell in cells if not _is_trained(cell)]
    print(
        f"{len(cells)} cells at scale {params.scale}: {len(stale)} to train, {min(jobs, len(stale))} at a time",
        end="",
        flush=True,
    )
    print(f", about {estimate_hours(stale, jobs)}" if stale else "", flush=True)
    failed = train_all(stale, jobs)
    code = dvc("repro", "-q", "--keep-going", **{NO_TRAINING: "1"})
    summarise(cells, failed)
    return 1 if failed or code else 0


def stage_command(cell: Cell) -> list[str]:
    """Trains the cell as `configure` wrote it down."""
    return ["pipeline.cell", *words_of(cell), "--train-only"]


def words_of(cell: Cell) -> list[str]:
    """The cell on a command line."""
    return [f"method={cell.method}", f"env={cell.env}", f"seed={cell.seed}", f"scale={cell.scale}"]


def train_all(cells: Sequence[Cell], jobs: int, command: Callable[[Cell], list[str]] = stage_command) -> dict[str, str]:
    """Trains the cells, `jobs` at a time; returns the reason of each that failed, by name."""
    failed: dict[str, str] = {}
    start = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(_train, cell, command(cell)): cell for cell in cells}
        try:
            for done, future in enumerate(as_completed(running), start=1):
                cell, (code, line) = running[future], future.result()
                if code:
                    failed[cell.name] = line
                left = (time.monotonic() - start) / done * (len(cells) - done)
                print(f"[{done}/{len(cells)}] {'FAILED ' if code else ''}{line} ({left / 60:.0f} min left)", flush=True)
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


def _is_trained(cell: Cell) -> bool:
    return any(state(folder, cell) is State.FINISHED for folder in (result_folder(cell), run_folder(cell, ROOT)))


def _train(cell: Cell, module: list[str]) -> tuple[int, str]:
    """Exit code and last line of the cell's own process; all it said is in runs/<cell>/log.txt."""
    log = ROOT / "runs" / cell.name / "log.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        command = [sys.executable, "-m", *module]
        code = subprocess.run(
            command, cwd=ROOT, env=environment(), stdout=output, stderr=output, check=False
        ).returncode
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    line = lines[-1] if lines else f"ended with code {code} and said nothing"
    return code, line if line.startswith(cell.name) else f"{cell.name}: {line}; see {log.relative_to(ROOT)}"


if __name__ == "__main__":
    sys.exit(main())
