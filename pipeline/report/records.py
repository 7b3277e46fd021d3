"""What is recorded beside the returns of a run: how it was made, with which settings, and how wrong its model was."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from pipeline.analysis.extent import TOTAL
from pipeline.analysis.results import ResultsError

RECORDED = ["git_commit", "finished", "cpu_s", "wall_s", "cpu", "device", "python", "torch", "numpy", "gymnasium"]
RECORDED += ["mujoco", "fingerprint", "source_digest"]
ERRORS = ["model/rmse", "model/rmse_weighted"]
LAST_SHARE = 0.1  # the rounds whose model error stands for a run, as a share of its env steps


def folders(results: Path, seeds: pd.DataFrame) -> dict[tuple[str, str, str, int], Path]:
    """The folder of every run in the table of seeds, by scale, method, env and seed."""
    return {
        (row.scale, row.method, row.env, row.seed): results / row.scale / row.method / row.env / str(row.seed)
        for row in seeds.itertuples()
    }


def runs_table(results: Path, seeds: pd.DataFrame) -> pd.DataFrame:
    """One row per run: what its provenance.json says of commit, versions, hours and machine."""
    rows = []
    for (scale, method, env, seed), folder in folders(results, seeds).items():
        try:
            found = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
            recorded = {name: found[name] for name in RECORDED}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ResultsError(f"{folder / 'provenance.json'}: not the record of a run ({error})") from None
        rows.append({"scale": scale, "method": method, "env": env, "seed": seed, **recorded})
    lengths = ["env_steps", TOTAL] if TOTAL in seeds else []
    return pd.DataFrame(rows).join(seeds[lengths].reset_index(drop=True))


def model_error_table(results: Path, seeds: pd.DataFrame) -> pd.DataFrame:
    """Per run the mean model error over its last rounds beside its return; runs without a model are left out.

    rmse is over all stored transitions in units of each target's spread, rmse_weighted with the method's weights.
    """
    rows = []
    final = seeds.set_index(["scale", "method", "env", "seed"])
    for key, folder in folders(results, seeds).items():
        path = folder / "train.csv"
        if not path.is_file():
            raise ResultsError(f"{path} is missing")
        rounds = pd.read_csv(path)
        rounds = rounds[rounds["env_steps"] < final.loc[key, "env_steps"]]  # a round comes before its step
        if rounds.empty or not set(ERRORS) <= set(rounds):
            continue
        last = rounds[rounds["env_steps"] >= (1 - LAST_SHARE) * rounds["env_steps"].max()]
        errors = last[ERRORS].to_numpy(dtype=float)
        if not np.isfinite(errors).all():
            raise ResultsError(f"{path}: its last rounds have no finite {' or '.join(ERRORS)}")
        names = dict(zip(("scale", "method", "env", "seed"), key, strict=True))
        values = dict(zip(("rmse", "rmse_weighted"), errors.mean(0), strict=True))
        rows.append({**names, **values, "cumulative_max": final.loc[key, "cumulative_max"]})
    columns = ["scale", "method", "env", "seed", "rmse", "rmse_weighted", "cumulative_max"]
    return pd.DataFrame(rows, columns=columns)


def settings_of(folder: Path) -> dict[str, Any]:
    """The resolved settings of a run by dotted key, a part's name under the part's own (`weighting`)."""
    path = folder / "config.yaml"
    if not path.is_file():
        raise ResultsError(f"{path} is missing")
    config: Any = OmegaConf.to_container(OmegaConf.load(path))
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
    by_method: dict[str, dict[str, list[str]]] = {}
    for (_, method, _, _), folder in folders(results, seeds).items():
        for key, value in settings_of(folder).items():
            values = by_method.setdefault(method, {}).setdefault(key, [])
            if str(value) not in values:
                values.append(str(value))
    keys = sorted({key for settings in by_method.values() for key in settings})
    rows = [
        {"setting": key, **{method: " / ".join(found.get(key, [])) for method, found in by_method.items()}}
        for key in keys
    ]
    table = pd.DataFrame(rows).merge(paper.rename(columns={"key": "setting"}), on="setting", how="left")
    return table.drop(columns="source")
