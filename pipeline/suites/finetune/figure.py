"""`python -m pipeline.suites.finetune.figure` draws reports/figures/finetune/: what each weighting adds.

Draws the numbers of its tables and computes none. Same tables in, same bytes out.
"""

import sys
from pathlib import Path

import pandas as pd

from pipeline.analysis.stage import made
from pipeline.analysis.style import write_figures
from pipeline.suites.finetune.page import QUESTION, SHOWN
from pipeline.suites.paired import answers
from pipeline.suites.paired_figure import draw


def make(root: Path) -> Path:
    """Replaces `root`/reports/figures/finetune and returns its path; FileNotFoundError if a table is not there."""
    differences = pd.read_csv(root / "reports/tables/finetune/differences.csv")
    figures = [("finetune", draw(QUESTION, differences, SHOWN))]
    texts = {"finetune.txt": " ".join(answers(QUESTION, differences))}
    return write_figures(root / "reports/figures/finetune", figures, dpi=100, texts=texts)


if __name__ == "__main__":
    sys.exit(made("finetune_plot", make))
