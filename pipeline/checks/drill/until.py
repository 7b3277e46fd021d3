"""Runs that stop at a random `until` and are lengthened twice: by hand, in a batch, and as a grid that DVC keeps."""

import random
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

from pipeline.checks.drill.trial import Outcome, Run, Target, outcome_of, write_params
from pipeline.checks.drill.twice import METHODS
from pipeline.engines.processes import python
from pipeline.files import ROOT, git
from pipeline.runs.folder import CHECKPOINTS, different, provenance

ENVS = ("hopper", "ant")
TARGETS = [Target(method, env) for method, env in product(METHODS, ENVS)]
SEEDS = (0, 1)
EVERY, END = 50, 600  # env steps between evaluations, where a run can stop, and of a whole run at scale smoke
EVALUATED = f"train.eval_every_env_steps={EVERY}"
CLEAN = "Data and pipelines are up to date."


def until(jobs: int, seed: int, scratch: Path) -> Iterator[Outcome]:
    """Six methods on two environments, each way."""
    ways = {"stopped at until, lengthened twice: same bytes": _alone, "the same, two seeds in a batch": _batch}
    for what, way in ways.items():
        yield outcome_of(what, partial(way, seed=seed, scratch=scratch), TARGETS, jobs)
    wrong = list(_grid(jobs, seed, scratch / "grid", scratch))
    yield Outcome("the same as a grid: dvc status, nothing lowered trains", int(not wrong), 1, "; ".join(wrong))


def stops_of(name: str, seed: int) -> list[int]:
    """Two env steps within a run, in order, always the same ones."""
    return sorted(random.Random(f"{seed} {name}").sample(range(EVERY, END, EVERY), 2))


def _alone(target: Target, seed: int, scratch: Path) -> bool:
    run, whole = (Run(scratch / "until" / f"{target.method}-{target.env}-{side}", target) for side in ("", "whole"))
    first, second = stops_of(f"{target.method} {target.env}", seed)
    passed = whole.done(EVALUATED).returncode == 0
    for stop in (first, second, first):  # the last of them has nothing to do
        done = run.done(EVALUATED, f"until={stop}")
        passed &= done.returncode == 0 and _is_kept(run, max(stop, provenance(run.folder).get("env_steps", 0)))
    passed &= "already trained" in done.stdout and provenance(run.folder)["env_steps"] == second
    return passed and run.done(EVALUATED).returncode == 0 and run.is_like(whole.folder)


def _is_kept(run: Run, env_steps: int) -> bool:
    """Whether it is finished as far as these env steps, and can go on from there."""
    kept = [path.name for path in (run.folder / CHECKPOINTS).glob("*")]
    return kept == [f"{env_steps:09d}"] and not run.partial.exists()


def _batch(target: Target, seed: int, scratch: Path) -> bool:
    target = Target(target.method, target.env, SEEDS)
    run, whole = Run(scratch / "together" / f"{target.method}-{target.env}", target), _whole(target, scratch)
    stops = stops_of(f"{target.method} {target.env} together", seed)
    each = [whole.done(EVALUATED), *(run.done(EVALUATED, f"until={stop}") for stop in stops), run.done(EVALUATED)]
    failed = any(done.returncode for done in each)
    return not failed and all(Run(run.folder / str(s)).is_like(whole.folder / str(s)) for s in SEEDS)


def _whole(target: Target, scratch: Path) -> Run:
    return Run(scratch / "together" / f"{target.method}-{target.env}-whole", target)


def _grid(jobs: int, seed: int, root: Path, scratch: Path) -> Iterator[str]:
    """What went wrong with the grid of all of them, in a copy of the repository."""
    _copy(root)
    stops = {env: stops_of(env, seed) for env in ENVS}
    lengths = [{env: stops[env][place] for env in ENVS} for place in (0, 1)]
    for turn, wanted in enumerate((*lengths, {}, lengths[0])):
        _write(root, wanted)
        said = _python(root, "-m", "pipeline.app", "repro", "--jobs", str(jobs), "--batch", str(len(SEEDS)))
        if turn == 3 and " 0 to train" not in said:
            yield f"lowered to {wanted}, it trained"
        if CLEAN not in (status := _python(root, "-m", "dvc", "status", "dvc.yaml")):
            yield f"until {wanted}: dvc status says {' '.join(status.split())[:200]}"
    for target, each in product(TARGETS, SEEDS):
        found = root / "reports/results/smoke" / target.method / target.env / str(each)
        whole = _whole(target, scratch).folder / str(each)
        if not provenance(found) or different(found, whole):
            yield f"{target.method} {target.env} seed {each} differs"


def _copy(root: Path) -> None:
    """The repository's files as git knows them, as a repository of its own."""
    listed = git(ROOT, "ls-files", "-z")
    listed.check_returncode()
    for name in filter(None, listed.stdout.split("\0")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    git(root, "init", "-q").check_returncode()


def _write(root: Path, wanted: dict[str, int]) -> None:
    """params.yaml with the grid of all targets, each environment with its own until."""
    grid = {"methods": [*METHODS], "envs": [*ENVS], "seeds": [*SEEDS]} | ({"until": wanted} if wanted else {})
    write_params(root, scale="smoke", tracking="off", grid=grid, all={"train": {"eval_every_env_steps": EVERY}})


def _python(root: Path, *words: str) -> str:
    done = python(root, *words)
    return done.stdout + done.stderr
