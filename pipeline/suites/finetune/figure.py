"""`python -m pipeline.suites.finetune.figure` draws reports/figures/finetune/: what each weighting adds."""

from functools import partial

from pipeline.analysis.stage import made
from pipeline.suites.finetune.page import QUESTION
from pipeline.suites.paired_figure import make_figure

make = partial(make_figure, QUESTION)

if __name__ == "__main__":
    made("finetune_plot", make)
