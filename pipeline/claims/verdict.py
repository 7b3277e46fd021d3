"""The rule by which a claim gets its verdict, the same for our runs and for the paper's own figures."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.analysis.looks import place_of, spelled
from pipeline.claims.claim import Claim, Needs
from pipeline.claims.evidence import TABLES, Evidence
from pipeline.claims.measures import CHECKS, MEASURES, Estimate

SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"
NOT_RUN = "not run at this scale"
VERDICTS = (SUPPORTED, CONTRADICTED, INCONCLUSIVE, NOT_RUN)


@dataclass(frozen=True)
class Verdict:
    """A verdict with its reason, the estimates by environment, and the same of the published figures."""

    claim: Claim
    verdict: str
    reason: str
    ours: dict[str, Estimate]
    published: dict[str, Estimate]

    @property
    def published_verdict(self) -> str:
        """What the paper's own figures say to its claim; empty where they show nothing of it."""
        return decide(self.claim, self.published, exact=True) if self.published else ""


def holds(claim: Claim, estimate: Estimate, exact: bool = False) -> bool | None:
    """Whether the interval lies inside the claim's region (True), outside (False), or across its border (None).

    A value without an interval decides nothing unless it is `exact`, as what a published figure shows is. Nor does one
    of fewer seeds than the claim needs, unless it is a count, whose ends are equal, that already lies outside.
    """
    low, high = (estimate.value, estimate.value) if exact else (estimate.low, estimate.high)
    if low is None or high is None:
        return None
    bottom, top = claim.region
    inside, outside = bottom <= low and high <= top, high < bottom or low > top
    few = not exact and claim.needs is not None and estimate.n_seeds < claim.needs.seeds
    if few and not (outside and low == high):
        return None
    return True if inside else False if outside else None


def decide(claim: Claim, estimates: dict[str, Estimate], exact: bool = False) -> str:
    """Supported if it holds in enough environments, contradicted if it cannot any more, else inconclusive."""
    sure, possible = count(claim, estimates, exact)
    enough = claim.in_envs or len(estimates)
    if sure >= enough:
        return SUPPORTED
    return CONTRADICTED if possible < enough else INCONCLUSIVE


def count(claim: Claim, estimates: dict[str, Estimate], exact: bool = False) -> tuple[int, int]:
    """In how many environments the claim holds for sure, and in how many it may."""
    each = [holds(claim, estimate, exact) for estimate in estimates.values()]
    return each.count(True), len(each) - each.count(False)


def missing(claim: Claim, ours: Evidence, published: Evidence) -> str:
    """Which of the runs that the claim needs are not there, in one phrase; empty if all are."""
    needs = claim.needs
    assert needs is not None, "a check needs no runs"
    rows, scale = ours.curves, ours.scale
    if claim.table:
        table = ours.tables[claim.table]
        if table is None:
            return f"reports/tables/{TABLES[claim.table][0]} is not there"
        rows, scale = table, str(table["scale"].iloc[0]) if "scale" in table and len(table) else scale
    places = [(method, env) for env in claim.envs or ("",) for method in claim.methods]
    seeds = {place: _seeds(rows, *place) for place in places}
    if needs.scale and scale != needs.scale:
        return _other_scale(needs, scale, min(seeds.values()), max(seeds.values()))
    found = [_lacking(place, count, needs.seeds) for place, count in seeds.items() if count < needs.seeds]
    found += [_short(ours, published, *place) for place in places if claim.envs and not claim.table]
    return "; ".join(filter(None, found))


def _other_scale(needs: Needs, scale: str, few: int, most: int) -> str:
    """That the runs are of another scale, and have too few seeds for this one, if they do."""
    if few >= needs.seeds:
        return f"needs scale {needs.scale}, the runs are of scale {scale}"
    there = f"{few} to {most}" if few < most else f"{few}"
    return f"needs scale {needs.scale} and {needs.seeds} seeds, the runs are of scale {scale} and have {there}"


def _seeds(rows: pd.DataFrame, method: str, env: str) -> int:
    """How many there are of a method, on an environment if one is named."""
    rows = rows[rows["method"] == method]
    return int((rows[rows["env"] == env] if env else rows)["seed"].nunique())


def _lacking(place: tuple[str, str], seeds: int, needed: int) -> str:
    return f"{_where(*place)}: {seeds} of {needed} seeds{', and one seed gives no interval' if seeds == 1 else ''}"


def _where(method: str, env: str) -> str:
    return " on ".join(filter(None, (spelled(method), place_of(env))))


def _short(ours: Evidence, published: Evidence, method: str, env: str) -> str:
    """A run that ends before the published one says nothing about its end."""
    ends = [part.of(method, env)["env_steps"].max() for part in (ours, published)]
    if any(pd.isna(end) for end in ends) or ends[0] >= ends[1]:
        return ""
    return f"{_where(method, env)} ends at {ends[0]:,.0f} of {ends[1]:,.0f} steps"


def judge(claim: Claim, ours: Evidence, published: Evidence, root: Path) -> Verdict:
    """The verdict on one claim, or on one check of the paper's text against its figures."""
    if claim.measure in CHECKS:
        found = CHECKS[claim.measure](root, published, claim)
        return Verdict(claim, decide(claim, found, exact=True), "", {}, found)
    theirs: dict[str, Estimate] = {}
    if claim.table is None or claim.table in published.tables:
        theirs = MEASURES[claim.measure](published, claim)
    lacking = missing(claim, ours, published)
    if lacking:
        return Verdict(claim, NOT_RUN, lacking, {}, theirs)
    found = MEASURES[claim.measure](ours, claim)
    open_in = [env for env, estimate in found.items() if holds(claim, estimate) is None]
    reason = f"the interval crosses the border of the region: {', '.join(map(place_of, open_in))}" if open_in else ""
    return Verdict(claim, decide(claim, found), reason, found, theirs)
