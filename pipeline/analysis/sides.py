"""What a word on the command line stands for: the runs of a method, a scale, a folder or a git revision."""

import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from omegaconf import OmegaConf

from pipeline.analysis.extent import TOTAL
from pipeline.analysis.results import RECORD, ResultsError, nearest, read_evaluations, total_env_steps, total_in

RESULTS = Path("reports") / "results"


class Side(NamedTuple):
    """One of the two: how it was called, what it was taken for, and its evaluations with method, env and seed.

    And with TOTAL, the env steps of the whole run of which they are a part, or all.
    """

    name: str
    what: str
    runs: pd.DataFrame


def side(name: str, scale: str, root: Path) -> Side:
    """The runs that a word stands for; ResultsError with the nearest word if it stands for none."""
    results = root / RESULTS
    scales = sorted(path.name for path in results.glob("*") if path.is_dir())
    methods = sorted({path.name for path in results.glob(f"{scale}/*") if path.is_dir()})
    if name in methods:
        return Side(name, f"method {name}, scale {scale}", _folders(results / scale / name))
    if name in scales:
        return Side(name, f"scale {name}", _folders(results / name))
    if (root / name).is_dir():
        return Side(name, f"folder {name}", _folders(root / name))
    revision = _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()
    if revision:
        return Side(name, f"revision {revision[:12]}, scale {scale}", _revision(root, revision, scale))
    known = [*methods, *scales]
    raise ResultsError(f"{name} is no method or scale with results, no folder and no revision; {nearest(name, known)}")


def _folders(folder: Path) -> pd.DataFrame:
    """Every run below a folder. A run's method, env and seed are in its config.yaml, else in its path."""
    found = []
    for path in sorted(folder.rglob("evals.csv")):
        if any(part.endswith((".partial", ".tmp")) for part in path.parts):
            continue
        config = path.with_name("config.yaml")
        values: Any = OmegaConf.load(config) if config.is_file() else {}
        method, env, seed = (values.get(key) for key in ("method", "env", "seed"))
        if method is None or env is None or seed is None:
            method, env, seed = path.parts[-4:-1]
        rows = read_evaluations(path)
        total = total_env_steps(path.parent, int(rows["env_steps"].iloc[-1]))
        found.append(rows.assign(method=str(method), env=str(env), seed=int(seed), **{TOTAL: total}))
    if not found:
        raise ResultsError(f"{folder} has no run: no evals.csv lies below it")
    return pd.concat(found, ignore_index=True)


def _revision(root: Path, revision: str, scale: str) -> pd.DataFrame:
    """The results recorded in a commit at a scale, read without touching the working tree."""
    place = (RESULTS / scale).as_posix()
    names = _git(root, "ls-tree", "-r", "--name-only", revision, f"{place}/").split()
    found = []
    for name in names:
        if name.endswith("/evals.csv"):
            text = _git(root, "show", f"{revision}:./{name}")  # ./: in another repository too
            method, env, seed = name.split("/")[-4:-1]
            rows = read_evaluations(Path(f"{revision[:12]}:{name}"), text)
            record = f"{name.rpartition('/')[0]}/{RECORD}"
            total = total_in(record, _git(root, "show", f"{revision}:./{record}"), int(rows["env_steps"].iloc[-1]))
            found.append(rows.assign(method=method, env=env, seed=int(seed), **{TOTAL: total}))
    if not found:
        raise ResultsError(f"revision {revision[:12]} has no results at scale {scale}")
    return pd.concat(found, ignore_index=True)


def _git(root: Path, *words: str) -> str:
    """What git prints; nothing where it fails."""
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""
