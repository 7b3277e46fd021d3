"""A change of code that leaves the suite's numbers equal: what was recorded counts as made by the code here.

    python -m pipeline.weights.accept [base=COMMIT] [env=hopper]

Runs the suite at scale smoke on one environment with the code of `base` (default: HEAD) and with the code here. Where
data set and weights have the same bytes, but for numbers that are reported since, the results and data sets of `base`
are marked, and no SAC is trained again.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.accept import accept_checkpoints, checked_out
from pipeline.checks import key_values, one_line, one_of
from pipeline.params import ROOT, load_params
from pipeline.processes import environment
from pipeline.run_folder import Refused, accept_record
from pipeline.sources import source_digest, source_digests
from pipeline.weights.dataset import MANIFEST, TRANSITIONS
from pipeline.weights.suite import COLLECTOR, NUMBERS, WEIGHTS
from tom.settings.fields import SettingsError

COMPARED = (f"runs/datasets/*/{TRANSITIONS}", "reports/weights/smoke/*/0/*.csv")


def main(argv: Sequence[str] | None = None) -> int:
    """0 when the change is accepted; 1 if numbers differ or cannot be compared; 2 for bad input."""
    try:
        given = key_values(sys.argv[1:] if argv is None else argv, ("base", "env"))
        envs = WEIGHTS.section(load_params()).grid.envs
        env = one_of("env", given.get("env", envs[0]), envs)
        with tempfile.TemporaryDirectory() as scratch:
            old = checked_out(given.get("base", "HEAD"), Path(scratch) / "old")
            new = Path(scratch) / "new"
            for name in ("tom", "pipeline"):
                shutil.copytree(ROOT / name, new / name, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copyfile(ROOT / "params.yaml", new / "params.yaml")
            if not alike(smoke(old, env), smoke(new, env)):
                print("not accepted: data set or weights have other bytes at scale smoke", file=sys.stderr)
                return 1
            marked = list(mark(old, ROOT))
    except SettingsError as error:
        print(one_line(error), file=sys.stderr)
        return 2
    except Refused as error:
        print(one_line(error), file=sys.stderr)
        return 1
    print(f"accepted: same bytes; {len(marked)} results and data sets now count as made by this code")
    return 0


def smoke(tree: Path, env: str) -> dict[str, bytes]:
    """The bytes that a tree's code gives for one environment at scale smoke; Refused if it does not run."""
    params = (tree / "params.yaml").read_text(encoding="utf-8")
    (tree / "params.yaml").write_text(
        re.sub(r"(?m)^(weights:[^\n]*\n  scale:\s*)\S+", r"\g<1>smoke", params), encoding="utf-8"
    )
    for words in (["suite"], ["cell", f"env={env}", "seed=0", "scale=smoke"]):
        command = [sys.executable, "-m", f"pipeline.weights.{words[0]}", *words[1:]]
        done = subprocess.run(
            command, cwd=tree, env=environment(PYTHONPATH=str(tree)), capture_output=True, check=False
        )
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise Refused(f"the code in {tree.name} does not run the suite: {' '.join(reason)}")
    return {path.name: path.read_bytes() for pattern in COMPARED for path in sorted(tree.glob(pattern))}


def alike(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> bool:
    """Whether the files have the same bytes; NUMBERS, a row each, may have gained some since."""
    for name in before.keys() | now.keys():
        one, other = before.get(name, b""), now.get(name, b"")
        if one != other and not (name == NUMBERS and set(one.splitlines()) <= set(other.splitlines())):
            return False
    return True


def mark(old: Path, root: Path) -> Iterator[Path]:
    """Adds the digests of the code in `root` to what the code in `old` made, and gives the files it changed."""
    yield from WEIGHTS.accept(old, root)
    for path in sorted((root / WEIGHTS.folder).glob("*/*.json")):
        config = json.loads(path.read_text(encoding="utf-8"))["config"][COLLECTOR]
        digests = [source_digest(source_digests(config, tree)) for tree in (old, root)]
        for folder in sorted(root.glob("runs/datasets/*.partial")):
            yield from accept_checkpoints(folder, *digests)
    for found in sorted(root.glob(f"runs/datasets/*/{MANIFEST}")):
        config = json.loads(found.read_text(encoding="utf-8"))["settings"]
        if accept_record(found, *(source_digest(source_digests(config, tree)) for tree in (old, root))):
            yield found


if __name__ == "__main__":
    sys.exit(main())
