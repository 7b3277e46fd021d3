"""What the suite asks, with the rules that decide it, written before any of its runs: bars, and claims of the abstract.

Returns are sums over agents, per env step. Where a method was left out of the suite its questions have no answer.
"""

from collections.abc import Iterator

import pandas as pd

from pipeline.analysis import stats

CATCHUP = "catchup"
BAR = -250.0  # half the way from a policy that keeps 40 m, -428, to the constant rule
EQUIVALENT = 0.1  # of |return|, by which decentralised learning may be below the other and count as a match
ASKED = {  # by the claim's column: whose return is compared, which one, with whose, which one; and the question
    "last_of_central": (
        *("dppo", "last", "cppo", "last"),
        "does decentralised learning match centralised (model-free, 10 %)?",
    ),
    "last_of_world": ("dmpo", "last", "dmpo_world", "last", "does the learned model match the true one (10 %)?"),
    "half_of_free": (
        *("dmpo", "half", "dppo", "best"),
        "is DMPO at half of the env steps as good as DPPO at all of them (best evaluations, every seed)?",
    ),
}
YES, NO, OPEN = "yes", "no", "open"
Answer = tuple[str, str, str, str]  # environment, question, what was measured, answer


def answers(evals: pd.DataFrame, seeds: pd.DataFrame, rounds: pd.DataFrame, rules: pd.DataFrame) -> pd.DataFrame:
    """A row per network and question that its methods can answer: env, question, measured, answer."""
    rows: list[Answer] = []
    for name, runs in with_halves(evals, seeds).groupby("env", sort=False):
        env, longest = str(name), evals.loc[evals["env"] == name, "length_mean"].max()
        rows += [*_bars(env, runs, rules[rules["env"] == env], longest), *_claims(env, runs)]
        rows += _weights(env, rounds[rounds["env"] == env])
    return pd.DataFrame(rows, columns=["env", "question", "measured", "answer"])


def of(table: pd.DataFrame, method: str, column: str) -> pd.Series:
    """A column by seed of one method's rows; empty if it was not run."""
    return table[table["method"] == method].set_index("seed")[column]


def _bars(env: str, runs: pd.DataFrame, rules: pd.DataFrame, longest: float) -> Iterator[Answer]:
    best, last, lengths = (of(runs, "dppo", column) for column in ("best", "last", "last_length"))
    if best.empty:
        return
    if env == CATCHUP:
        won = int((best > BAR).sum())
        found = YES if won >= 2 * len(best) / 3 else NO
        yield env, f"does DPPO's best evaluation exceed {BAR:g} in two of three seeds?", _listed(best), found
    stands = YES if (lengths >= max(longest, rules["length"].max())).all() else NO
    yield env, "does DPPO's last evaluation end without a crash?", f"{_listed(lengths)} steps", stands
    constant = float(rules.loc[rules["rule"] == "constant", "return"].iloc[0])
    above, measured = YES if (last > constant).all() else NO, f"{_listed(last)} against {constant:.0f}"
    yield env, "does DPPO end above the constant action, with every seed?", measured, above


def _claims(env: str, runs: pd.DataFrame) -> Iterator[Answer]:
    for method, own, other, reference, question in ASKED.values():
        ours, theirs = of(runs, method, own), of(runs, other, reference)
        if not ours.empty and not theirs.empty:
            found = matches(ours, theirs) if own == reference else YES if (ours >= theirs).all() else NO
            yield env, question, _listed(ours - theirs), found


def with_halves(evals: pd.DataFrame, seeds: pd.DataFrame) -> pd.DataFrame:
    """A row per run, with its best evaluation in the first half of its network's env steps as `half`."""
    first = evals[evals["env_steps"] <= evals.groupby("env")["env_steps"].transform("max") / 2]
    best = first.groupby(["env", "method", "seed"])["return_mean"].max().rename("half")
    return seeds.join(best, on=["env", "method", "seed"])


def claimed(evals: pd.DataFrame, seeds: pd.DataFrame, scale: str) -> pd.DataFrame:
    """What claims are decided on: a row per run, how far it is above what is ASKED beside, in units of its |return|.

    No row of a network where one of the others was not run.
    """
    found = []
    for env, runs in with_halves(evals, seeds).groupby("env", sort=False):
        runs, gaps = runs.set_index("seed"), {}
        for name, (_, own, other, column, _) in ASKED.items():
            theirs = runs[runs["method"] == other][column]
            gaps[name] = (runs[own] - theirs.reindex(runs.index)) / abs(theirs.mean())
        if all(gap.notna().any() for gap in gaps.values()):
            found.append(pd.DataFrame({"scale": scale, "env": env, "method": runs["method"], **gaps}).reset_index())
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["seed", "scale", "env", "method"])


def matches(ours: pd.Series, theirs: pd.Series) -> str:
    """One-sided equivalence, paired by seed: the whole 95 % interval is above -EQUIVALENT |other|, or all below it."""
    _, low, high = stats.mean_interval(ours - theirs)
    margin = EQUIVALENT * abs(theirs.mean())
    return {1: YES, 0: OPEN, -1: NO}[stats.side(low, high, of=-margin)]


def _weights(env: str, rounds: pd.DataFrame) -> Iterator[Answer]:
    drift = rounds[rounds["number"] == "model/drift"].groupby(["method", "seed"], as_index=False)["value"].mean()
    ratio = of(drift, "dmpo_ratio", "value")
    plain = {method: of(drift, method, "value") for method in ("dmpo", "dmpo_all")}
    if ratio.empty or any(values.empty for values in plain.values()):
        return
    gains = [stats.side(*stats.mean_interval(values - ratio)[1:]) for values in plain.values()]
    measured = ", ".join(f"{values.mean() - ratio.mean():+.3f} below {method}" for method, values in plain.items())
    question = "does the ratio lower the rollout error against both uniforms (newest data, all data)?"
    yield env, question, measured, {1: YES, 0: OPEN, -1: NO}[min(gains)]


def _listed(values: pd.Series) -> str:
    return ", ".join(f"{value:.0f}" for value in values)
