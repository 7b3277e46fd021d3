"""`python -m pipeline.suites.crossings.figure` draws reports/figures/crossings/: what each weighting adds, crossed.

Draws the numbers of its tables and computes none. Same tables in, same bytes out.
"""

import sys
from pathlib import Path

import pandas as pd

from pipeline.analysis.stage import made
from pipeline.analysis.style import write_figures
from pipeline.suites.crossings.page import QUESTION, SHOWN
from pipeline.suites.paired import answers
from pipeline.suites.paired_figure import draw


def make(root: Path) -> Path:
    """Replaces `root`/reports/figures/crossings and returns its path; FileNotFoundError if a table is not there."""
    differences = pd.read_csv(root / "reports/tables/crossings/differences.csv")
    figures = [("crossings", draw(QUESTION, differences, SHOWN))]
    texts = {"crossings.txt": " ".join(answers(QUESTION, differences))}
    return write_figures(root / "reports/figures/crossings", figures, dpi=100, texts=texts)


if __name__ == "__main__":
    sys.exit(made("crossings_plot", make))
