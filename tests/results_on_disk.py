"""Writes evaluations as trainings leave them, for the tests of tables and figures."""

import json
from collections.abc import Callable
from pathlib import Path

from pipeline.files import sha256

HEADER = "env_steps,return_mean,return_std,return_min,return_max,length_mean"
PUBLISHED = Path(__file__).parents[1] / "reports" / "paper" / "fig3_curves.csv"

# The return of a method on an environment with a seed, by env step.
Curve = Callable[[str, str, int, int], float]


def straight(method: str, env: str, seed: int, env_steps: int) -> float:
    """Rises by 1 a step for mbpo and by 2 for others; seeds lie 10 apart; HalfCheetah starts at -100."""
    start = -100.0 if env == "halfcheetah" else 0.0
    return start + (1.0 if method == "mbpo" else 2.0) * env_steps + (10.0 * seed if env_steps else 0.0)


def write_results(
    root: Path,
    curve: Curve = straight,
    *,
    scale: str = "quick",
    methods: tuple[str, ...] = ("mbpo", "tom"),
    envs: tuple[str, ...] = ("hopper", "halfcheetah"),
    seeds: tuple[int, ...] = (0, 1),
    env_steps: tuple[int, ...] = (0, 100, 200),
) -> None:
    """params.yaml and every cell of its grid below `root`, with the published curves beside them."""
    grid = f"  methods: [{', '.join(methods)}]\n  envs: [{', '.join(envs)}]\n  seeds: {list(seeds)}\n"
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(f"scale: {scale}\ngrid:\n{grid}")
    for method in methods:
        for env in envs:
            for seed in seeds:
                rows = [(step, curve(method, env, seed, step)) for step in env_steps]
                write_cell(root / "reports" / "results" / scale / method / env / str(seed), rows)
    paper = root / "reports" / "paper"
    paper.mkdir(parents=True, exist_ok=True)
    (paper / PUBLISHED.name).write_bytes(PUBLISHED.read_bytes())


def write_cell(folder: Path, rows: list[tuple[int, float]]) -> None:
    """One evals.csv with the given env steps and mean returns."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{step},{value!r},0.0,{value!r},{value!r},50.0" for step, value in rows]
    (folder / "evals.csv").write_text("\n".join([HEADER, *lines]) + "\n")


def seal(folder: Path) -> None:
    """Writes the digests of the files of a result into its record, as they are now."""
    record = folder / "provenance.json"
    found = json.loads(record.read_text())
    record.write_text(json.dumps({**found, "sha256": {name: sha256(folder / name) for name in found["sha256"]}}))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
