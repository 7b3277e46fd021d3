"""`python -m pipeline.suites.crossings.figure` draws reports/figures/crossings/: what each weighting adds, crossed."""

from pathlib import Path

from pipeline.analysis.stage import made
from pipeline.suites.crossings.page import QUESTION, SHOWN
from pipeline.suites.paired_figure import make_figure


def make(root: Path) -> Path:
    """Replaces `root`/reports/figures/crossings and returns its path; FileNotFoundError if a table is not there."""
    return make_figure(root, QUESTION, SHOWN)


if __name__ == "__main__":
    made("crossings_plot", make)
