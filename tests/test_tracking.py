"""A mirror never changes, stops, holds up or leaks from a run: wandb itself, without an account, and TensorBoard."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record

from pipeline import publish
from pipeline.config.params import TRACKING
from pipeline.runs import in_wandb
from pipeline.runs.folder import Refused
from pipeline.runs.in_tensorboard import FOLDER
from pipeline.runs.tracking import MIRRORS, OFF, refuse_missing, tracker

ROOT = Path(__file__).parents[1]
CANARY = "0123456789abcdef" * 2 + "deadbeef"  # has the form of a key
START = """
import os, random, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pipeline.runs.in_wandb
from pipeline.runs.in_wandb import Wandb
from pipeline.runs.tracking import tracker
cell = SimpleNamespace(scale="smoke", method="tom", env="hopper", seed=1, fingerprint="f00d",
                       config={"train": {"total_env_steps": 600}})
def track(mode="wandb"):
    return tracker(mode, cell, Path("run"))
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


@pytest.mark.parametrize("mode", MIRRORS)
def test_a_mirror_whose_package_is_not_installed_is_refused(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_missing(mode)
    monkeypatch.setitem(sys.modules, mode, None)
    with pytest.raises(Refused, match=rf"tracking={mode}: the package {mode} is not installed; pip install"):
        refuse_missing(mode)
    refuse_missing("off")


def test_params_know_every_mirror() -> None:
    assert (OFF, *MIRRORS) == TRACKING


def test_other_modes_are_refused(tmp_path: Path) -> None:
    cell: Any = None
    with pytest.raises(ValueError, match="is not one of off, wandb, tensorboard"), tracker("on", cell, tmp_path):
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


def tracked(folder: Path) -> list[tuple[int, dict[str, Any]]]:
    """Number and values of every row in the one offline run below a folder: a log of short records (LevelDB's)."""
    (path,) = folder.rglob("*.wandb")
    data, place, rows = path.read_bytes(), 7, []
    while place < len(data):
        _, size, whole = struct.unpack("<IHB", data[place : place + 7])
        assert whole == 1, "the record lies in one piece"
        record = Record.FromString(data[place + 7 : place + 7 + size])
        place += 7 + size
        if record.WhichOneof("record_type") == "history":
            values = {
                (item.key or ".".join(item.nested_key)): json.loads(item.value_json) for item in record.history.item
            }
            rows.append((record.history.step.num, {name: values[name] for name in values if name[0] != "_"}))
    return rows


def test_rows_are_numbered_from_zero_whatever_their_env_steps(tmp_path: Path) -> None:
    program = "with track() as run:\n for n, step in enumerate((0, 300, 300, 600)): run.log({'n': n}, step)"
    done = run(tmp_path, program)
    assert (done.returncode, done.stderr) == (0, "")
    expected = enumerate((0, 300, 300, 600))
    assert tracked(tmp_path) == [(number, {"n": number, "env_steps": step}) for number, step in expected]


def test_rows_that_are_there_already_are_not_tracked_twice(tmp_path: Path) -> None:
    """A run that goes on tells all its rows again; here W&B has the first three of them."""
    program = """
with track() as run:
    for n in (0, 1, 2): run._run.log({"n": n, "env_steps": 300 * n}, step=n)
    for n in (0, 1, 2, 3): run.log({"n": n}, 300 * n)
"""
    done = run(tmp_path, program)
    assert done.returncode == 0, done.stderr
    assert tracked(tmp_path) == [(n, {"n": n, "env_steps": 300 * n}) for n in range(4)]


NETRC = "machine {} login user password " + CANARY + "\n"
WAYS: dict[str, tuple[dict[str, str], str, str]] = {  # the environment, the host of a netrc, and the mode
    "nothing": ({}, "", "offline"),
    "a key in the environment": ({"WANDB_API_KEY": CANARY}, "", "online"),
    "wandb login": ({}, "api.wandb.ai", "online"),
    "wandb login elsewhere": ({}, "example.org", "offline"),
    "wandb login, but asked for offline": ({"WANDB_MODE": "offline"}, "api.wandb.ai", "offline"),
}


@pytest.mark.parametrize("way", WAYS)
def test_online_is_decided_once_for_runs_and_publishing(tmp_path: Path, way: str) -> None:
    environment, host, expected = WAYS[way]
    if host:
        (tmp_path / ".netrc").write_text(NETRC.format(host))
    program = "pipeline.runs.in_wandb.quieten(); print(pipeline.runs.in_wandb.mode())"
    done = run(tmp_path, program, **environment)
    assert (done.stdout, done.stderr) == (f"{expected}\n", "")
    assert publish.mode is in_wandb.mode
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".netrc"]


def test_key_of_wandb_login_is_used_and_shown_nowhere(tmp_path: Path) -> None:
    """A run goes online with it, to a server that is not there; no file, argument or line of output has it."""
    (tmp_path / ".netrc").write_text(NETRC.format("127.0.0.1:9"))
    program = """
started = []
sys.addaudithook(lambda event, words: started.append(repr(words)) if event == "subprocess.Popen" else None)
pipeline.runs.in_wandb.INIT_TIMEOUT_S = 3
with track() as run: run.log({'a': 1.0}, 0)
assert started and Path(".netrc").read_text().split()[-1] not in str(started)
print('done')
"""
    done = run(tmp_path, program, WANDB_BASE_URL="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "tracking stopped, the run goes on: " in done.stderr and CANARY not in done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".netrc"]
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]


def test_key_reaches_no_file(tmp_path: Path) -> None:
    done = run(tmp_path, "with track() as run: run.log({'a': 1.0}, 0)", WANDB_API_KEY=CANARY, WANDB_MODE="offline")
    assert done.returncode == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_to_the_whole_job_is_no_fault_of_the_service(tmp_path: Path, end: signal.Signals) -> None:
    """It ends at SIGTERM and SIGINT, even where they were blocked when it was started, and not at the others."""
    program = f"""
from pipeline.runs.interruptions import Interruptions, Stopped
try:
    with Interruptions() as interruptions, track() as run:
        run.log({{"a": 1.0}}, 0)
        os.kill(os.getpid(), {int(end)})
        os.kill(service(), {int(end)})
        time.sleep(0.3)
        for step in range(1, 4): run.log({{"a": 1.0}}, step)
        raise Stopped(interruptions.number, "saved")
except Stopped as stop:
    sys.exit(stop.code)
"""
    done = run(tmp_path, program)
    assert (done.returncode, done.stdout, done.stderr) == (128 + end, "", "")


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
Wandb.row_s = Wandb.end_s = 1
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
    program = "pipeline.runs.in_wandb.INIT_TIMEOUT_S = 3\nwith track() as run: run.log({'a': 1.0}, 0)\nprint('done')"
    nowhere = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": CANARY}
    done = run(tmp_path, program, **nowhere)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "tracking stopped, the run goes on: " in done.stderr
    assert CANARY not in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


@pytest.mark.parametrize("mode", MIRRORS)
def test_an_unwritable_folder_costs_one_line(tmp_path: Path, mode: str) -> None:
    (tmp_path / "run").write_text("in the way")
    done = run(tmp_path, f"with track({mode!r}) as run: run.log({{'a': 1.0}}, 0)\nprint('done')")
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert done.stderr.count("\n") == 1


def test_an_error_of_the_run_is_not_swallowed(tmp_path: Path) -> None:
    done = run(tmp_path, "with track() as run: raise ArithmeticError('a return is not finite')")
    assert done.returncode == 1
    assert "ArithmeticError: a return is not finite" in done.stderr


def test_tensorboard_has_every_row_once_of_a_run_that_went_on(tmp_path: Path) -> None:
    """Read with TensorBoard's own reader. The run is stopped after its second row and told again from the first."""
    program = """
before = random.getstate(), np.random.get_state()[1].tolist()
for steps in (0, 300), (0, 300, 600):
    with track('tensorboard') as run:
        for step in steps: run.log({"eval/return_mean": 0.5 * step, "model/loss": 1.0 - step}, step)
assert (random.getstate(), np.random.get_state()[1].tolist()) == before
assert 'wandb' not in sys.modules
"""
    done = run(tmp_path, program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = EventAccumulator(str(tmp_path / "run" / FOLDER)).Reload()
    assert found.Tags()["scalars"] == ["eval/return_mean", "model/loss"]
    for tag, values in {"eval/return_mean": (0.0, 150.0, 300.0), "model/loss": (1.0, -299.0, -599.0)}.items():
        expected = list(zip((0, 300, 600), values, strict=True))
        assert [(event.step, event.value) for event in found.Scalars(tag)] == expected
    (settings,) = found.Tensors("config/text_summary")
    assert b"total_env_steps: 600" in settings.tensor_proto.string_val[0]


def test_a_full_disk_costs_tensorboard_one_line(tmp_path: Path) -> None:
    program = """
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with track('tensorboard') as run:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    for step in range(100): run.log({"a": 1.0}, step)
print("done")
"""
    done = run(tmp_path, program)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert done.stderr == "tracking stopped, the run goes on: [Errno 27] File too large\n"
