"""What must not depend on the version of Python, under another one beside this one: `tom check python OTHER`.

Digests of code, the bytes of runs at scale smoke, and the tests that are not slow.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.checks.drill.trial import Target
from pipeline.config.digests import stage_digests
from pipeline.files import ROOT
from pipeline.runs.folder import Refused, different, provenance
from pipeline.runs.provenance import other_machine
from tom.settings.fields import SettingsError

RUNS = tuple(map(Target, ("mbpo", "tom", "vagram_ensemble")))
ITS_VERSION = "import platform; print(platform.python_version())"
ITS_DIGESTS = "from pipeline.checks.versions import digests; print(digests())"
FAST = ("-m", "pytest", "-q", "-m", "not slow", "--dist", "loadfile")


def checked(other: Path, jobs: int) -> int:
    """0 if it is as here under the Python at `other`, whose environment has the same packages; says what it runs.

    Raises SettingsError if there is no such file.
    """
    other = other.absolute()  # not resolved: an environment's Python is a link
    if not other.is_file():
        raise SettingsError(f"{other} does not exist; nearest valid choice: .venv/newest/bin/python, by `make newest`")
    print(f"Python {said(other, ['-c', ITS_VERSION])} beside {platform.python_version()}", flush=True)
    problems = list(_problems(other))
    print("\n".join(problems), end="\n" if problems else "")
    words = [*FAST, "-n", str(jobs)]
    print(f"the fast tests: python {' '.join(words)}", flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # one thread to a process
    tests = subprocess.run([other, *words], cwd=ROOT, env=environment, check=False).returncode
    return int(bool(problems) or tests != 0)


def digests() -> str:
    """The digests of the code of all stages, as this Python sees it: JSON."""
    return json.dumps({path.name: digest for path, digest in stage_digests(ROOT).items()})


def _problems(other: Path) -> Iterator[str]:
    """What is not as it is here, of digests and runs."""
    ours, theirs = json.loads(digests()), json.loads(said(other, ["-c", ITS_DIGESTS]))
    print(f"digests of code: {len(ours)}", flush=True)
    yield from (f"{module}: the digest of its code is another one" for module in ours if ours[module] != theirs[module])
    with tempfile.TemporaryDirectory() as scratch:
        for target in RUNS:
            run = f"{target.method} on {target.env}"
            print(f"{run}, scale smoke, seed 0, under both", flush=True)
            here, there = (Path(scratch) / target.method / side for side in ("here", "there"))
            for python, folder in ((Path(sys.executable), here), (other, there)):
                said(python, target.command(folder, "device=cpu")[1:])
            for name in different(here, there):
                changes = "; ".join(other_machine(provenance(here), provenance(there))) or "the same packages"
                yield f"{run}: {name} has other bytes ({changes})"


def said(python: Path, words: Sequence[str]) -> str:
    """What it prints, in ROOT; Refused with its last line where it fails."""
    done = subprocess.run([python, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"{python}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return done.stdout.strip()
