"""What the suite asks, by which measures, and what of all crossings it leaves out."""

from itertools import product

import pandas as pd

from pipeline.analysis.looks import spelled
from pipeline.suites.paired import AXES, Measure, Question

QUESTION = Question(
    "crossings",
    "Crossings: TOM as a plug-in, and its neighbours",
    {
        "probe/rmse": Measure("model's RMSE on fresh rows of the policy", ".3f", True),
        "auc": Measure("mean return along training", ".0f", False),
        "cumulative_max": Measure("best return of the run", ".0f", False),
        "probe/bias": Measure("model's bias on fresh rows of the policy", ".3f", True),
        "model/rmse_newest": Measure("model's RMSE on the newest rows", ".3f", True),
        "weights/ess": Measure("effective share of the buffer", ".2f", None),
    },
    shown=("probe/rmse", "auc", "weights/ess"),
)
PLAIN = "mbpo"  # beside which costs are said


def costs(runs: pd.DataFrame) -> list[str]:
    """CPU time of each method's runs over that of PLAIN's with the same seed, the median: a line, if that was run."""
    spent = runs.pivot_table(index=["env", "seed"], columns="method", values="cpu_s")
    if PLAIN not in spent:
        return []
    ratios = spent.div(spent[PLAIN], axis=0).median().drop(PLAIN).sort_values()
    words = ", ".join(f"{spelled(str(method))} {ratio:.1f}" for method, ratio in ratios.items())
    return [f"CPU time of a run over that of {spelled(PLAIN)}: {words}.", ""]


def left_out(differences: pd.DataFrame) -> str:
    """Which crossings of the weightings, losses and backbones that are there were not run, in a sentence."""
    weightings, losses, backbones = (differences[axis].unique() for axis in AXES)
    words = []
    for backbone, loss in product(backbones, losses):
        there = differences[(differences["loss"] == loss) & (differences["backbone"] == backbone)]
        done = set(there["weighting"])
        if names := [spelled(weighting) for weighting in weightings if weighting not in done]:
            words.append(f"{', '.join(names)} with {spelled(loss)}, {spelled(backbone)}")
    return f"Not run: {'; '.join(words)}." if words else "Every crossing was run."
