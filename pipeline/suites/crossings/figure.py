"""`python -m pipeline.suites.crossings.figure` draws reports/figures/crossings/: what each weighting adds, crossed."""

from functools import partial

from pipeline.analysis.stage import made
from pipeline.suites.crossings.page import QUESTION
from pipeline.suites.paired_figure import make_figure

make = partial(make_figure, QUESTION)

if __name__ == "__main__":
    made("crossings_plot", make)
