"""`python -m pipeline.suites.finetune.figure` draws reports/figures/finetune/: what each weighting adds."""

from pathlib import Path

from pipeline.analysis.stage import made
from pipeline.suites.finetune.page import QUESTION, SHOWN
from pipeline.suites.paired_figure import make_figure


def make(root: Path) -> Path:
    """Replaces `root`/reports/figures/finetune and returns its path; FileNotFoundError if a table is not there."""
    return make_figure(root, QUESTION, SHOWN)


if __name__ == "__main__":
    made("finetune_plot", make)
