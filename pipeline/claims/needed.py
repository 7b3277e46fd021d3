"""What a claim needs: the runs that would decide it, in the terms of params.yaml."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.analysis.looks import spelled
from pipeline.analysis.results import nearest
from pipeline.claims.claim import Claim, NoClaim, read_claims
from pipeline.claims.measures import CHECKS, MEASURES

OF_GRID = (None, "age")  # the tables of claims that runs of the grid decide; any other is that of the suite it names
ROAD = "tom repro: Road-and-Rocks, a minute or two"
EVIDENCE = "tom evidence: more seeds of the published protocol, in the background"


@dataclass(frozen=True)
class Runs:
    """Every method on every environment with every seed at a scale, to the end: a grid, or that of a suite."""

    suite: str
    scale: str
    methods: tuple[str, ...]
    envs: tuple[str, ...]
    seeds: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many; a suite trains all its methods on what one run of an environment and seed left."""
        return len(self.envs) * len(self.seeds) * (1 if self.suite else len(self.methods))

    def __str__(self) -> str:
        where = f"{', '.join(map(spelled, self.methods))} on {', '.join(self.envs)}"
        suite = f" of the suite {self.suite}" if self.suite else ""
        return f"{self.count} runs{suite}: {where}, seeds {self.seeds[0]} to {self.seeds[-1]}, scale {self.scale}"


def needed(claim: Claim) -> Runs | None:
    """The runs that a claim needs; None where they are not those of a grid of params.yaml."""
    needs = claim.needs
    if needs is None or needs.scale is None:
        return None
    suite = "" if claim.table in OF_GRID else str(claim.table)
    return Runs(suite, needs.scale, claim.methods, claim.envs, tuple(range(needs.seeds)))


def to_decide(claim: Claim, n_seeds: int = 0) -> str:
    """What would decide an open claim, whose interval is of `n_seeds`: a few words, a colon, and what exactly.

    Empty for a check of the figures, which needs no runs.
    """
    if claim.needs is None:
        return ""
    runs = needed(claim)
    if runs is None:
        return EVIDENCE if claim.envs else ROAD
    if n_seeds >= len(runs.seeds):
        return f"more seeds: {n_seeds} leave it open"
    return f"{runs} (tom plan --claim {claim.id})"


def runs_decide(root: Path) -> dict[str, Runs]:
    """What each claim needs that runs of a grid decide, by its id."""
    claims = read_claims(root / "reports/claims.yaml", [*MEASURES, *CHECKS])
    return {claim.id: runs for claim in claims if (runs := needed(claim))}


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
    return Runs(first.suite, first.scale, methods, envs, most)


def _union(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in lists for name in names))
