"""`python -m pipeline.suites.evidence.tables` makes reports/tables/evidence/ from what the suite has recorded so far.

Any number of runs of any length, none included; nothing is trained.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.analysis.extent import so_far
from pipeline.analysis.looks import place_of, spelled
from pipeline.analysis.stage import made
from pipeline.analysis.tables import with_interval, write_tables
from pipeline.claims import measures
from pipeline.claims.claim import Claim, read_claims
from pipeline.claims.evidence import Evidence, read_published
from pipeline.claims.table import by_env_table, claims_table
from pipeline.claims.verdict import NOT_RUN, Verdict
from pipeline.suites.evidence.by_run import curves_table, rounds_table, runs_table
from pipeline.suites.evidence.measured import MEASURES, collapsed, judge, published_at
from pipeline.suites.evidence.page import markdown
from pipeline.suites.evidence.recorded import Recorded, common_step, paired, read_recorded, runs_of
from pipeline.suites.evidence.so_far import rows_so_far


def remark(verdict: Verdict, runs: Sequence[Recorded], published: Evidence) -> str:
    """In each environment the estimate, how many seeds, how far, and what else there is to say of the measure there."""
    claim = verdict.claim
    if verdict.verdict == NOT_RUN:
        return ""
    places = []
    for env, estimate in verdict.ours.items():
        end = common_step(groups := paired(runs, claim.methods, env))
        seeds = f"{estimate.n_seeds} seed{'s' if estimate.n_seeds != 1 else ''}"
        said = DETAILS.get(claim.measure, lambda *_: "")(claim, runs, env, published)
        far = so_far(end, groups[0][0].total_env_steps)
        low = None if estimate.low == estimate.high else estimate.low  # what is counted has no interval
        number = with_interval(estimate.value, low, estimate.high, ".3g").replace("-", "−")
        places.append(f"{place_of(env)}: {number}, {seeds}, {far} env steps{said}")
    return "; ".join(places)


def _by_method(claim: Claim, runs: Sequence[Recorded], env: str, _: Evidence) -> str:
    """How many runs of every method collapse, also of those that the claim is not about."""
    found = {method: runs_of(runs, method, env) for method in dict.fromkeys(run.method for run in runs)}
    counts = [f"{spelled(method)} {collapsed(part)} of {len(part)}" for method, part in found.items() if part]
    return f" (collapse: {', '.join(counts)})"


def _beside_band(claim: Claim, runs: Sequence[Recorded], env: str, published: Evidence) -> str:
    """Our mean and the published band in units of return, and where the one lies."""
    groups = paired(runs, claim.methods, env)
    step = common_step(groups)
    ours, band = float(np.mean([run.best(step) for (run,) in groups])), published_at(published, claim.method, env, step)
    assert band is not None, "measured, so published there"
    mean, low, high = band
    place = "below" if ours < low else "above" if ours > high else "inside"
    numbers = f"our mean {ours:,.0f} is {place} the published band {low:,.0f} to {high:,.0f} (mean {mean:,.0f})"
    return f", {numbers.replace('-', '−')}"


DETAILS = {"collapses": _by_method, "in_band": _beside_band}


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/evidence and returns its path; ResultsError leaves the old tables as they are."""
    runs, published = read_recorded(root), read_published(root)
    place, known = root / "reports/claims.yaml", [*measures.MEASURES, *measures.CHECKS]
    claims, group = read_claims(place, known), read_claims(place, [*MEASURES], lists=["evidence"])
    verdicts = [judge(claim, runs, published) for claim in group]
    made = {
        "so_far": rows_so_far(claims, runs, published),
        "claims": claims_table(verdicts, published).assign(remark=[remark(each, runs, published) for each in verdicts]),
        "by_env": by_env_table(verdicts),
        "runs": runs_table(runs),
        "curves": curves_table(runs),
        "rounds": rounds_table(runs),
    }
    text = "\n".join(markdown(made["so_far"], made["claims"], made["runs"])) + "\n"
    return write_tables(root / "reports/tables/evidence", made, {"evidence.md": text})


if __name__ == "__main__":
    made("evidence_tables", make)
