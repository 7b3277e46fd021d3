"""What is recorded beside the returns of a run: how it was made, with which settings, and how wrong its model was."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from pipeline.analysis.extent import TOTAL
from pipeline.analysis.results import ResultsError, read_record, read_table, reading, recorded_text

RECORDED = ["git_commit", "finished", "cpu_s", "wall_s", "cpu", "device", "python", "torch", "numpy", "gymnasium"]
RECORDED += ["mujoco", "fingerprint", "source_digest"]
KEYS = ["scale", "method", "env", "seed"]
ERRORS = ["model/rmse", "model/rmse_weighted"]
LAST_SHARE = 0.1  # the rounds whose model error stands for a run, as a share of its env steps


def folders(results: Path, seeds: pd.DataFrame) -> dict[tuple[str, str, str, int], Path]:
    """The folder of every run in the table of seeds, by scale, method, env and seed."""
    return {key: results.joinpath(*map(str, key)) for key in seeds[KEYS].itertuples(index=False, name=None)}


def runs_table(results: Path, seeds: pd.DataFrame) -> pd.DataFrame:
    """One row per run: what its provenance.json says of commit, versions, hours and machine."""
    rows = []
    for key, folder in folders(results, seeds).items():
        found = read_record(folder, RECORDED)
        rows.append({**dict(zip(KEYS, key, strict=True)), **{name: found[name] for name in RECORDED}})
    lengths = ["env_steps", TOTAL] if TOTAL in seeds else []
    return pd.DataFrame(rows).join(seeds[lengths].reset_index(drop=True))


def model_error_table(results: Path, seeds: pd.DataFrame) -> pd.DataFrame:
    """Per run the mean model error over its last rounds beside its return; runs without a model are left out.

    rmse is over all stored transitions in units of each target's spread, rmse_weighted with the method's weights.
    """
    rows = []
    final = seeds.set_index(KEYS)
    for key, folder in folders(results, seeds).items():
        path = folder / "train.csv"
        rounds = read_table(path, "a table of rounds")
        rounds = rounds[rounds["env_steps"] < final.loc[key, "env_steps"]]  # a round comes before its step
        if rounds.empty or not set(ERRORS) <= set(rounds):
            continue
        errors = rounds[rounds["env_steps"] >= (1 - LAST_SHARE) * rounds["env_steps"].max()][ERRORS].to_numpy(float)
        if not np.isfinite(errors).all():
            raise ResultsError(f"{path}: its last rounds have no finite {' or '.join(ERRORS)}")
        rows.append((*key, *errors.mean(0), final.loc[key, "cumulative_max"]))
    return pd.DataFrame(rows, columns=[*KEYS, "rmse", "rmse_weighted", "cumulative_max"])


def settings_of(folder: Path) -> dict[str, Any]:
    """The resolved settings of a run by dotted key, a part's name under the part's own (`weighting`)."""
    path = folder / "config.yaml"
    with reading(path, "the settings of a run"):
        config: Any = OmegaConf.to_container(OmegaConf.create(recorded_text(path)))
    flat: dict[str, Any] = {}
    for part, section in config.items():
        if isinstance(section, dict):
            name = section.get("name")
            flat |= {f"{part}.{name}.{key}" if name else f"{part}.{key}": value for key, value in section.items()}
            if name:
                flat[part] = flat.pop(f"{part}.{name}.name")
    return flat


def settings_table(results: Path, seeds: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """One row per setting: its value in each method (all values, where environments differ) and in the paper."""
    rows = [
        (key, method, str(value))
        for (_, method, _, _), folder in folders(results, seeds).items()
        for key, value in settings_of(folder).items()
    ]
    long = pd.DataFrame(rows, columns=["setting", "method", "value"]).drop_duplicates()
    wide = long.groupby(["setting", "method"])["value"].agg(" / ".join).unstack(fill_value="")
    table = wide[long["method"].unique()].reset_index()
    return table.merge(paper.rename(columns={"key": "setting"}), on="setting", how="left").drop(columns="source")
