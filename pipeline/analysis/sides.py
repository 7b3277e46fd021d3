"""What a word on the command line stands for: the runs of a method, a scale, a folder or a git revision."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from omegaconf import OmegaConf

from pipeline.analysis.results import ResultsError, nearest, read_evaluations, reading
from pipeline.analysis.runs import RUN
from pipeline.files import git, read_yaml

RESULTS = Path("reports") / "results"


class Side(NamedTuple):
    """One of those compared: how it was called, what it was taken for, and its evaluations with method, env and seed.

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
    revision = git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").stdout.strip()
    if revision:
        return Side(name, f"revision {revision[:12]}, scale {scale}", _revision(root, revision, scale))
    with reading(params := root / "params.yaml", "a file with methods"):
        named = read_yaml(params.read_text(encoding="utf-8")).get("methods", [])
    if name in named:
        raise ResultsError(f"{name} has no results at scale {scale}; put it into `grid:` in params.yaml and train it")
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
        names = [values.get(key) for key in RUN]
        found.append(_of_run(read_evaluations(path), path.parts[-4:-1] if None in names else names))
    if not found:
        raise ResultsError(f"{folder} has no run: no evals.csv lies below it")
    return pd.concat(found, ignore_index=True)


def _revision(root: Path, revision: str, scale: str) -> pd.DataFrame:
    """The results recorded in a commit at a scale, read without touching the working tree."""
    place = (RESULTS / scale).as_posix()
    listed = git(root, "ls-tree", "-r", "--name-only", revision, f"{place}/").stdout.split()
    files = [Path(f"{revision}:./{name}") for name in listed]  # ./: in another repository too

    def text_of(path: Path) -> str:
        if path not in files:
            raise FileNotFoundError(path)
        return git(root, "show", path.as_posix()).stdout

    paths = [path for path in files if path.name == "evals.csv"]
    if not paths:
        raise ResultsError(f"revision {revision[:12]} has no results at scale {scale}")
    return pd.concat([_of_run(read_evaluations(p, text_of), p.parts[-4:-1]) for p in paths], ignore_index=True)


def _of_run(rows: pd.DataFrame, names: Sequence[Any]) -> pd.DataFrame:
    method, env, seed = names
    return rows.assign(method=str(method), env=str(env), seed=int(seed))
