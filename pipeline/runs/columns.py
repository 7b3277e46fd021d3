"""Tables of a run that gained columns since: what was recorded before is compared with the columns that it has."""

import csv
import io


def as_before(before: str, now: str) -> str:
    """The table `now` with the columns of the table `before`, in their order; as it is where it lacks one of them."""
    header, rows = _rows(before)[:1], _rows(now)
    if not header or not rows or header[0] == rows[0] or not set(header[0]) <= set(rows[0]):
        return now
    places = [rows[0].index(name) for name in header[0]]
    kept = io.StringIO()
    csv.writer(kept, lineterminator="\n").writerows([row[place] for place in places] for row in rows)
    return kept.getvalue()


def _rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))
