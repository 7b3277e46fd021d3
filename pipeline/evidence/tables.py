"""`python -m pipeline.evidence.tables` makes reports/tables/evidence/ from what the suite has recorded so far.

Any number of runs of any length, none included. Same records in, same bytes out; nothing is trained.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline import stats
from pipeline.aggregate import DIGITS
from pipeline.claims import by_env_table, claims_table
from pipeline.evidence.measured import AFTER_ENV_STEPS, MEASURES, collapsed, judge, longest_fall, share_above
from pipeline.evidence.page import markdown
from pipeline.evidence.recorded import FRESH, NUMBERS, Recorded, common_step, paired, read_recorded, runs_of
from pipeline.evidence.so_far import rows_so_far
from pipeline.extent import TOTAL, so_far
from pipeline.looks import spelled
from pipeline.report import measures
from pipeline.report.claim import Claim, read_claims
from pipeline.report.evidence import Evidence, read_published
from pipeline.report.verdict import NOT_RUN, Verdict
from pipeline.stage import tabulated
from pipeline.swap import replaced_folder

TARGET = Path("reports/tables/evidence")
NAMES = ["method", "env", "seed"]
RUNS = [*NAMES, "env_steps", TOTAL, "final", "best", "longest_fall_env_steps", "share_of_buffer", "rounds_above"]
RUNS += ["bias_newest", "rmse_newest", *FRESH.values(), "probes", "q", "git_commit"]


def runs_table(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row per run: how far, its returns, medians of what its model and weights were, and the critic's last mean."""
    return pd.DataFrame([_run(run) for run in runs], columns=RUNS)


def _run(run: Recorded) -> dict[str, object]:
    returns = run.evaluations["return_mean"]
    medians = {name: _median(run, "train", column) for column, name in NUMBERS.items()}
    medians |= {name: _median(run, "probe", column) for column, name in FRESH.items()}
    critic = run.numbers("train", "policy/q", 0, run.env_steps)
    return {
        **{name: getattr(run, name) for name in NAMES},
        "env_steps": run.env_steps,
        TOTAL: run.total,
        "final": returns.iloc[-1],
        "best": returns.max(),
        "longest_fall_env_steps": longest_fall(run),
        "rounds_above": share_above(run),
        **medians,
        "probes": len(run.probes),
        "q": critic[-1] if critic.size else None,
        "git_commit": run.commit,
    }


def _median(run: Recorded, table: str, column: str) -> float | None:
    """The median from AFTER_ENV_STEPS on, as the claims have it; None where nothing is known."""
    values = run.numbers(table, column, AFTER_ENV_STEPS, run.env_steps)
    return float(pd.Series(values).median()) if values.size else None


def curves_table(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Every run's evaluations: its names, env_steps, the plain return and the cumulative maximum."""
    parts = [
        run.evaluations[["env_steps"]].assign(
            **{name: getattr(run, name) for name in NAMES},
            plain=run.evaluations["return_mean"],
            cumulative_max=stats.cumulative_maximum(run.evaluations["return_mean"]),
        )
        for run in runs
    ]
    columns = [*NAMES, "env_steps", "plain", "cumulative_max"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def rounds_table(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Every run's rounds: its names, env_steps and NUMBERS."""
    parts = [
        run.rounds[run.rounds["env_steps"] < run.env_steps]
        .rename(columns=NUMBERS)
        .assign(**{name: getattr(run, name) for name in NAMES})
        for run in runs
    ]
    columns = [*NAMES, "env_steps", *NUMBERS.values()]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def group_table(verdicts: list[Verdict], runs: Sequence[Recorded], published: Evidence) -> pd.DataFrame:
    """The new group as the claims are tabulated, with the seeds behind each number in its remark."""
    table = claims_table(verdicts, published)
    table["remark"] = [remark(each, runs) for each in verdicts]
    return table


def remark(verdict: Verdict, runs: Sequence[Recorded]) -> str:
    """How many seeds, how far, in each environment; and how many runs of every method collapse, where that is asked."""
    claim = verdict.claim
    if verdict.verdict == NOT_RUN:
        return ""
    places = []
    for env, estimate in verdict.ours.items():
        end = common_step(groups := paired(runs, claim.methods, env))
        seeds = f"{estimate.n_seeds} seed{'s' if estimate.n_seeds != 1 else ''}"
        places.append(f"{env}: {seeds}, {so_far(end, groups[0][0].total)} env steps{_by_method(claim, runs, env)}")
    return "; ".join(places)


def _by_method(claim: Claim, runs: Sequence[Recorded], env: str) -> str:
    if claim.measure != "collapses":
        return ""
    found = {method: runs_of(runs, method, env) for method in dict.fromkeys(run.method for run in runs)}
    counts = [f"{spelled(method)} {collapsed(part)} of {len(part)}" for method, part in found.items() if part]
    return f" (collapse: {', '.join(counts)})"


def make_tables(root: Path) -> Path:
    """Replaces `root`/reports/tables/evidence and returns its path; ResultsError leaves the old tables as they are."""
    runs, published = read_recorded(root), read_published(root)
    place, known = root / "reports/claims.yaml", [*measures.MEASURES, *measures.CHECKS]
    claims, group = read_claims(place, known), read_claims(place, [*MEASURES], lists=["evidence"])
    curves = pd.read_csv(root / "reports/paper/fig3_curves.csv")
    verdicts = [judge(claim, runs, curves) for claim in group]
    made = {
        "so_far": rows_so_far(claims, runs, published),
        "claims": group_table(verdicts, runs, published),
        "by_env": by_env_table(verdicts),
        "runs": runs_table(runs),
        "curves": curves_table(runs),
        "rounds": rounds_table(runs),
    }
    with replaced_folder(root / TARGET) as folder:
        for name, table in made.items():
            table.to_csv(folder / f"{name}.csv", index=False, float_format=DIGITS, lineterminator="\n")
        text = "\n".join(markdown(made["so_far"], made["claims"], made["runs"])) + "\n"
        (folder / "evidence.md").write_text(text, encoding="utf-8", newline="\n")
    return root / TARGET


def main() -> int:
    """Exit status: 0, or 1 after one line that names what is missing or broken."""
    return tabulated("evidence_tables", make_tables)


if __name__ == "__main__":
    sys.exit(main())
