"""A run made again where rows of it are recorded: up to there they have to come out as they were."""

import csv
from collections.abc import Sequence
from pathlib import Path

from pipeline.runs.columns import as_before
from pipeline.runs.folder import GROWING, Refused
from pipeline.runs.records import PROBE

COMPARED = ("evals.csv", GROWING, PROBE)


class Repetition:
    """The tables of a run while they are made, beside those of its shorter record."""

    def __init__(self, made: Path, recorded: Path) -> None:
        """Both are folders of the run."""
        self._tables = [(made / name, recorded / name, _lines(recorded / name)) for name in COMPARED]
        self._seen = dict.fromkeys(COMPARED, 0)

    def check(self) -> None:
        """Compares the rows that were added; Refused names the first that differs, with its file."""
        for made, recorded, before in self._tables:
            now = _lines(made, before) if self._seen[made.name] < len(before) else []
            for row in range(self._seen[made.name], min(len(now), len(before))):
                if now[row] != before[row]:
                    raise Refused(_difference(recorded, before, now, row))
            self._seen[made.name] = max(self._seen[made.name], len(now))


def _lines(path: Path, before: Sequence[str] = ()) -> list[str]:
    """The lines of a table, without columns gained since; none where it has no rows: the first decides the columns."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if before and path.name == GROWING:
        text = as_before(before[0], text)
    lines = text.splitlines()
    return lines if len(lines) > 1 else []


def _difference(path: Path, before: Sequence[str], now: Sequence[str], row: int) -> str:
    kept = f"the record stays, and is made anew once {path.parent} is moved away"
    if not row:
        return f"{path}: its columns are not those of this run; {kept}"
    columns, old, new = next(csv.reader([before[0]])), before[row].split(","), now[row].split(",")
    unlike = (cells for cells in zip(columns, old, new, strict=False) if cells[1] != cells[2])
    name, was, found = next(unlike, ("cells", len(old), len(new)))
    return (
        f"{path}: the row at env step {old[0]} is not what training again gives, {name} {found} and not {was}; {kept}"
    )
