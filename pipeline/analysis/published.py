"""The digitised figures of the paper (Ma et al., 2023), as they are compared with ours."""

from pathlib import Path

import pandas as pd

METHODS = {"tom": "tom", "mbpo": "offline_mbpo"}  # ours by name, and what Figure 2 calls them
SPELLED = {"walker": "walker2d"}  # an environment of the digitised Figure 4 under our name
PUBLISHED_WARMUP_ENV_STEPS = 5_000  # the paper's clock starts after the random steps, ours counts them


def road(paper: Path, within: tuple[float, float]) -> dict[tuple[str, str], float]:
    """Of Figure 2 by method and quantity: the last return of each curve; mean weights of the map's nodes.

    The road is `within` these |x| and |y|.
    """
    curves, nodes = pd.read_csv(paper / "fig2_road_and_rocks.csv"), pd.read_csv(paper / "fig2_heatmap.csv")
    on = (nodes["x"].abs() <= within[0]) & (nodes["y"].abs() <= within[1])
    found = {("tom", "weight_on_road"): nodes.loc[on, "weight"].mean()}
    found["tom", "weight_off_road"] = nodes.loc[~on, "weight"].mean()
    found["tom", "weight_ratio"] = found["tom", "weight_on_road"] / found["tom", "weight_off_road"]
    for method, name in METHODS.items():
        found[method, "final_return"] = curves.loc[curves["method"] == name, "return_mean"].iloc[-1]
    return {key: float(value) for key, value in found.items()}


def weights(paper: Path) -> pd.DataFrame:
    """The bars of Figure 4: env, chunk, part, weight and spread, in units of the mean of an environment's bars."""
    bars = pd.read_csv(paper / "fig4_weights.csv")
    env = bars["env"].str.lower().replace(SPELLED)
    mean = bars.groupby(env)["weight_mean"].transform("mean")
    columns = {"env": env, "chunk": bars["chunk_index"], "part": bars["segment"]}
    return pd.DataFrame({**columns, "weight": bars["weight_mean"] / mean, "spread": bars["weight_err"] / mean})
