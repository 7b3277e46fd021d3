"""Accepts a change of code that leaves the numbers as they are, so that what is recorded need not be made again.

The code of the commit `base` and the code as it is now each make short versions of all that is recorded
(pipeline/witness.py), every method and suite. If all that seeds decide has the same bytes, but for columns and numbers
that are logged since, then what the code of `base` made counts as made by this code: runs, the checkpoints of those
that are to go on, results of suites, Road-and-Rocks, data sets. Evidence is that of a commit, which
is `base` then: once what is here is committed, params.yaml can name the new commit, and nothing is trained again.
"""

import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path

from pipeline.config.params import Params, load_params
from pipeline.engines.processes import dvc, environment
from pipeline.files import CODE, ROOT, git
from pipeline.runs.folder import CHECKPOINTS, OPTIONAL, SEEDED, Refused, accept_record, alike
from pipeline.suites.evidence.cells import STAGES as EVIDENCE
from pipeline.suites.returns.cells import RETURNS
from pipeline.suites.returns.work import NO_TRAINING
from pipeline.suites.suite import kinds
from pipeline.witness import DIGESTS
from tom.settings.fields import SettingsError

ROWS = ("numbers.csv", "curves.csv", "weights.csv")  # by number or method: there may be more of them since
COMPARED = {  # what is compared, below the folders of a witness
    "runs/*/*": (*SEEDED, *OPTIONAL),
    "runs/datasets/*": ("transitions.npz",),
    **{f"reports/{name}/*/*/*": kind.files for name, kind in kinds().items()},
    **dict.fromkeys(("road", "gorge"), ("curves.csv", "weights.csv")),
}


def accepted(base: str) -> int:
    """0 when the change since the commit `base` is accepted, 1 if numbers differ; Refused if nobody can tell."""
    with tempfile.TemporaryDirectory() as folder:
        return accept(load_params(), base, Path(folder))


def accept(params: Params, base: str, scratch: Path) -> int:
    """Compares the code of `base` with the code here and, if the bytes are equal, marks what that of `base` made."""
    old = checked_out(base, scratch / "base")
    before, now = heard({scratch / "old": old, scratch / "new": ROOT}, _envs(params, old))
    if unlike := list(different(before, now)):
        print(f"not accepted, the bytes differ from those of {base}: {'; '.join(unlike)}", file=sys.stderr)
        return 1
    marked = list(mark(*(json.loads((folder / DIGESTS).read_text(encoding="utf-8")) for folder in (before, now))))
    print(f"accepted: same bytes as {base}; {len(marked)} records of that code now count as made by this code")
    return register(params)


def checked_out(base: str, folder: Path) -> Path:
    """The code of a commit in a folder, with params.yaml as it is now, or as it was where that code cannot read it.

    SettingsError if there is no such commit; Refused if the code is in no repository.
    """
    if (head := git(CODE, "rev-parse", "HEAD")).returncode:
        raise Refused("the code is not in a git repository, so nobody can tell what it was")
    named = git(CODE, "rev-parse", "--quiet", "--verify", "--end-of-options", f"{base}^{{commit}}")
    if named.returncode:
        raise SettingsError(f"base={base} is no commit; nearest valid choice: base=HEAD, {head.stdout[:10]}")
    command = ["git", "archive", named.stdout.strip()]
    packed = subprocess.run(command, cwd=CODE, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    own = (folder / "params.yaml").read_bytes()
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    with asked(folder) as process:  # whether it can read them
        process.communicate()
    if process.returncode:
        (folder / "params.yaml").write_bytes(own)
    return folder


def asked(tree: Path, *words: str) -> "subprocess.Popen[str]":
    """The witness of a tree, by the code there, as it begins."""
    command, there = [sys.executable, "-m", "pipeline.witness", *words], environment(PYTHONPATH=str(tree))
    return subprocess.Popen(command, cwd=tree, env=there, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def heard(trees: Mapping[Path, Path], envs: Sequence[str]) -> list[Path]:
    """What each tree's own code makes, in the folder that is its key; Refused if it cannot."""
    words = f"records={ROOT}", f"envs={','.join(envs)}"
    running = {}
    for folder, tree in trees.items():
        folder.mkdir()
        running[folder] = asked(tree, f"folder={folder}", *words)
    for folder, process in running.items():
        said = process.communicate()[1].strip().splitlines()
        if process.returncode:
            raise Refused(f"the {folder.name} code does not run: {said[-1] if said else process.returncode}")
    return list(trees)


def different(before: Path, now: Path) -> Iterator[str]:
    """Names of the files, of those that COMPARED tells, that do not say now what they said before."""
    for pattern, names in COMPARED.items():
        for folder, name in product(sorted(before.glob(pattern)), names):
            path = (folder / name).relative_to(before)
            if not (before / path).is_file() or alike(before / path, now / path):
                continue
            if name not in ROWS or not (now / path).is_file() or lines(before / path) - lines(now / path):
                yield str(path)


def lines(path: Path) -> set[str]:
    """The different lines of a file."""
    return set(path.read_text(encoding="utf-8").splitlines())


def mark(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Path]:
    """Lets each record that has the digest `before` have the digest `now` too; gives those that it changed."""
    for name in before.keys() & now.keys():
        path, keys = ROOT / name, ("identity",) if CHECKPOINTS in Path(name).parts else ()
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):  # torn or gone: nobody relies on it
            if accept_record(path, before[name], now[name], *keys):
                yield path


def register(params: Params) -> int:
    """Lets DVC know: configures, then records what is finished; trains nothing."""
    suites = [kind for name, kind in kinds().items() if name in params.suites]
    configured = ["configure", *(kind.configured for kind in suites)]
    if any(dvc("repro", "--single-item", stage) for stage in configured):
        return 1
    if params.evidence and dvc("repro", "--force", "--single-item", f"{EVIDENCE}:records"):
        return 1
    if any(dvc("repro", kind.stages, **{NO_TRAINING: "1"}) for kind in suites):
        print("what a suite lacks remains to be made: make repro SUITE=...")
    cells = RETURNS.cells(params)
    finished = [cell for cell in cells if RETURNS.is_recorded(cell)]
    if len(finished) == len(cells):
        return dvc("repro", **{NO_TRAINING: "1"})
    print(f"{len(cells) - len(finished)} cells of the grid remain to be trained: dvc repro")
    stages = [f"train@{cell.method}-{cell.env}-{cell.seed}" for cell in finished]
    return dvc("repro", "--single-item", *stages, **{NO_TRAINING: "1"}) if stages else 0


def _envs(params: Params, old: Path) -> list[str]:
    """The environments to test: one, and those whose own files are others; what else a tree has, it knows itself."""
    first, *others = params.grid.envs
    return [first, *(env for env in others if _spec(env, old) != _spec(env, ROOT))]


def _spec(env: str, tree: Path) -> bytes | None:
    path = tree / f"tom/envs/{env}.py"
    return path.read_bytes() if path.is_file() else None
