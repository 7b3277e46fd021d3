"""Checks that claims, the report's tables and figures, and the page are those that the repository's files give."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.analysis.results import ResultsError
from pipeline.claims import table as claims
from pipeline.report import figures, page, scores

MADE = ("reports/tables/claims", "reports/tables/report", "reports/figures/report", "reports/index.html")


def report_problems(root: Path) -> Iterator[str]:
    """Which files of the report are not what the same inputs give; nothing where there are no claims to report."""
    if not (root / "reports/claims.yaml").is_file():
        return
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        _same_inputs(root, fresh)
        try:
            for make in (claims.write, scores.write, figures.write, page.write):
                make(fresh)
        except (ResultsError, OSError, ValueError, LookupError) as error:
            said = " ".join(str(error).split()).replace(f"{fresh}/", "").replace(f"{root}/", "")
            yield f"the report: cannot be made again ({said})"
            return
        for part in MADE:
            yield from unlike(root, fresh, part)


def _same_inputs(root: Path, fresh: Path) -> None:
    """Links in `fresh` to everything that the report is made of: all of reports/ but what is to be made."""
    for folder in ("reports", "reports/tables", "reports/figures"):
        (fresh / folder).mkdir()
        for path in (root / folder).iterdir():
            name = f"{folder}/{path.name}"
            if name not in (*MADE, "reports/tables", "reports/figures"):
                (fresh / name).symlink_to(path.absolute())


def unlike(root: Path, fresh: Path, part: str) -> Iterator[str]:
    """The files of a part, a folder or one file, that are missing in `root` or are not those in `fresh`."""
    recorded, again = contents(root / part), contents(fresh / part)
    if not recorded:
        yield f"{part}: missing"
    for name in sorted(recorded.keys() | again.keys()) if recorded and again else ():
        if recorded.get(name) != again.get(name):
            what = "not what the results give" if name in recorded else "missing"
            yield f"{part}/{name}: {what}".replace("/.:", ":")


def contents(path: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder by its path there; of one file by `.`."""
    files = [path] if path.is_file() else [below for below in path.rglob("*") if below.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}
