"""What a claim needs: the runs that would decide it, in the terms of params.yaml."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from pipeline.analysis.looks import place_of, spelled
from pipeline.analysis.results import nearest
from pipeline.claims.claim import Claim, NoClaim, read_claims
from pipeline.claims.measures import CHECKS, MEASURES
from pipeline.claims.seeds import MOST

OF_GRID = (None, "age")  # the tables of claims that runs of the grid decide; another's name begins with its suite
ROAD = "tom repro: Road-and-Rocks, a minute or two"
EVIDENCE = "tom evidence: more seeds of the published protocol"
TABLE = Path("reports/tables/claims/claims.csv")
NEAR = f"more than {MOST} seeds: the estimate lies so near the border of the region that seeds alone hardly decide it"


@dataclass(frozen=True)
class Runs:
    """Every method on every environment with every seed at a scale, to the end: a grid, or that of a suite."""

    suite: str
    scale: str
    methods: tuple[str, ...]
    envs: tuple[str, ...]
    seeds: tuple[int, ...]
    because: tuple[str, ...] = field(default=(), compare=False)  # in words, of claims that runs have left open

    @property
    def count(self) -> int:
        """How many; a suite trains all its methods on what one run of an environment and seed left."""
        return len(self.envs) * len(self.seeds) * (1 if self.suite else len(self.methods))

    def __str__(self) -> str:
        where = f"{', '.join(map(spelled, self.methods))} on {', '.join(map(place_of, self.envs))}"
        suite = f" of the suite {self.suite}" if self.suite else ""
        return f"{self.count} runs{suite}: {where}, seeds {self.seeds[0]} to {self.seeds[-1]}, scale {self.scale}"


def needed(claim: Claim, seeds: float = 0) -> Runs | None:
    """The runs that a claim needs, with so many seeds if they are more than it asks for and can be had.

    None where they are not those of a grid of params.yaml.
    """
    needs = claim.needs
    if needs is None or needs.scale is None:
        return None
    suite = "" if claim.table in OF_GRID else str(claim.table).partition("/")[0]
    count = max(needs.seeds, int(seeds) if math.isfinite(seeds) else 0)
    return Runs(suite, needs.scale, claim.methods, claim.envs, tuple(range(count)))


def to_decide(claim: Claim, seen: int = 0, seeds: float = math.nan) -> str:
    """What would decide an open claim: a few words, a colon, and what exactly.

    Its interval is of the seeds `seen`, and of `seeds` it would decide (pipeline/claims/seeds.py). Empty for a check of
    the figures, which needs no runs.
    """
    if claim.needs is None:
        return ""
    runs = needed(claim)
    way = f"tom plan --claim {claim.id}" if runs else EVIDENCE if claim.envs else ROAD
    if runs and seen < len(runs.seeds):
        return f"{runs} ({way})"
    if math.isnan(seeds):
        return f"more seeds: {seen} leave it open, with an interval without ends to go by" if runs else way
    if math.isinf(seeds):
        return NEAR
    return (
        f"about {seeds:.0f} seeds: with so many the interval crosses no border, if the estimate and the spread between "
        f"seeds stay as they are with {seen} ({way})"
    )


def runs_decide(root: Path) -> dict[str, Runs]:
    """What each claim needs that runs of a grid decide, by its id; with the seeds that would decide an open one."""
    claims = read_claims(root / "reports/claims.yaml", [*MEASURES, *CHECKS])
    table = pd.read_csv(root / TABLE).set_index("id") if (root / TABLE).is_file() else pd.DataFrame()
    found = {}
    for claim in claims:
        seeds = table["seeds_to_decide"].get(claim.id, math.nan) if "seeds_to_decide" in table else math.nan
        if runs := needed(claim, seeds):
            said = () if math.isnan(seeds) else (f"{claim.id}: {table.loc[claim.id, 'to_decide']}",)
            found[claim.id] = replace(runs, because=said)
    return found


def needed_by(ids: Sequence[str], root: Path) -> Runs:
    """The runs that decide all of these claims; NoClaim, with the nearest one, for another word."""
    known, found = runs_decide(root), []
    for name in ids:
        if name not in known:
            raise NoClaim(f"claim={name} is none that runs of a grid decide; {nearest(name, known)}")
        found.append(known[name])
    for runs, name in zip(found, ids, strict=True):
        if (runs.suite, runs.scale) != (found[0].suite, found[0].scale):
            raise NoClaim(f"claim={name} needs other runs than {ids[0]}; nearest valid choice: one after the other")
    first, most = found[0], max((runs.seeds for runs in found), key=len)
    methods, envs = _union(runs.methods for runs in found), _union(runs.envs for runs in found)
    return Runs(first.suite, first.scale, methods, envs, most, _union(runs.because for runs in found))


def _union(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in lists for name in names))
