"""Makes what is stale of the suite `weights`, several cells at a time, then records it and makes tables and figures.

    python -m pipeline.weights.launch [jobs=N] [scale=smoke|quick|paper]

`jobs` is the number of cells at once (default: the number of cores). `scale` is written into params.yaml first, below
`weights:`. A cell that fails does not stop the others, and SAC goes on from its last checkpoint when the same command
is started again.
"""

import os
import re
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from pipeline.checks import key_values, one_line, one_of, whole_number
from pipeline.launch import Batch, train_all
from pipeline.params import ROOT, Params, load_params
from pipeline.processes import dvc
from pipeline.run_folder import Refused
from pipeline.weights.cell import is_recorded
from pipeline.weights.suite import NAME, read_cell, suite_of
from tom.settings.fields import SettingsError

SUITE = f"suites/{NAME}/dvc.yaml"
MADE = ("weights_tables", "weights_plot")  # stages of the root's dvc.yaml


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every cell is recorded and tables and figures are made; 1 if not; 2 for bad input."""
    try:
        given = key_values(sys.argv[1:] if argv is None else argv, ("jobs", "scale"))
        jobs = whole_number("jobs", given.get("jobs", str(os.cpu_count() or 1)), low=1)
        params = load_params()
        if given.get("scale", suite_of(params).scale) != suite_of(params).scale:
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
    """Writes the suite's scale into params.yaml, where it stands, and says so; returns the parameters as they are now.

    SettingsError if it stands elsewhere than in the line below `weights:`.
    """
    path = root / "params.yaml"
    text, found = re.subn(
        rf"(?m)^({NAME}:[^\n]*\n  scale:\s*)[^\s#]+", rf"\g<1>{scale}", path.read_text(encoding="utf-8"), count=1
    )
    if not found:
        raise SettingsError(f"params.yaml: {NAME}.scale is not in the line below `{NAME}:`; write it there")
    path.write_text(text, encoding="utf-8")
    print(f"params.yaml: {NAME}.scale is now {scale}")
    return load_params(root)


def launch(params: Params, jobs: int) -> int:
    """Configures, makes the cells, records them; the exit code."""
    suite = suite_of(params)
    if dvc("repro", "-q", f"{SUITE}:configure"):
        return 1
    cells = [read_cell(env, seed, suite.scale) for env, seed in product(suite.grid.envs, suite.grid.seeds)]
    stale = [cell for cell in cells if not is_recorded(cell)]
    print(f"{len(cells)} cells of the suite {NAME} at scale {suite.scale}: {len(stale)} to make", flush=True)
    failed = train_all([[cell] for cell in stale], jobs, command)
    for name, reason in failed.items():
        print(f"failed   {name}: {reason}")
    if failed:
        return 1
    return dvc("repro", "-q", SUITE) or dvc("repro", "-q", *MADE)


def command(batch: Batch) -> list[str]:
    """Makes one cell in a process of its own."""
    (cell,) = batch
    return ["pipeline.weights.cell", f"env={cell.env}", f"seed={cell.seed}", f"scale={cell.scale}"]


if __name__ == "__main__":
    sys.exit(main())
