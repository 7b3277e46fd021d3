"""Claims whose verdict is known, on runs made up for it, and the paper's figures against its text."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.analysis.results import ResultsError
from pipeline.claims.claim import Claim, Needs, NoClaim, read_claims
from pipeline.claims.evidence import Evidence, read_ours, read_published
from pipeline.claims.measures import CHECKS, MEASURES, Estimate, heights, spans
from pipeline.claims.needed import Runs, needed, needed_by
from pipeline.claims.seeds import enough_seeds, settled_with
from pipeline.claims.table import claims_table, markdown, metrics
from pipeline.claims.table import make as write
from pipeline.claims.verdict import CONTRADICTED, INCONCLUSIVE, NOT_RUN, SUPPORTED, decide, holds, judge
from tests.commands import complaint, typed

ROOT = Path(__file__).resolve().parents[1]
ENVS = ("hopper", "walker2d", "halfcheetah", "ant", "humanoid")
METHODS = ("tom", "mbpo", "pmac", "vagram_mdn", "vagram_ensemble")
CLAIMS = {claim.id: claim for claim in read_claims(ROOT / "reports" / "claims.yaml", [*MEASURES, *CHECKS])}
PUBLISHED = read_published(ROOT)


def runs(final: dict[tuple[str, str], float], *, spread: float = 1.0, seeds: int = 4, scale: str = "paper") -> Evidence:
    """Straight curves from 0 to `final` (1,000 if not given) by method and environment; seeds lie `spread` apart."""
    rows = []
    for env in ENVS:
        end = 125_000 if env == "hopper" else 300_000
        for place, method in enumerate(METHODS):
            for seed in range(seeds):
                top = final.get((method, env), 1_000.0) + spread * (seed - (seeds - 1) / 2) * (-1) ** place
                rows += [(method, env, seed, step, top * step / end) for step in (0, end // 2, end)]
    curves = pd.DataFrame(rows, columns=["method", "env", "seed", "env_steps", "cumulative_max"])
    return Evidence(scale, curves, {"road": None, "weights": None, "age": None})


def verdict(name: str, ours: Evidence) -> str:
    return judge(CLAIMS[name], ours, PUBLISHED, ROOT).verdict


def everywhere(method: str, value: float) -> dict[tuple[str, str], float]:
    return {(method, env): value for env in ENVS}


@pytest.mark.parametrize(
    ("ratio", "spread", "expected"), [(2.0, 1.0, SUPPORTED), (1.2, 1.0, CONTRADICTED), (1.62, 200.0, INCONCLUSIVE)]
)
def test_sixty_percent_on_humanoid(ratio: float, spread: float, expected: str) -> None:
    assert verdict("humanoid_60", runs({("tom", "humanoid"): 1_000 * ratio}, spread=spread)) == expected


@pytest.mark.parametrize(("best", "expected"), [(5, SUPPORTED), (4, SUPPORTED), (3, CONTRADICTED), (0, CONTRADICTED)])
def test_best_in_four_of_five(best: int, expected: str) -> None:
    final = {("tom", env): 2_000.0 if place < best else 500.0 for place, env in enumerate(ENVS)}
    for name in ("best_final", "best_efficiency"):
        assert verdict(name, runs(final)) == expected


def test_open_environments_decide_only_where_they_cannot_matter() -> None:
    sure, wide, lost = Estimate(1, 0.5, 2, 4), Estimate(1, -1, 3, 4), Estimate(-1, -2, -0.5, 4)
    claim = CLAIMS["best_final"]

    def of(*estimates: Estimate) -> str:
        return decide(claim, dict(zip(ENVS, estimates, strict=True)))

    assert of(sure, sure, sure, sure, wide) == SUPPORTED
    assert of(sure, sure, sure, wide, lost) == INCONCLUSIVE
    assert of(sure, sure, wide, lost, lost) == CONTRADICTED


def test_normalised_average_is_held_against_a_band() -> None:
    assert verdict("average_tom", runs(everywhere("tom", 1_117))) == SUPPORTED
    assert verdict("average_tom", runs(everywhere("tom", 1_400))) == CONTRADICTED
    assert verdict("average_tom", runs(everywhere("tom", 1_210), spread=30)) == INCONCLUSIVE


def test_lead_is_over_the_best_other_method_and_joint() -> None:
    evidence = runs({("tom", "hopper"): 1_500.0, ("pmac", "hopper"): 1_400.0}, spread=10)
    claim = replace(CLAIMS["best_final"], envs=("hopper",), in_envs=None)
    found = MEASURES["lead"](evidence, claim)["hopper"]
    # TOM and PMAC move alike with the seed, so that difference is 100 exactly; to MBPO it is 500 and wide
    assert found.value == pytest.approx(100.0)
    assert found.low == pytest.approx(100.0)
    joint = MEASURES["lead"](evidence, replace(claim, against=("mbpo", "vagram_mdn")))["hopper"]
    alone = MEASURES["lead"](evidence, replace(claim, against=("mbpo",)))["hopper"]
    assert joint.low is not None and alone.low is not None
    assert joint.low < alone.low < alone.value


@pytest.mark.parametrize(
    ("window", "height"), [((1, 1), 400.0), ((0, 1), 200.0), ((0, 0.5), 100.0), ((0.1, 0.4), 100.0)]
)
def test_height_of_a_part_of_the_run(window: tuple[float, float], height: float) -> None:
    evidence = runs({("tom", "ant"): 400.0}, spread=0.0, seeds=1)
    assert heights(evidence, "tom", "ant", window) == pytest.approx([height])


def test_early_and_late_are_different_claims() -> None:
    evidence = runs({})
    pmac = (evidence.curves["method"] == "pmac") & (evidence.curves["env_steps"].isin([62_500, 150_000]))
    evidence.curves.loc[pmac, "cumulative_max"] = 900.0
    evidence.curves.loc[
        (evidence.curves["method"] == "pmac") & (evidence.curves["env_steps"] > 150_000), "cumulative_max"
    ] = 905.0
    evidence.curves.loc[
        (evidence.curves["method"] == "pmac") & (evidence.curves["env_steps"] == 125_000), "cumulative_max"
    ] = 905.0
    assert verdict("pmac_early", evidence) == SUPPORTED
    assert verdict("pmac_late", evidence) == SUPPORTED
    assert verdict("pmac_early", runs({})) != SUPPORTED


LACKING = {
    "another scale": (runs({}, scale="quick"), "needs scale paper, the runs are of scale quick"),
    "another scale and two seeds": (
        runs({}, scale="quick", seeds=2),
        "needs scale paper and 4 seeds, the runs are of scale quick and have 2",
    ),
    "two seeds": (runs({}, seeds=2), "TOM on Humanoid: 2 of 4 seeds; MBPO on Humanoid: 2 of 4 seeds"),
    "one seed": (runs({}, seeds=1), "TOM on Humanoid: 1 of 4 seeds, and one seed gives no interval"),
}


@pytest.mark.parametrize("case", LACKING)
def test_missing_runs_are_named_and_nothing_is_guessed(case: str) -> None:
    ours, reason = LACKING[case]
    found = judge(CLAIMS["humanoid_60"], ours, PUBLISHED, ROOT)
    assert (found.verdict, found.ours) == (NOT_RUN, {})
    assert found.reason.startswith(reason)


def test_a_missing_method_and_a_short_run_are_named() -> None:
    ours = runs({})
    without = Evidence("paper", ours.curves[ours.curves["method"] != "pmac"], ours.tables)
    assert judge(CLAIMS["pmac_suboptimal"], without, PUBLISHED, ROOT).reason.startswith("PMAC on Ant: 0 of 4 seeds")
    short = Evidence("paper", ours.curves[ours.curves["env_steps"] <= 150_000], ours.tables)
    found = judge(CLAIMS["humanoid_60"], short, PUBLISHED, ROOT)
    assert (found.verdict, found.reason.split("; ")[0]) == (NOT_RUN, "TOM on Humanoid ends at 150,000 of 299,000 steps")


def suite(**columns: Any) -> Evidence:
    table = pd.DataFrame({"scale": "paper", "method": "tom", **columns})
    return replace(runs({}), tables={"road": table, "weights": table, "age": table})


def test_claims_about_other_suites_read_their_tables() -> None:
    assert "road/summary.csv is not there" in judge(CLAIMS["road_weights"], runs({}), PUBLISHED, ROOT).reason
    ours = suite(seed=[0, 1, 2, 3], weight_ratio=[4.0, 5.0, 4.5, 4.2])
    assert verdict("road_weights", ours) == SUPPORTED
    assert verdict("road_return", ours) == NOT_RUN  # no offline MBPO in it
    four = [(env, seed) for env in ENVS[:4] for seed in range(4)]
    envs, seeds = zip(*four, strict=True)
    rising = suite(env=envs, seed=seeds, spearman=[0.9 + 0.01 * seed for seed in seeds], replay_over_random=0.5)
    assert verdict("weights_rise", rising) == SUPPORTED
    assert verdict("weights_random_low", rising) == CONTRADICTED


def test_the_paper_does_not_show_sixty_percent_at_the_end() -> None:
    found = judge(CLAIMS["humanoid_60"], runs({}), PUBLISHED, ROOT)
    assert found.published["humanoid"].value == pytest.approx(5323.0 / 4359.8, rel=1e-4)
    assert found.published_verdict == CONTRADICTED
    ((start, end),) = spans(PUBLISHED, CLAIMS["humanoid_60"], "humanoid")
    # at the readings: 120,000 below, 125,000 to 235,000 above, 240,000 below
    assert 120_000 < start <= 125_000
    assert 235_000 <= end < 240_000


def test_the_published_bars_are_means_of_ratios_and_bands_overlap() -> None:
    bars, bands = (judge(CLAIMS[name], runs({}), PUBLISHED, ROOT) for name in ("check_bars", "check_bands"))
    assert bars.verdict == SUPPORTED
    assert bands.verdict == CONTRADICTED
    assert {env for env, gap in bands.published.items() if gap.value > 0} == {"halfcheetah"}


def test_published_figures_give_the_published_numbers() -> None:
    for name, published in (("tom", 1.1174), ("pmac", 0.6805), ("vagram_mdn", 0.5902), ("vagram_ensemble", 0.7977)):
        found = judge(CLAIMS[f"average_{name}"], runs({}), PUBLISHED, ROOT)
        assert found.published["all"].value == pytest.approx(published, abs=0.0015)
    road = judge(CLAIMS["road_return"], runs({}), PUBLISHED, ROOT)
    assert road.published["all"].value == pytest.approx(7.57 + 141.09)


@given(st.floats(-5, 5), st.floats(0, 5), st.floats(-3, 3))
def test_rule_is_consistent(centre: float, half: float, threshold: float) -> None:
    claim = Claim("x", "x", "x", "ratio", "tom", region=(threshold, math.inf), needs=Needs(4))
    estimate = Estimate(centre, centre - half, centre + half, 4)
    opposite = replace(claim, region=(-math.inf, threshold))
    if holds(claim, estimate):
        assert holds(opposite, estimate) is not True or centre - half == centre + half == threshold
    if holds(claim, estimate) is False:
        assert holds(opposite, estimate) is True
    assert holds(claim, Estimate(centre, None, None, 1)) is None
    assert holds(claim, Estimate(centre, -math.inf, math.inf, 4)) is None


def test_verdict_holds_its_level_when_the_truth_lies_on_the_border() -> None:
    """With a true ratio of exactly 1.6, both wrong verdicts together come up in about 5 % of studies."""
    rng, wrong, repeats = np.random.default_rng(0), 0, 400
    claim = CLAIMS["humanoid_60"]
    for _ in range(repeats):
        top = {"tom": rng.normal(1_600, 80, 4), "mbpo": rng.normal(1_000, 50, 4)}
        rows = [(method, "humanoid", seed, 300_000, tops[seed]) for method, tops in top.items() for seed in range(4)]
        curves = pd.DataFrame(rows, columns=["method", "env", "seed", "env_steps", "cumulative_max"])
        wrong += decide(claim, MEASURES["ratio"](Evidence("paper", curves, {}), claim)) != INCONCLUSIVE
    assert wrong / repeats == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / repeats))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for part in ("reports/paper", "reports/tables/returns"):
        shutil.copytree(ROOT / part, tmp_path / part)
    shutil.copy(ROOT / "reports" / "claims.yaml", tmp_path / "reports" / "claims.yaml")
    return tmp_path


def test_same_tables_same_bytes(copy: Path) -> None:
    first = {path.name: path.read_bytes() for path in write(copy).iterdir()}
    assert {path.name: path.read_bytes() for path in write(copy).iterdir()} == first
    assert {"claims.csv", "by_env.csv", "claims.md", "metrics.json"} == set(first)
    assert b"nan" not in first["claims.md"].lower()


def test_metrics_are_named_by_what_may_be_compared() -> None:
    """Another scale, or runs that go less far, are other metrics; what the figures show depends on neither."""
    verdicts, whose = [SUPPORTED, NOT_RUN, CONTRADICTED, INCONCLUSIVE], ["", "", "", "somebody else, 2024"]
    table = pd.DataFrame({"check": [False, False, True, False], "paper": whose, "verdict": verdicts})
    seeds = pd.DataFrame({"scale": "quick", "method": "tom", "env": "hopper", "seed": [0, 1], "final": [1.0, 2.5]})
    final = {"final_return": {"tom": {"hopper": 1.8}}}
    claims = {"claims": {SUPPORTED: 1, CONTRADICTED: 0, INCONCLUSIVE: 0, "not_run": 1}}
    others = {SUPPORTED: 0, CONTRADICTED: 0, INCONCLUSIVE: 1, "not_run": 0}
    figures = {"checks_of_figures": {SUPPORTED: 0, CONTRADICTED: 1}, "claims_of_neighbours": others}
    assert metrics(table, seeds) == {**figures, "quick": {**claims, **final}}
    assert metrics(table, seeds.assign(scale="smoke")).keys() == {*figures, "smoke"}
    short = seeds.assign(env_steps=3_000, total_env_steps=6_500)
    assert metrics(table, short).keys() == {*figures, "quick (hopper 3,000 of 6,500)"}


def test_a_gap_in_a_table_is_refused_by_name(copy: Path) -> None:
    path = copy / "reports/tables/returns/curves_by_seed.csv"
    table = pd.read_csv(path)
    table.loc[3, "cumulative_max"] = np.nan
    table.to_csv(path, index=False)
    with pytest.raises(ResultsError, match=r"curves_by_seed.csv: row 4 has no finite cumulative_max"):
        read_ours(copy)
    table.drop(columns="seed").to_csv(path, index=False)
    with pytest.raises(ResultsError, match="has no column seed"):
        read_ours(copy)
    table = pd.read_csv(ROOT / "reports/tables/returns/curves_by_seed.csv")
    pd.concat([table, table.tail(1).assign(method="published", seed=None)]).to_csv(path, index=False)
    assert len(read_ours(copy).curves) == len(table)  # rows of published numbers are no runs
    path.unlink()
    with pytest.raises(ResultsError, match=r"is missing: tom repro makes it"):
        read_ours(copy)


FAULTS = {
    "unknown key": ("  regoin: [0, 1]\n", "regoin is not a key; nearest valid choice: region"),
    "no region": ("", "region is missing"),
    "odd region": ("  region: [1, 0]\n", r"region=\[1, 0\] is not \[low, high\]"),
    "measure": ("  region: [0, 1]\n  measure: leed\n", "measure=leed does not exist; nearest valid choice: lead"),
    "too many": ("  region: [0, 1]\n  envs: [ant]\n  in_envs: 2\n", "in_envs=2 is more than its 1 environments"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_in_claims_is_one_sentence(tmp_path: Path, case: str) -> None:
    lines, complaint = FAULTS[case]
    entry = "- id: one\n  text: t\n  place: p\n  method: tom\n" + lines
    entry += "" if "measure" in lines else "  measure: lead\n"
    path = tmp_path / "claims.yaml"
    path.write_text(f"claims:\n{entry}checks: []\nneighbours: []\n")
    with pytest.raises(ResultsError, match=complaint) as caught:
        read_claims(path, MEASURES)
    assert "one" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_table_shows_interval_and_says_where_a_ratio_holds() -> None:
    ours = runs({("tom", "humanoid"): 2_000.0})
    table = claims_table([judge(CLAIMS["humanoid_60"], ours, PUBLISHED, ROOT)], PUBLISHED)
    (line,) = [line for line in markdown(table) if "60 %" in line]
    assert "| supported | 2 [1.99" in line
    assert "only from about 122 k to 238 k env steps" in line and "| `humanoid_60` |" in line
    lacking = claims_table([judge(CLAIMS["humanoid_60"], runs({}, scale="quick"), PUBLISHED, ROOT)], PUBLISHED)
    (line,) = [line for line in markdown(lacking) if "60 %" in line]
    assert "the runs are of scale quick. In the paper's own figure" in line
    assert any("`1 of 2 envs [0, 2]`" in line for line in markdown(table))


def test_what_a_claim_needs_is_a_grid_and_in_its_row() -> None:
    runs_of = {name: needed(claim) for name, claim in CLAIMS.items()}
    assert runs_of["humanoid_60"] == Runs("", "paper", ("tom", "mbpo"), ("humanoid",), (0, 1, 2, 3))
    assert [str(runs_of[name]).partition(":")[0] for name in ("best_final", "weights_rise", "weights_not_recency")] == [
        "100 runs",
        "16 runs of the suite weights",
        "20 runs",
    ]
    assert [name for name, found in runs_of.items() if not found] == [
        "road_return",
        "road_weights",
        "check_bars",
        "check_bands",
    ]
    open_ = judge(CLAIMS["humanoid_60"], runs({}, scale="quick"), PUBLISHED, ROOT)
    wide = judge(CLAIMS["humanoid_60"], runs({("tom", "humanoid"): 1_700.0}, spread=100.0), PUBLISHED, ROOT)
    sure = judge(CLAIMS["humanoid_60"], runs({("tom", "humanoid"): 2_000.0}), PUBLISHED, ROOT)
    assert list(claims_table([open_, wide, sure], PUBLISHED)["to_decide"]) == [
        "8 runs: TOM, MBPO on Humanoid, seeds 0 to 3, scale paper (tom plan --claim humanoid_60)",
        "about 35 seeds: with so many the interval crosses no border, if the estimate and the spread between seeds "
        "stay as they are with 4 (tom plan --claim humanoid_60)",
        "",
    ]


def test_how_many_seeds_would_decide_follows_from_the_width_of_the_interval() -> None:
    claim = replace(CLAIMS["humanoid_60"], envs=("ant", "humanoid"))
    half = stats.t.ppf(0.975, [3, 7, 8]) / np.sqrt([4, 8, 9])  # of 4, 8 and 9 seeds with a spread of 1
    near = Estimate(1.6 + half[2], 1.6 + half[2] - half[0], 1.6 + half[2] + half[0], 4)
    assert half[1] > half[2] and settled_with(claim, near) == 9
    assert settled_with(claim, near._replace(value=1.6)) == math.inf, "on the border"
    assert math.isnan(settled_with(claim, Estimate(2.0, -math.inf, math.inf, 4)))
    few, sure, out = near._replace(n_seeds=2), Estimate(2.0, 1.9, 2.1, 2), Estimate(1.0, 0.9, 1.7, 4)
    assert settled_with(claim, sure) == 4, "as many as the claim asks for"
    assert settled_with(claim, few) == 4, "an interval of two seeds shrinks fast"
    both = {"ant": near, "humanoid": sure}
    assert enough_seeds(claim, both) == 9 and enough_seeds(replace(claim, in_envs=1), both) == 4
    assert enough_seeds(claim, {"ant": near, "humanoid": out}) == settled_with(claim, out), "one outside contradicts"
    assert math.isnan(enough_seeds(claim, {"ant": near}))


def test_the_plan_of_an_open_claim_has_the_seeds_that_would_decide_it(tmp_path: Path) -> None:
    (tmp_path / "reports/tables/claims").mkdir(parents=True)
    shutil.copy(ROOT / "reports/claims.yaml", tmp_path / "reports/claims.yaml")
    for spread, seeds in ((100.0, 35), (400.0, 4)):
        open_ = judge(CLAIMS["humanoid_60"], runs({("tom", "humanoid"): 1_700.0}, spread=spread), PUBLISHED, ROOT)
        claims_table([open_], PUBLISHED).to_csv(tmp_path / "reports/tables/claims/claims.csv", index=False)
        found = needed_by(["humanoid_60", "vagram_mdn_hopper"], tmp_path)
        assert found.seeds == tuple(range(seeds))
        assert len(found.because) == 1 and found.because[0].startswith("humanoid_60: ")
        said = f"about {seeds} seeds" if seeds > 4 else "more than 100 seeds"
        assert said in found.because[0]


def test_claims_of_one_scale_are_decided_together() -> None:
    assert needed_by(["humanoid_60", "vagram_mdn_hopper"], ROOT) == Runs(
        "", "paper", ("tom", "mbpo", "vagram_mdn"), ("humanoid", "hopper"), (0, 1, 2, 3)
    )
    for words, said in (
        (["humanoid_6"], "nearest valid choice: humanoid_60"),
        (["check_bars"], "is none that runs of a grid decide"),
        (["humanoid_60", "weights_rise"], "needs other runs than humanoid_60"),
    ):
        with pytest.raises(NoClaim, match=said):
            needed_by(words, ROOT)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("report",), r"tables/claims/claims.csv is missing: run tom repro"),
        (("report", "humanoid_60"), r"tables/claims/claims.csv is missing: run tom repro"),
        (("plan", "--claim", "humanoid_60"), r"claims.yaml: needs lists `claims` and `checks` and `neighbours`"),
    ],
)
def test_a_missing_table_and_broken_claims_are_one_sentence(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reports").mkdir()
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "reports/claims.yaml").write_text("claims: [")
    monkeypatch.chdir(tmp_path)
    assert said in complaint(typed(*words))
