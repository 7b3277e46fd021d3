"""Accepts a change of code that leaves the numbers as they are, so that recorded runs need not be repeated.

    python -m pipeline.accept [base=HEAD] [scale=smoke] [suite=ablation|evidence]

Trains a short cell of every method of the grid, and of the suite if it is named, with the code of the commit `base` and
with the code as it is now. If all that the seed decides has the same bytes, but for columns that train.csv gained, the
recorded runs of these methods that the code of `base` made count as made by this code, and so do the checkpoints of
those that are to go on, and the suite's results. Evidence is that of a commit, which is `base` then: once what is here
is committed, params.yaml can name the new commit, and nothing is trained again.
"""

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pipeline.ablation.suite import ABLATION
from pipeline.cell import NO_TRAINING, read_cell, result_folder
from pipeline.checks import key_values, one_line, one_of
from pipeline.config import SCIENCE, compose_cell
from pipeline.evidence.suite import RECORDS, RUNS, STAGES, section
from pipeline.params import ROOT, Params, load_params
from pipeline.processes import dvc, environment
from pipeline.run_folder import CHECKPOINTS, PROVENANCE, Refused, State, accept_record, different, provenance, state
from pipeline.sources import code_digest, source_digests
from tom.settings.fields import SettingsError

PROBED = "probe_every_env_steps"
EVIDENCE = "evidence"
SUITES: dict[str, Callable[[Params], Iterable[str]]] = {  # and their methods
    ABLATION.name: lambda params: ABLATION.section(params).grid.methods,
    EVIDENCE: lambda params: [method for method, *_ in section(params).cells()],
}


def main(argv: Sequence[str] | None = None) -> int:
    """0 when the change is accepted; 1 if numbers differ or cannot be compared; 2 for bad input."""
    try:
        given = key_values(sys.argv[1:] if argv is None else argv, ("base", "scale", "suite"))
        params = load_params()
        if "suite" in given:
            one_of("suite", given["suite"], SUITES)
        scale = one_of("scale", given.get("scale", "smoke"), params.scales)
        with tempfile.TemporaryDirectory() as folder:
            return accept(params, scale, given.get("base", "HEAD"), Path(folder), given.get("suite", ""))
    except SettingsError as error:
        print(one_line(error), file=sys.stderr)
        return 2
    except Refused as error:
        print(one_line(error), file=sys.stderr)
        return 1


def accept(params: Params, scale: str, base: str, scratch: Path, suite: str = "") -> int:
    """Compares the code of `base` with the code here and, if the bytes are equal, marks the runs of `base`."""
    old = checked_out(base, scratch / "base")
    methods = list(dict.fromkeys([*params.grid.methods, *(SUITES[suite](params) if suite else ())]))
    different = [
        f"method {method}, env {env}: {name}"
        for method, env in product(methods, _envs(params, scale, old))
        for name in _different(method, env, scale, {"old": old, "new": ROOT}, scratch)
    ]
    if different:
        print(f"not accepted, the bytes differ from those of {base}: {'; '.join(different)}", file=sys.stderr)
        return 1
    marked = [folder for folder in _recorded(suite == EVIDENCE) if mark(folder, old, methods)]
    marked += ABLATION.accept(old) if suite == ABLATION.name else []
    print(f"accepted: same bytes as {base}; {len(marked)} runs of that code now count as made by this code")
    if suite == EVIDENCE:
        return register(params) or dvc("repro", "-q", "--force", "--single-item", f"{STAGES}:records")
    return register(params) or (dvc("repro", "-q", ABLATION.stages, **{NO_TRAINING: "1"}) if suite else 0)


def checked_out(base: str, folder: Path) -> Path:
    """The code of a commit in a folder, with params.yaml as it is now, or as it was where that code cannot read it.

    SettingsError if there is no such commit.
    """
    names = ("tom", "pipeline", "params.yaml")
    packed = subprocess.run(["git", "archive", base, *names], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        reason = packed.stderr.decode(errors="replace").strip()
        raise SettingsError(f"base={base}: {reason}; nearest valid choice: base=HEAD")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    own = (folder / "params.yaml").read_bytes()
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    read = [sys.executable, "-c", "from pipeline.params import load_params; load_params()"]
    if subprocess.run(
        read, cwd=folder, env=environment(PYTHONPATH=str(folder)), capture_output=True, check=False
    ).returncode:
        (folder / "params.yaml").write_bytes(own)
    return folder


def mark(folder: Path, old: Path, methods: Collection[str]) -> bool:
    """Lets a run of one of the methods by the code in `old` count as made by the code here; says whether it did.

    That is its record, if it is finished, and its checkpoints, if it is to go on.
    """
    config: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))  # type: ignore[assignment]
    if config["method"] not in methods:
        return False
    config = {key: config[key] for key in SCIENCE}
    try:
        before, now = (code_digest(config, tree) for tree in (old, ROOT))
    except SettingsError:  # a part that one of them does not have
        return False
    marked = list(accept_checkpoints(folder, before, now))
    if provenance(folder) and accept_record(folder / PROVENANCE, before, now):
        marked.append(folder / PROVENANCE)
    return bool(marked)


def accept_checkpoints(folder: Path, before: str, now: str) -> Iterator[Path]:
    """Adds the digest `now` to a run's checkpoints by the code `before`; gives those that it changed."""
    for path in sorted((folder / CHECKPOINTS).glob("*/manifest.json")):
        with suppress(ValueError, LookupError, TypeError, AttributeError):  # one that is torn: nobody goes on from it
            if accept_record(path, before, now, "identity"):
                yield path


def register(params: Params) -> int:
    """Lets DVC know: configures, then records the cells that are finished; trains nothing."""
    if dvc("repro", "-q", "--single-item", "configure"):
        return 1
    grid = params.grid
    cells = [read_cell(m, e, s, params.scale) for m, e, s in product(grid.methods, grid.envs, grid.seeds)]
    finished = [cell for cell in cells if state(result_folder(cell), cell) is State.FINISHED]
    if len(finished) == len(cells):
        return dvc("repro", "-q", **{NO_TRAINING: "1"})
    print(f"{len(cells) - len(finished)} cells of the grid remain to be trained: dvc repro")
    stages = [f"train@{cell.method}-{cell.env}-{cell.seed}" for cell in finished]
    return dvc("repro", "-q", "--single-item", *stages, **{NO_TRAINING: "1"}) if stages else 0


def _envs(params: Params, scale: str, old: Path) -> list[str]:
    """The environments to test: one, and those whose own files changed."""
    first, *others = params.grid.envs
    return [first, *(env for env in others if _changed(params, scale, env, old))]


def _changed(params: Params, scale: str, env: str, old: Path) -> bool:
    config = compose_cell(params.grid.methods[0], env, scale)
    path = f"tom/envs/{env}.py"
    return source_digests(config, old).get(path) != source_digests(config, ROOT).get(path)


def _different(method: str, env: str, scale: str, trees: dict[str, Path], scratch: Path) -> Iterator[str]:
    """Names of the files of a short run that differ between the trees; Refused if it fails in one of them."""
    runs = {}
    probed = all(PROBED in (tree / "tom/settings/train.py").read_text(encoding="utf-8") for tree in trees.values())
    words = [f"method={method}", f"env={env}", f"scale={scale}", "seed=0", "tracking=off", "device=cpu"]
    words += [f"train.{PROBED}=100", "train.probe_rows=100"] if probed else []
    for side, tree in trees.items():
        runs[side] = scratch / f"{side}-{method}-{env}"
        command = [sys.executable, "-m", "pipeline.train", *words, f"run_dir='{runs[side]}'"]
        done = subprocess.run(
            command, cwd=tree, env=environment(PYTHONPATH=str(tree)), capture_output=True, check=False
        )
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise Refused(f"the {side} code does not run method {method} on {env}: {' '.join(reason)}")
    yield from different(runs["old"], runs["new"])


def _recorded(evidence: bool) -> list[Path]:
    """The folders of runs: recorded, finished in runs/, and unfinished there; those of the evidence if asked for."""
    found = [*ROOT.glob("reports/results/*/*/*/*/provenance.json"), *ROOT.glob("runs/*/*/provenance.json")]
    found += ROOT.glob("runs/*/*.partial/config.yaml")
    for pattern in (f"{RECORDS}/*/*/*/{PROVENANCE}", f"{RUNS}/*/*/{PROVENANCE}", f"{RUNS}/*/*.partial/config.yaml"):
        found += ROOT.glob(pattern) if evidence else ()
    return sorted(path.parent for path in found)


if __name__ == "__main__":
    sys.exit(main())
