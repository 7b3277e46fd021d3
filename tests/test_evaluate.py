"""A saved policy acts as it did, and films where a renderer is there."""

import ctypes.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.evaluate import replay
from pipeline.runs.video import _bar
from tests.commands import complaint, typed
from tom.core.networks import Policy
from tom.core.streams import streams
from tom.policy import load_policy, make
from tom.settings import environments
from tom.settings.fields import SettingsError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run folder with an untrained policy for Hopper."""
    policy = Policy(1, 11, 3, 8, streams([0], torch.device("cpu"))["init"])
    np.savez(tmp_path / "policy.npz", **{name: value.numpy()[0] for name, value in policy.state_dict().items()})
    (tmp_path / "config.yaml").write_text("env: hopper\ntrain:\n  contact_cost: true\nbackbone:\n  hidden: 8\n")
    return tmp_path


def test_same_seed_same_episodes_and_other_seeds_differ(run_dir: Path) -> None:
    policy = load_policy(run_dir)
    returns, lengths = replay(policy, 3, seed=0)
    again, _ = replay(policy, 3, seed=0)
    other, _ = replay(policy, 3, seed=1)
    assert returns.tolist() == again.tolist()
    assert (returns.shape, lengths.shape) == ((3,), (3,))
    assert not set(returns) & set(other)


def test_more_episodes_keep_the_first_ones(run_dir: Path) -> None:
    policy = load_policy(run_dir)
    few, many = (replay(policy, episodes, seed=0)[0] for episodes in (2, 4))
    np.testing.assert_allclose(many[:2], few, rtol=1e-4)  # batch sizes round differently


def test_contact_costs_are_those_of_the_run(tmp_path: Path) -> None:
    policy = Policy(1, 27, 8, 8, streams([0], torch.device("cpu"))["init"])
    np.savez(tmp_path / "policy.npz", **{name: value.numpy()[0] for name, value in policy.state_dict().items()})
    found = {}
    for switch in ("true", "false"):
        (tmp_path / "config.yaml").write_text(f"env: ant\ntrain:\n  contact_cost: {switch}\nbackbone:\n  hidden: 8\n")
        found[switch] = replay(load_policy(tmp_path), 1, seed=0)
    assert found["true"][1] == found["false"][1]
    assert 0.0 < found["false"][0][0] - found["true"][0][0] < 1e-3 * 78 * found["true"][1][0]


def test_prints_one_line(run_dir: Path) -> None:
    result = typed("evaluate", run_dir, "--episodes", 2)
    assert result.exit_code == 0
    printed = result.stdout
    assert printed.count("\n") == 1
    assert "mean return" in printed
    assert "over 2 episodes" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument 'RUN'"),
        (["nowhere"], "has no config.yaml"),
        (["{}", "--episodes=0"], "0 is not in the range x>=1"),
        (["{}", "--episodes=many"], "'many' is not a valid integer range"),
        (["{}", "--seed=-1"], "-1 is not in the range x>=0"),
        (["{}", "--vidio=a.mp4"], "No such option '--vidio'"),
        (["{}", "--video=a.gif"], "must end in .mp4"),
        (["{}", "--video=nowhere/a.mp4"], "existing folder"),
    ],
)
def test_bad_input_is_refused_in_one_line(run_dir: Path, arguments: list[str], said: str) -> None:
    assert said in complaint(typed("evaluate", *(argument.format(run_dir) for argument in arguments)))


class Trap:
    """Would create a file if it were unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("sprung",)


def test_pickles_are_not_opened(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run_dir)
    np.savez(run_dir / "policy.npz", trap=np.array([Trap()], dtype=object))
    with pytest.raises(SettingsError, match="not a finished run"):
        load_policy(run_dir)
    (run_dir / "policy.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(SettingsError, match="not a finished run"):
        load_policy(run_dir)
    assert not (run_dir / "sprung").exists()


def test_policy_of_another_environment_is_refused(run_dir: Path) -> None:
    (run_dir / "config.yaml").write_text("env: halfcheetah\ntrain:\n  contact_cost: true\nbackbone:\n  hidden: 8\n")
    assert "no policy for HalfCheetah-v4" in complaint(typed("evaluate", run_dir))


@pytest.mark.parametrize(("way", "library"), [("egl", "EGL"), ("osmesa", "OSMesa")])
def test_films_or_says_what_to_install(run_dir: Path, way: str, library: str) -> None:
    video = run_dir / "film.mp4"
    command = [sys.executable, "-m", "pipeline.app", "evaluate", run_dir, "--episodes", "1", "--video", video]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "MUJOCO_GL": way}, capture_output=True, text=True, check=False
    )
    if ctypes.util.find_library(library) and done.returncode == 0:
        assert video.stat().st_size > 1_000
    else:  # no library, or one that finds nothing to render on
        assert done.returncode == 2
        assert "Debian: libosmesa6" in done.stderr
        assert done.stderr.count("\n") == 1
        assert not video.exists()
    assert not list(run_dir.glob(".*"))


RUNNERS = set(environments()) - {"inverted_pendulum"}  # on a floor, which goes on under them


def test_every_robot_is_in_every_frame(tmp_path: Path) -> None:
    """Pixels of the film, where the robot was carried tens of metres: tests/filmed.py."""
    command = [sys.executable, "-m", "tests.filmed", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    frames = {name: shown for name, *shown in map(str.split, done.stdout.splitlines())}
    assert sorted(frames) == environments()
    for name, shown in frames.items():
        for frame in shown:
            share, right, down, floor = map(float, frame.split(","))
            assert share >= 5.0 and 0.05 < right < 0.95 and 0.3 < down < 0.9, (name, shown)
            assert floor > 20.0 or name not in RUNNERS, (name, shown)


def test_progress_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    env = make("hopper")
    with _bar(Path("hop.mp4"), env):
        assert capsys.readouterr().err == "filming at most 1000 steps into hop.mp4\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with _bar(Path("hop.mp4"), env) as bar:
        bar.update(250)
        bar.refresh()
        assert "filming hop.mp4:  25%" in capsys.readouterr().err
