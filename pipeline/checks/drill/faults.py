"""One fault after another, each on a run of its own: what it does, what must come of it, what came of it."""

import json
import os
import pickle
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from pipeline.checks.drill.trial import OFTEN, SELDOM, Outcome, Run, in_one_sentence, reference, start, wait_until
from pipeline.files import ROOT, sha256
from pipeline.runs.folder import CHECKPOINTS
from pipeline.runs.interruptions import DIES_WITH_PARENT, birth

FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"  # bytes: as if the disk had no more
JUMPS = """
import itertools, time
clock, calls = time.time, itertools.count()
time.time = lambda: clock() + (0, 86400.0, -86400.0)[next(calls) // 20 % 3]
"""

SLOW_STEP = """
import time
from tom.train import Trainer
improve = Trainer.improve
def slow(self):
    improve(self)
    if self.env_steps == 350:
        print("in the step", flush=True)
        time.sleep(2.0)
Trainer.improve = slow
"""

Fault = Callable[[Run, Path], bool]


def faults(scratch: Path) -> Iterator[Outcome]:
    """Every fault once; the second argument of a fault is an undisturbed run."""
    undisturbed = reference(scratch)
    for number, (what, fault) in enumerate(FAULTS.items()):
        run = Run(scratch / f"fault-{number}" / "run")
        run.folder.parent.mkdir(parents=True)
        yield Outcome(what, int(fault(run, undisturbed)), 1)


def stopped_by(number: int) -> Fault:
    """A signal: the run saves, ends with the code that stands for the signal, and goes on when started again."""

    def fault(run: Run, undisturbed: Path) -> bool:
        process = run.start(SELDOM)
        wait_until(lambda: (run.partial / "train.csv").exists(), process)
        process.send_signal(number)
        errors = process.communicate()[1]
        stopped = process.returncode == 128 + number and "stopped at env step" in errors
        return stopped and len(run.checkpoints()) == 1 and _finishes(run, undisturbed)

    return fault


def terminated_twice(run: Run, undisturbed: Path) -> bool:
    """SIGTERM comes again within one long step, as from a scheduler and the shell of a job: one request, saved."""
    process = run.start(SELDOM, prelude=SLOW_STEP)
    assert process.stdout is not None
    process.stdout.readline()
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    process.communicate()
    return process.returncode == 143 and run.checkpoints() == [350] and _finishes(run, undisturbed)


def spoiled(spoil: Callable[[Path], None]) -> Fault:
    """The newest checkpoint is not what it was: it is named, and the run goes on from the one before."""

    def fault(run: Run, undisturbed: Path) -> bool:
        _killed_after(run, 2)
        *_, before, newest = run.checkpoints()
        spoil(run.partial / CHECKPOINTS / f"{newest:09d}")
        again = run.done(OFTEN)
        named = f"{newest:09d} cannot be used" in again.stderr and f"goes on from env step {before}" in again.stderr
        return named and again.returncode == 0 and run.is_like(undisturbed)

    return fault


def truncate(checkpoint: Path) -> None:
    """Half of the state is missing."""
    os.truncate(checkpoint / "state.pt", (checkpoint / "state.pt").stat().st_size // 2)


def make_foreign(checkpoint: Path) -> None:
    """The checkpoint is of a run with other settings."""
    _edit_manifest(checkpoint, "identity", fingerprint="0" * 16)


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def poison(checkpoint: Path) -> None:
    """The state is a pickle that does something when it is read, and its digest is right."""
    outside = checkpoint.parents[2]  # of the run: what is inside is cleared when it ends
    (checkpoint / "state.pt").write_bytes(pickle.dumps(Payload(outside / "executed")))
    _edit_manifest(checkpoint, "sha256", **{"state.pt": sha256(checkpoint / "state.pt")})


def malicious(run: Run, undisturbed: Path) -> bool:
    """The pickle is refused like any other torn file, and what it would have done is not done."""
    return spoiled(poison)(run, undisturbed) and not (run.folder.parent / "executed").exists()


def no_room_for_checkpoints(run: Run, undisturbed: Path) -> bool:
    """Files of a checkpoint do not fit: the run says so and is not affected."""
    done = run.done(OFTEN, prelude=FULL.format(30_000))
    return done.returncode == 0 and "no checkpoint at env step" in done.stderr and run.is_like(undisturbed)


def no_room_at_all(run: Run, undisturbed: Path) -> bool:
    """Not even a table fits: one sentence, no folder under the final name; with room again the run ends as ever."""
    done = run.done(SELDOM, prelude=FULL.format(1_000))
    clean = done.returncode == 1 and in_one_sentence(done.stderr) and not run.folder.exists()
    return clean and _finishes(run, undisturbed)


def read_only(run: Run, undisturbed: Path) -> bool:
    """A place where nothing can be written: one sentence."""
    run.folder.parent.chmod(0o500)
    writable = os.access(run.folder.parent, os.W_OK)  # root may write everywhere
    done = Run(Path("/proc/drill/run") if writable else run.folder).done()
    run.folder.parent.chmod(0o700)
    return done.returncode == 1 and in_one_sentence(done.stderr) and not run.folder.exists()


def wandb_killed(run: Run, undisturbed: Path) -> bool:
    """W&B's own process is killed in the middle: the run goes on without it."""
    process = run.start("tracking=wandb", WANDB_MODE="offline")
    wait_until(lambda: (run.partial / "train.csv").exists(), process)
    helpers = [child for child in psutil.Process(process.pid).children(recursive=True) if _is_wandb(child)]
    for helper in helpers:
        helper.kill()
    process.communicate()
    return bool(helpers) and process.returncode == 0 and run.is_like(undisturbed)


def network_refused(run: Run, undisturbed: Path) -> bool:
    """W&B cannot be reached: the run goes on, and the key that it was given is in no file."""
    canary = secrets.token_hex(20)
    there = {"WANDB_MODE": "online", "WANDB_API_KEY": canary, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    done = run.done("tracking=wandb", **there)
    return done.returncode == 0 and run.is_like(undisturbed) and not _files_with(canary, [run.folder.parent, ROOT])


def clock_jumps(run: Run, undisturbed: Path) -> bool:
    """The wall clock jumps a day ahead and back, again and again."""
    done = run.done(prelude=JUMPS)
    return done.returncode == 0 and run.is_like(undisturbed)


def parent_killed(run: Run, undisturbed: Path) -> bool:
    """The process that started the trainer is killed: the trainer saves and goes, and no second one meets it."""
    command = run.target.command(run.folder, SELDOM, "train.total_env_steps=1000000")
    code = f"import subprocess; p = subprocess.Popen({command!r}); print(p.pid, flush=True); p.wait()"
    parent = start([sys.executable, "-c", code], **{DIES_WITH_PARENT: "1"})
    assert parent.stdout is not None
    trainer = int(parent.stdout.readline())
    wait_until(lambda: (run.partial / "train.csv").exists(), parent)
    parent.kill()
    parent.communicate()  # ends when the trainer, which has the same output, is about to go
    return wait_until(lambda: not birth(trainer)) and len(run.checkpoints()) == 1


def second_writer(run: Run, undisturbed: Path) -> bool:
    """The same command a second time, beside the first: refused in one sentence; the first is not disturbed."""
    first = run.start(OFTEN)
    wait_until(lambda: bool(run.checkpoints()), first)
    first.send_signal(signal.SIGSTOP)
    second = run.done(OFTEN)
    first.send_signal(signal.SIGCONT)
    first.communicate()
    refused = second.returncode == 1 and in_one_sentence(second.stderr) and "another process" in second.stderr
    return refused and first.returncode == 0 and run.is_like(undisturbed)


def resume_refused(run: Run, undisturbed: Path) -> bool:
    """resume=false starts over where there is something to go on from."""
    _killed_after(run, 1)
    done = run.done("resume=false")
    return done.returncode == 0 and "goes on" not in done.stderr and run.is_like(undisturbed)


FAULTS: dict[str, Fault] = {
    "SIGTERM: code 143, goes on": stopped_by(signal.SIGTERM),
    "SIGINT: code 130, goes on": stopped_by(signal.SIGINT),
    "SIGUSR1: code 138, goes on": stopped_by(signal.SIGUSR1),
    "SIGUSR2: code 140, goes on": stopped_by(signal.SIGUSR2),
    "SIGTERM twice in a step of 2 s: saved, goes on": terminated_twice,
    "torn checkpoint: the one before is used": spoiled(truncate),
    "checkpoint of other settings: the one before is used": spoiled(make_foreign),
    "malicious pickle as checkpoint: not executed": malicious,
    "disk full for checkpoints: run unaffected": no_room_for_checkpoints,
    "disk full for tables: clean failure, then goes on": no_room_at_all,
    "read-only folder: clean failure": read_only,
    "W&B process killed: run unaffected": wandb_killed,
    "network refused: run unaffected, key in no file": network_refused,
    "clock jumps by days: run unaffected": clock_jumps,
    "parent killed: trainer saves and goes": parent_killed,
    "second writer: refused, first unaffected": second_writer,
    "resume=false: starts over": resume_refused,
}


def _finishes(run: Run, undisturbed: Path) -> bool:
    return run.done().returncode == 0 and run.is_like(undisturbed)


def _killed_after(run: Run, saved: int) -> None:
    """A run that was killed once it had so many checkpoints."""
    process = run.start(OFTEN)
    wait_until(lambda: len(run.checkpoints()) >= saved, process)
    process.kill()
    process.communicate()
    shutil.rmtree(run.folder, ignore_errors=True)


def _edit_manifest(checkpoint: Path, section: str, **changes: str) -> None:
    manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
    manifest[section] |= changes
    (checkpoint / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def _is_wandb(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):  # gone since it was listed
        return "wandb" in " ".join(process.cmdline())
    return False


def _files_with(text: str, folders: list[Path]) -> list[Path]:
    """Files below the folders, environments and git's own aside, that hold the text."""
    paths = (path for folder in folders for path in folder.rglob("*") if not {".venv", ".git"} & {*path.parts})
    return [path for path in paths if path.is_file() and text.encode() in path.read_bytes()]
