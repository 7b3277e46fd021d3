"""The mirror never changes, stops, holds up or leaks from a run. All tests run wandb itself, without an account."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.tracking import tracker

ROOT = Path(__file__).parents[1]
CANARY = "0123456789abcdef" * 2 + "deadbeef"  # has the form of a key
START = """
import os, random, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pipeline.tracking as tracking
cell = SimpleNamespace(scale="smoke", method="tom", env="hopper", seed=1, fingerprint="f00d")
def track(mode="wandb"):
    return tracking.tracker(mode, cell, {"train": {"total_env_steps": 600}}, Path("run"))
def service():
    import wandb
    return wandb.setup()._connection._proc._process.pid
"""


def run(folder: Path, program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in its own process, in `folder`, with no settings of wandb's but `environment`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    home = {"HOME": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", START + program]
    return subprocess.run(
        command,
        cwd=folder,
        env={**clean, **home, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_off_never_loads_wandb_and_writes_nothing(tmp_path: Path) -> None:
    program = "with track('off') as run: run.log({'a': 1.0}, 0)\nassert 'wandb' not in sys.modules"
    done = run(tmp_path, program, WANDB_API_KEY=CANARY)
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.iterdir())


def test_other_modes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tracking=on is not one of off, wandb"), tracker("on", None, {}, tmp_path):  # type: ignore[arg-type]
        pass


def test_offline_without_an_account(tmp_path: Path) -> None:
    program = """
before = random.getstate(), np.random.get_state()[1].tolist()
with track() as run:
    for step in (0, 300, 600):
        run.log({"eval/return_mean": 0.5 * step, "model/loss": float("nan")}, step)
assert (random.getstate(), np.random.get_state()[1].tolist()) == before
"""
    done = run(tmp_path, program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    written = (folder / "run-smoke-tom-hopper-s1-f00d.wandb").read_bytes()
    for text in (b"eval/return_mean", b"smoke/tom/hopper", b"tom hopper s1", b"method_name"):
        assert text in written


def test_key_reaches_no_file(tmp_path: Path) -> None:
    done = run(tmp_path, "with track() as run: run.log({'a': 1.0}, 0)", WANDB_API_KEY=CANARY, WANDB_MODE="offline")
    assert done.returncode == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_losing_the_service_costs_one_line(tmp_path: Path, end: signal.Signals) -> None:
    program = f"""
with track() as run:
    run.log({{"a": 1.0}}, 0)
    os.kill(service(), {int(end)})
    time.sleep(0.3)
    for step in range(1, 20): run.log({{"a": 1.0}}, step)
print("done")
"""
    done = run(tmp_path, program)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert done.stderr.startswith("tracking stopped, the run goes on: ")
    assert done.stderr.count("\n") == 1


def test_a_service_that_hangs_is_left_behind(tmp_path: Path) -> None:
    program = f"""
tracking.SERVICE_TIMEOUT_S = tracking.FINISH_TIMEOUT_S = 1
with track() as run:
    run.log({{"a": 1.0}}, 0)
    os.kill(service(), {int(signal.SIGSTOP)})
print("done")
"""
    start = time.monotonic()
    done = run(tmp_path, program)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "tracking stopped, the run goes on: wandb did not answer" in done.stderr
    assert time.monotonic() - start < 30


def test_online_without_a_server_is_given_up(tmp_path: Path) -> None:
    program = "tracking.INIT_TIMEOUT_S = 3\nwith track() as run: run.log({'a': 1.0}, 0)\nprint('done')"
    nowhere = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": CANARY}
    done = run(tmp_path, program, **nowhere)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "tracking stopped, the run goes on: " in done.stderr
    assert CANARY not in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_an_unwritable_folder_costs_one_line(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    done = run(tmp_path, "with track() as run: run.log({'a': 1.0}, 0)\nprint('done')")
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert done.stderr.count("\n") == 1


def test_an_error_of_the_run_is_not_swallowed(tmp_path: Path) -> None:
    done = run(tmp_path, "with track() as run: raise ArithmeticError('a return is not finite')")
    assert done.returncode == 1
    assert "ArithmeticError: a return is not finite" in done.stderr
