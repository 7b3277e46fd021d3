"""What the suite asks, with the rules that decide it, written before any of its runs: bars, and claims of the abstract.

Returns are sums over agents, per env step. Where a method was left out of the suite its questions have no answer.
"""

from collections.abc import Iterator

import pandas as pd

from pipeline.analysis import stats

CATCHUP = "catchup"
BAR = -250.0  # half the way from a policy that keeps 40 m, -428, to the constant rule
EQUIVALENT = 0.1  # of |return|, by which decentralised learning may be below the other and count as a match
HALF = {"return_mean": "half"}
REFERENCES = {  # which of a run's returns is compared with which method's which
    "last_of_central": ("last", "cppo", "last"),
    "last_of_world": ("last", "dmpo_world", "last"),
    "half_of_free": ("half", "dppo", "best"),
}
YES, NO, OPEN = "yes", "no", "open"
Answer = tuple[str, str, str, str]  # environment, question, what was measured, answer


def answers(evals: pd.DataFrame, seeds: pd.DataFrame, rounds: pd.DataFrame, rules: pd.DataFrame) -> pd.DataFrame:
    """A row per network and question that its methods can answer: env, question, measured, answer."""
    rows: list[Answer] = []
    for env in seeds["env"].unique():
        here = {name: table[table["env"] == env] for name, table in (("evals", evals), ("seeds", seeds))}
        rows += _bars(env, here["evals"], here["seeds"], rules[rules["env"] == env])
        rows += _claims(env, here["evals"], here["seeds"])
        rows += _weights(env, rounds[rounds["env"] == env])
    return pd.DataFrame(rows, columns=["env", "question", "measured", "answer"])


def of(table: pd.DataFrame, method: str, column: str) -> pd.Series:
    """A column by seed of one method's rows; empty if it was not run."""
    return table[table["method"] == method].set_index("seed")[column]


def _bars(env: str, evals: pd.DataFrame, seeds: pd.DataFrame, rules: pd.DataFrame) -> Iterator[Answer]:
    best, last = of(seeds, "dppo", "best"), of(seeds, "dppo", "last")
    if best.empty:
        return
    if env == CATCHUP:
        won = int((best > BAR).sum())
        found = YES if won >= 2 * len(best) / 3 else NO
        yield env, f"does DPPO's best evaluation exceed {BAR:g} in two of three seeds?", _listed(best), found
    longest = max(evals["length_mean"].max(), rules["length"].max())
    lengths = of(seeds, "dppo", "last_length")
    stands = YES if (lengths >= longest).all() else NO
    yield env, "does DPPO's last evaluation end without a crash?", f"{_listed(lengths)} steps", stands
    constant = float(rules.loc[rules["rule"] == "constant", "return"].iloc[0])
    above, measured = YES if (last > constant).all() else NO, f"{_listed(last)} against {constant:.0f}"
    yield env, "does DPPO end above the constant action, with every seed?", measured, above


def _claims(env: str, evals: pd.DataFrame, seeds: pd.DataFrame) -> Iterator[Answer]:
    pairs = (
        ("dppo", "cppo", "does decentralised learning match centralised (model-free, 10 %)?"),
        ("dmpo", "dmpo_world", "does the learned model match the true one (10 %)?"),
    )
    for own, other, question in pairs:
        ours, theirs = of(seeds, own, "last"), of(seeds, other, "last")
        if not ours.empty and not theirs.empty:
            yield env, question, _listed(ours - theirs), matches(ours, theirs)
    ours = of(halves(evals), "dmpo", "half")
    theirs = of(seeds, "dppo", "best")
    if not ours.empty and not theirs.empty:
        found = YES if (ours >= theirs).all() else NO
        question = "is DMPO at half of the env steps as good as DPPO at all of them (best evaluations, every seed)?"
        yield env, question, _listed(ours - theirs), found


def halves(evals: pd.DataFrame) -> pd.DataFrame:
    """The best evaluation of every run in the first half of its env steps: env, method, seed, half."""
    first = evals[evals["env_steps"] <= evals["env_steps"].max() / 2]
    return first.groupby(["env", "method", "seed"], as_index=False)["return_mean"].max().rename(columns=HALF)


def claimed(evals: pd.DataFrame, seeds: pd.DataFrame, scale: str) -> pd.DataFrame:
    """What claims are decided on: a row per run, how far it is above each of REFERENCES in units of its |return|.

    No row of a network where one of them was not run.
    """
    runs, found = seeds.merge(halves(evals)), []
    for env, here in runs.groupby("env", sort=False):
        others = {name: of(here, method, column) for name, (_, method, column) in REFERENCES.items()}
        if any(other.empty for other in others.values()):
            continue
        by_seed = here.set_index("seed")
        gaps = {
            name: (by_seed[own] - others[name].reindex(by_seed.index)) / abs(others[name].mean())
            for name, (own, _, _) in REFERENCES.items()
        }
        found.append(pd.DataFrame({"scale": scale, "env": env, "method": by_seed["method"], **gaps}).reset_index())
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["scale", "env", "method", "seed"])


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
