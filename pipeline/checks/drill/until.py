"""Runs that stop at a random `until` and are lengthened twice: by hand, in a batch, and as a grid that DVC keeps."""

import random
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

from pipeline.checks.drill.trial import Outcome, Target, outcome_of, run, same, write_params
from pipeline.checks.drill.twice import METHODS
from pipeline.engines.processes import python
from pipeline.files import ROOT, git
from pipeline.runs.folder import CHECKPOINTS, beside, different, provenance

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
    folder, undisturbed = (scratch / "until" / f"{target.method}-{target.env}-{side}" for side in ("", "whole"))
    first, second = stops_of(f"{target.method} {target.env}", seed)
    passed = run(target.command(undisturbed, EVALUATED)).returncode == 0
    for stop in (first, second, first):  # the last of them has nothing to do
        done = run(target.command(folder, EVALUATED, f"until={stop}"))
        passed &= done.returncode == 0 and _is_kept(folder, max(stop, provenance(folder).get("env_steps", 0)))
    passed &= "already trained" in done.stdout and provenance(folder)["env_steps"] == second
    return passed and run(target.command(folder, EVALUATED)).returncode == 0 and same(folder, undisturbed)


def _is_kept(folder: Path, env_steps: int) -> bool:
    """Whether the folder is finished as far as these env steps, and can go on from there."""
    kept = [path.name for path in (folder / CHECKPOINTS).glob("*")]
    return kept == [f"{env_steps:09d}"] and not beside(folder, ".partial").exists()


def _batch(target: Target, seed: int, scratch: Path) -> bool:
    target = Target(target.method, target.env, SEEDS)
    folder = scratch / "together" / f"{target.method}-{target.env}"
    stops = stops_of(f"{target.method} {target.env} together", seed)
    codes = [run(target.command(_whole(target, scratch), EVALUATED)).returncode]
    codes += [run(target.command(folder, EVALUATED, f"until={stop}")).returncode for stop in stops]
    codes += [run(target.command(folder, EVALUATED)).returncode]
    return not any(codes) and all(same(folder / str(s), _whole(target, scratch) / str(s)) for s in SEEDS)


def _whole(target: Target, scratch: Path) -> Path:
    return scratch / "together" / f"{target.method}-{target.env}-whole"


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
        whole = _whole(target, scratch) / str(each)
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
