"""A run that is stopped, killed or diverges: what it says, what it leaves, and that it ends as if it had not been."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import pipeline.suites.returns.work
import pipeline.train
from pipeline.config.compose import compose_cell
from pipeline.engines.processes import environment
from pipeline.files import ROOT
from pipeline.runs.answers import GOES_ON
from pipeline.runs.ensure import Options, ensure_trained
from pipeline.runs.folder import CHECKPOINTS, FAILURE, FILES, Cell, Refused, beside
from pipeline.runs.interruptions import DIES_WITH_PARENT, REPEAT_S, SIGNALS, Interruptions, Stopped, birth
from pipeline.runs.partial import locked
from pipeline.runs.records import rows_so_far
from tests.commands import without_progress
from tom.train import Trainer

SAME = ("evals.csv", "train.csv", "policy.npz", "config.yaml")  # the rest says how long it took, and when
LONG_S = 120.0  # nothing here takes as long
SOON_S = 5.0  # ten looks of a process at its parent


def cell_of(method: str, *overrides: str) -> Cell:
    return Cell(method, "hopper", 3, "smoke", compose_cell(method, "hopper", "smoke", overrides), "code")


def checkpoints_of(folder: Path) -> list[int]:
    """The env steps of the checkpoints of a run that is not finished."""
    found = beside(folder, ".partial") / CHECKPOINTS
    return sorted(int(path.name) for path in found.iterdir() if path.name.isdigit()) if found.is_dir() else []


# Signals in the process itself.


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_acts_as_before_when_it_comes_again_much_later(number: signal.Signals) -> None:
    seen, now = list[int](), [0.0]
    before = signal.signal(number, lambda number, frame: seen.append(number))
    try:
        with Interruptions(lambda: now[0]) as interruptions:
            assert interruptions.number is None
            signal.raise_signal(number)
            assert (interruptions.number, seen) == (number, [])
            if number != signal.SIGINT:
                for now[0] in (0.0, 0.5, REPEAT_S):  # the same request
                    signal.raise_signal(number)
                assert (interruptions.number, seen) == (number, [])
                now[0] = REPEAT_S + 0.1
            signal.raise_signal(number)
            assert (interruptions.number, seen) == (number, [number])
        signal.raise_signal(number)
        assert seen == [number, number]
    finally:
        signal.signal(number, before)


def test_the_first_request_decides_the_exit_code() -> None:
    """A job that is warned and, before it has saved, ended: it is the warning after which it is queued again."""
    with Interruptions() as interruptions:
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGTERM)
        assert interruptions.number == signal.SIGUSR1


def test_the_second_interrupt_from_the_keyboard_stops_at_once() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Interruptions() as interruptions:
            signal.raise_signal(signal.SIGINT)
            assert interruptions.number == signal.SIGINT
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_signals_stay_as_they_are() -> None:
    handlers: list[Any] = []

    def enter() -> None:
        with Interruptions():
            handlers.extend(signal.getsignal(number) for number in SIGNALS)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join(LONG_S)
    assert handlers == [signal.getsignal(number) for number in SIGNALS]


# Runs in processes of their own.


@contextmanager
def command(cell: Cell, folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The command that trains the cell, while it runs."""
    run = [f"method={cell.method}", f"env={cell.env}", f"seed={cell.seed}", f"scale={cell.scale}", f"run_dir={folder}"]
    options = ["device=cpu", "tracking=off", "checkpoint_every=25", *words]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.train", *run, *options],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=LONG_S)


def until_saved(process: subprocess.Popen[str], folder: Path, known: list[int], env_steps: int) -> None:
    """Waits for a checkpoint, at or after these env steps, that was not there before."""
    end = time.monotonic() + LONG_S
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError):  # one that is replaced meanwhile
            if any(step >= env_steps for step in set(checkpoints_of(folder)) - set(known)):
                return
        time.sleep(0.003)
    raise AssertionError(f"no checkpoint at env step {env_steps}; exit code {process.poll()}")


def test_however_it_was_stopped_the_same_command_ends_where_an_undisturbed_run_does(tmp_path: Path) -> None:
    overrides = ["train.total_env_steps=900"]
    cell, folder = cell_of("tom", *overrides), tmp_path / "run"
    stops = [(signal.SIGTERM, 100, []), (signal.SIGUSR1, 350, ["resume=false"]), (signal.SIGINT, 450, [])]
    last = 0
    for number, env_steps, words in stops:
        fresh, known = bool(words), checkpoints_of(folder)
        with command(cell, folder, *overrides, *words) as process:
            until_saved(process, folder, known, max(env_steps, 0 if fresh else last + 1))
            with pytest.raises(Refused, match="being trained by another process") as refusal, locked(folder, False):
                pass
            assert "\n" not in str(refusal.value)
            process.send_signal(number)
            out, err = process.communicate(timeout=LONG_S)
        assert (process.returncode, out) == (128 + number, ""), err
        *resumed, stopped = without_progress(err)
        assert resumed == ([] if fresh or not last else [f"{cell.name}: goes on from env step {last}"])
        last = checkpoints_of(folder)[-1]
        assert last >= env_steps
        assert stopped == f"{cell.name}: stopped at env step {last}; the same command goes on from there"
        assert not folder.exists()
    with command(cell, folder, *overrides) as process:
        until_saved(process, folder, checkpoints_of(folder), max(600, last + 1))
        process.kill()
        _, err = process.communicate(timeout=LONG_S)
    assert (process.returncode, without_progress(err)) == (
        -signal.SIGKILL,
        [f"{cell.name}: goes on from env step {last}"],
    )
    killed = checkpoints_of(folder)[-1]
    assert killed > last
    with command(cell, folder, *overrides) as process:
        out, err = process.communicate(timeout=LONG_S)
    assert (process.returncode, without_progress(err)) == (0, [f"{cell.name}: goes on from env step {killed}"])
    assert out.startswith(f"{cell.name}: trained 900 env steps in ")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    ensure_trained(cell, tmp_path / "undisturbed", Options(device="cpu"))
    for name in SAME:
        assert (folder / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes(), name
    clock = np.loadtxt(folder / "timing.csv", delimiter=",", skiprows=1)
    assert clock[:, 0].tolist() == [0, 300, 600, 900]
    assert (np.diff(clock[:, 1]) > 0).all()
    assert json.loads((folder / "provenance.json").read_text())["wall_s"] >= round(clock[-1, 1], 1)


# A run that diverges, in this process.

SHORT = (
    "train.total_env_steps=450",
    "train.warmup_env_steps=250",
    "train.round_env_steps=50",
    "train.eval_every_env_steps=150",
)
POISONED, NOTICED = 395, 400


@pytest.fixture
def tracked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, dict[str, float]]]:
    """What a tracker is told, from the start of the last run."""
    rows: list[tuple[int, dict[str, float]]] = []

    class Tracker:
        def log(self, numbers: dict[str, float], env_steps: int) -> None:
            rows.append((env_steps, dict(numbers)))

    @contextmanager
    def tracker(*arguments: Any) -> Iterator[Tracker]:
        rows.clear()
        yield Tracker()

    monkeypatch.setattr("pipeline.runs.tracking.tracker", tracker)
    return rows


def poisoned_at(env_steps: int) -> Callable[[Trainer], None]:
    """An `improve` after which one parameter of the model is not a number."""
    improve = Trainer.improve

    def improve_then_poison(self: Trainer) -> None:
        improve(self)
        if self.env_steps == env_steps:
            self.model.net.biases.detach()[0, 0] = np.nan

    return improve_then_poison


def fails_at(env_steps: int) -> Callable[[Trainer], None]:
    """An `improve` that ends the run."""
    improve = Trainer.improve

    def improve_or_fail(self: Trainer) -> None:
        improve(self)
        if self.env_steps == env_steps:
            raise ArithmeticError("enough")

    return improve_or_fail


def test_a_diverged_run_leaves_its_numbers_and_a_checkpoint_from_which_it_can_end_well(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tracked: list[tuple[int, dict[str, float]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    cell, folder = cell_of("mbpo", *SHORT), tmp_path / "run"
    partial, options = beside(folder, ".partial"), Options(device="cpu", checkpoint_every=70)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "improve", poisoned_at(POISONED))
        with pytest.raises(ArithmeticError, match=rf"^diverged: (.*, )?model(, .*)? not finite at env step {NOTICED}$"):
            ensure_trained(cell, folder, options)
        assert not folder.exists()
        assert checkpoints_of(folder) == [280, 350]
        failure = json.loads((partial / FAILURE).read_text(), parse_constant=pytest.fail)
        assert failure["env_steps"] == NOTICED
        assert {"model", "model outputs"} <= set(failure["not_finite"])
        columns = (partial / "train.csv").read_text().partition("\n")[0].split(",")
        assert set(failure["numbers"]) == set(columns[1:])
        assert not any(env_steps >= NOTICED for env_steps, _ in rows_so_far(partial))
        assert capsys.readouterr().err == ""

        with pytest.raises(ArithmeticError, match=r"^diverged: "):  # it was no accident: again
            ensure_trained(cell, folder, options)
        assert capsys.readouterr().err == f"{cell.name}: goes on from env step 350\n"
        assert (partial / FAILURE).is_file()
        assert not folder.exists()

    ensure_trained(cell, folder, options)
    assert capsys.readouterr().err == f"{cell.name}: goes on from env step 350\n"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert not partial.exists()
    resumed = list(tracked)
    ensure_trained(cell, tmp_path / "undisturbed", Options(device="cpu", resume=False))
    for name in SAME:
        assert (folder / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes(), name
    assert [env_steps for env_steps, _ in resumed] == [0, 150, 250, 300, 300, 350, 400, 450]
    np.testing.assert_equal(resumed, tracked)  # of a run that goes on, all rows are told again


def test_without_resume_a_run_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cell, folder, begun = cell_of("sac", *SHORT), tmp_path / "run", []
    evaluation = Trainer.evaluation

    def noted(self: Trainer) -> Any:
        begun.append(self.env_steps)
        return evaluation(self)

    monkeypatch.setattr(Trainer, "evaluation", noted)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "improve", fails_at(300))
        with pytest.raises(ArithmeticError, match="enough"):
            ensure_trained(cell, folder, Options(device="cpu", checkpoint_every=70))
    assert begun == [0, 150]
    assert checkpoints_of(folder) == [210, 280]
    begun.clear()
    ensure_trained(cell, folder, Options(device="cpu", resume=False))
    assert begun == [0, 150, 300, 450]
    assert capsys.readouterr().err == ""
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


# A run that fails since its code is wrong.

WRONG = """
import torch
from pipeline.train import main
from tom.train import Trainer
def improve_by_other_shapes(self):
    torch.ones(2) @ torch.ones(3)
Trainer.improve = improve_by_other_shapes
raise SystemExit(main())
"""


def test_a_fault_in_the_code_is_shown_with_its_place(tmp_path: Path) -> None:
    words = ["method=mbpo", "env=hopper", "scale=smoke", "device=cpu", "tracking=off", f"run_dir={tmp_path / 'run'}"]
    command = [sys.executable, "-c", WRONG, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" in done.stderr and "in improve_by_other_shapes\n" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("inconsistent tensor size"), "a launcher shows the last line"


# A process that must not outlive the one that started it.

CHILD = """
import os, time
from pipeline.runs.interruptions import die_with_parent
die_with_parent()
os.write(1, b"%d" % os.getpid())  # in one piece, buffered or not
time.sleep(100)
"""
PARENT = """
import subprocess, sys
subprocess.run(sys.argv[1:])
"""
NOTED = """
import os, signal, time
from pipeline.runs.interruptions import LOOK_S, Interruptions, die_with_parent
die_with_parent()
parent = os.getppid()
with Interruptions():
    signal.raise_signal(signal.SIGUSR1)
    os.write(1, b"%d" % os.getpid())
    seen = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    while os.getppid() == parent:
        time.sleep(LOOK_S / 10)
    time.sleep(3 * LOOK_S)
    os.write(1, b"%s" % str(seen).encode())
"""
IN_A_SHELL = ("sh", "-c", '"$@"; exit 0', "sh")  # with a command after it, so that the shell stays


def says(pipe: int, seconds: float) -> bytes | None:
    """What comes through a pipe, b"" once nobody has its other end any more; None if nothing happens."""
    ready, _, _ = select.select([pipe], [], [], seconds)
    return os.read(pipe, 100) if ready else None


@pytest.mark.parametrize("between", [(), IN_A_SHELL], ids=["directly", "with a shell in between"])
def test_a_process_goes_with_its_parent(between: tuple[str, ...]) -> None:
    child = [*between, sys.executable, "-c", CHILD]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *child], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    pipe = parent.stdout.fileno()
    try:
        assert int(says(pipe, LONG_S) or 0) > 0
        assert says(pipe, 1.5) is None, "it stays as long as its parent does"
        parent.kill()
        parent.wait(LONG_S)
        assert says(pipe, SOON_S) == b"", "it is gone, and the shell with it"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait(LONG_S)
        parent.stdout.close()


def test_a_process_that_was_asked_to_stop_is_not_asked_again_when_its_parent_goes() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, sys.executable, "-c", NOTED],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout is not None
    pipe = parent.stdout.fileno()
    assert int(says(pipe, LONG_S) or 0) > 0
    parent.kill()
    parent.wait(LONG_S)
    assert says(pipe, LONG_S) == b"[]", "no signal came"
    parent.stdout.close()


DVC = """
import sys
from pipeline.engines.processes import dvc
from pipeline.runs.answers import answered
sys.exit(answered(dvc, "repro", "long"))
"""
DVC_NOTED = """
import sys
from pipeline.engines.processes import dvc
from pipeline.runs.interruptions import Interruptions
with Interruptions() as asked:
    dvc("repro", "long")
sys.exit(128 + asked.number)
"""


@pytest.fixture
def long_stage(tmp_path: Path) -> Path:
    """A study whose stage says which process runs it, and then does nothing for long."""
    for name in ("tom", "pipeline"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", tmp_path / ".dvc")
    (tmp_path / "params.yaml").touch()
    (tmp_path / "dvc.yaml").write_text(f"stages: {{long: {{cmd: 'echo $PPID; exec sleep {LONG_S}'}}}}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("program", "said"), [(DVC, GOES_ON), (DVC_NOTED, "dvc repro long failed")], ids=["alone", "noted"]
)
def test_dvc_goes_with_the_command_that_started_it(program: str, said: str, long_stage: Path) -> None:
    command = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=long_stage,
        env={**os.environ, "PYTHONPATH": str(long_stage)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert command.stdout is not None
    try:
        dvc = int(command.stdout.readline())
        command.terminate()
        assert command.wait(LONG_S) == 128 + signal.SIGTERM
        assert birth(dvc) == ""
        assert command.stderr is not None and command.stderr.readline() == f"{said}\n"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
        command.communicate(timeout=LONG_S)


WATCHES = [(pipeline.suites.returns.work, False, True), (pipeline.train, False, False), (pipeline.train, True, True)]


@pytest.mark.parametrize(("module", "asked", "watches"), WATCHES)
def test_a_stage_goes_with_its_parent_and_a_command_where_it_is_told_to(
    module: ModuleType, asked: bool, watches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(module, "die_with_parent", lambda: calls.append(module.__name__))
    monkeypatch.delenv(DIES_WITH_PARENT, raising=False)
    if asked:
        monkeypatch.setenv(DIES_WITH_PARENT, "1")
    assert module.main(["method=tom", "env=none", "seed=0", "scale=smoke"]) != 0
    assert bool(calls) == watches


def test_whoever_starts_a_process_from_here_asks_it_to_go_with_its_parent() -> None:
    assert DIES_WITH_PARENT in environment()


def test_a_stage_that_was_stopped_says_so_by_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*arguments: Any) -> str:
        raise Stopped(signal.SIGUSR1, "stopped at env step 40")

    monkeypatch.setattr(pipeline.suites.returns.work, "die_with_parent", lambda: None)
    monkeypatch.setattr(pipeline.suites.returns.work, "read_cell", stopped)
    assert pipeline.suites.returns.work.main(["method=tom", "env=hopper", "seed=0", "scale=smoke"]) == 138
    assert capsys.readouterr() == ("", "stopped at env step 40\n")
