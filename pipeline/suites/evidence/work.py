"""The suite's stage `records`: finished runs of the evidence are copied to reports/evidence; nothing is trained.

`python -m pipeline.suites.evidence.work` copies every run that has come as far as it is to go, and lists in
reports/evidence/records.csv what there is of the runs asked for, be it shorter than asked for: method, env, seed,
env_steps, total_env_steps, git_commit. What is recorded and not, or not any more, asked for stays where it is.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.analysis.extent import TOTAL
from pipeline.config.params import load_params
from pipeline.files import ROOT, write_file
from pipeline.runs.answers import answered
from pipeline.runs.folder import Refused, State, copy_run, provenance, state
from pipeline.runs.partial import locked
from pipeline.runs.provenance import other_machine
from pipeline.runs.repetition import Repetition
from pipeline.suites.evidence.cells import RECORDS, Trained, is_recorded, read_cells, record_of, run_of, section

LIST = "records.csv"
COLUMNS = ("method", "env", "seed", "env_steps", TOTAL, "git_commit")


def record(cell: Trained, root: Path = ROOT) -> bool:
    """Copies a run that is finished and not recorded; whether it did. Refused if it is not what is recorded of it."""
    run, result = run_of(cell, root), record_of(cell, root)
    if is_recorded(cell, root) or state(run, cell) is not State.FINISHED:
        return False
    with locked(run, wait=True):
        if state(result, cell) is State.SHORT and not other_machine(provenance(result), provenance(run)):
            Repetition(run, result).check()
        copy_run(run, result)
    return True


def record_all(cells: Sequence[Trained], root: Path = ROOT) -> str:
    """Records what is finished, lists what is recorded; the line that says so."""
    new = 0
    for cell in cells:
        try:
            new += record(cell, root)
        except Refused as error:  # the others are not its fault
            print(f"{cell.name}: {error}", file=sys.stderr)
    there = [cell for cell in cells if state(record_of(cell, root), cell) in (State.FINISHED, State.SHORT)]
    rows = [[str(provenance(record_of(cell, root))[column]) for column in COLUMNS] for cell in there]
    text = "\n".join(",".join(row) for row in (COLUMNS, *rows)) + "\n"
    write_file(root / RECORDS / LIST, text.encode())
    done = sum(is_recorded(cell, root) for cell in there)
    return f"evidence: {done} of {len(cells)} runs recorded, {new} of them now"


if __name__ == "__main__":
    sys.exit(answered(lambda: record_all(read_cells(section(load_params())))))
