"""Which methods win each of the two worlds of Road-and-Rocks, and whether the worlds tell occupancy from reward."""

from collections.abc import Iterable

import pandas as pd

from pipeline.analysis.looks import spelled

BASELINE, OCCUPANCY, REWARD = "mbpo", "tom", "rama"
LEAD, SHARE = 100.0, 0.75  # return above the baseline's, and with how many of the seeds
BAR = (
    f"A method wins a world if its final return is above {spelled(BASELINE)}'s by {LEAD:.0f} or more with at least "
    f"{SHARE:.0%} of the seeds."
)
WORLDS = ("first", "second")


def verdict_table(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """One row per world and method other than the baseline: with how many of its seeds it leads, and if it wins."""
    rows = []
    for world, summary in zip(WORLDS, (first, second), strict=True):
        runs = {str(method): table.set_index("seed")["final_return"] for method, table in summary.groupby("method")}
        for method in summary["method"].unique():
            if BASELINE in runs and method != BASELINE:
                leads = runs[method] - runs[BASELINE] >= LEAD
                wins = bool(leads.mean() >= SHARE)
                rows.append({"world": world, "method": method, "leads": leads.sum(), "seeds": len(leads), "wins": wins})
    return pd.DataFrame(rows, columns=["world", "method", "leads", "seeds", "wins"])


def sentence(table: pd.DataFrame) -> str:
    """The verdict: who wins which world, and which world tells the two apart."""
    if not {OCCUPANCY, REWARD} <= set(table["method"]):
        return f"No verdict: it needs {BASELINE}, {OCCUPANCY} and {REWARD} in `road.methods`."
    won = [set(table[(table["world"] == world) & table["wins"]]["method"]) for world in WORLDS]
    winners = [_listed(method for method in table["method"].unique() if method in names) for names in won]
    tells = ["does" if (OCCUPANCY in names) != (REWARD in names) else "does not" for names in won]
    return (
        f"The first world is won by {winners[0]}, the second by {winners[1]}. Does a world tell the policy's occupancy "
        f"({spelled(OCCUPANCY)}) from reward ({spelled(REWARD)})? The first {tells[0]}, the second {tells[1]}."
    )


def _listed(methods: Iterable[str]) -> str:
    names = [spelled(method) for method in methods]
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0] if names else "none"
