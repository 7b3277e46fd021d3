"""Tables with a row for each run of the evidence, for each of its evaluations and for each of its rounds."""

from collections.abc import Sequence

import pandas as pd

from pipeline.analysis.extent import TOTAL
from pipeline.analysis.runs import RUN
from pipeline.suites.evidence.measured import AFTER_ENV_STEPS, longest_fall, share_above
from pipeline.suites.evidence.recorded import FRESH, MADE, NUMBERS, Recorded

RUNS = [*RUN, "env_steps", TOTAL, "final", "best", "longest_fall_env_steps", "share_of_buffer", "rounds_above"]
RUNS += ["bias_newest", "rmse_newest", *FRESH.values(), "probes", "q", *MADE]


def runs_table(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row per run: how far, its returns, medians of what its model and weights were, and the critic's last mean."""
    return pd.DataFrame([_run(run) for run in runs], columns=RUNS)


def _run(run: Recorded) -> dict[str, object]:
    returns = run.evaluations["return_mean"]
    medians = {name: _median(run, "train", column) for column, name in NUMBERS.items()}
    medians |= {name: _median(run, "probe", column) for column, name in FRESH.items()}
    critic = run.numbers("train", "policy/q", 0, run.env_steps)
    return {
        **{name: getattr(run, name) for name in (*RUN, "env_steps", TOTAL, *MADE)},
        "final": returns.iloc[-1],
        "best": returns.max(),
        "longest_fall_env_steps": longest_fall(run),
        "rounds_above": share_above(run),
        **medians,
        "probes": len(run.probes),
        "q": critic[-1] if critic.size else None,
    }


def _median(run: Recorded, table: str, column: str) -> float | None:
    """The median from AFTER_ENV_STEPS on, as the claims have it; None where nothing is known."""
    values = run.numbers(table, column, AFTER_ENV_STEPS, run.env_steps)
    return float(pd.Series(values).median()) if values.size else None


def curves_table(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Every run's evaluations: its names, env_steps, the plain return and the cumulative maximum."""
    plain = {"return_mean": "plain"}
    parts = [run.named(run.evaluations[["env_steps", *plain]].rename(columns=plain)) for run in runs]
    made = [part.assign(cumulative_max=part["plain"].cummax()) for part in parts]
    return _together(made, [*RUN, "env_steps", "plain", "cumulative_max"])


def rounds_table(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Every run's rounds: its names, env_steps and NUMBERS."""
    parts = [run.named(run.rounds[run.rounds["env_steps"] < run.env_steps].rename(columns=NUMBERS)) for run in runs]
    return _together(parts, [*RUN, "env_steps", *NUMBERS.values()])


def _together(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    return pd.concat(parts or [pd.DataFrame(columns=columns)], ignore_index=True)
