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

from pipeline.evaluate import main, read_run, replay
from tom.core.networks import Policy
from tom.core.streams import streams
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
    saved = read_run(run_dir)
    returns, lengths = replay(saved, 3, seed=0)
    again, _ = replay(saved, 3, seed=0)
    other, _ = replay(saved, 3, seed=1)
    assert returns.tolist() == again.tolist()
    assert (returns.shape, lengths.shape) == ((3,), (3,))
    assert not set(returns) & set(other)


def test_more_episodes_keep_the_first_ones(run_dir: Path) -> None:
    saved = read_run(run_dir)
    few, many = (replay(saved, episodes, seed=0)[0] for episodes in (2, 4))
    np.testing.assert_allclose(many[:2], few, rtol=1e-4)  # batch sizes round differently


def test_contact_costs_are_those_of_the_run(tmp_path: Path) -> None:
    policy = Policy(1, 27, 8, 8, streams([0], torch.device("cpu"))["init"])
    np.savez(tmp_path / "policy.npz", **{name: value.numpy()[0] for name, value in policy.state_dict().items()})
    found = {}
    for switch in ("true", "false"):
        (tmp_path / "config.yaml").write_text(f"env: ant\ntrain:\n  contact_cost: {switch}\nbackbone:\n  hidden: 8\n")
        found[switch] = replay(read_run(tmp_path), 1, seed=0)
    assert found["true"][1] == found["false"][1]
    assert 0.0 < found["false"][0][0] - found["true"][0][0] < 1e-3 * 78 * found["true"][1][0]


def test_prints_one_line(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"run_dir={run_dir}", "episodes=2"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert "mean return" in printed
    assert "over 2 episodes" in printed


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "run_dir= is missing"),
        (["run_dir=nowhere"], "has no config.yaml"),
        (["run_dir={}", "episodes=0"], "episodes=0"),
        (["run_dir={}", "episodes=many"], "episodes=many"),
        (["run_dir={}", "seed=-1"], "seed=-1"),
        (["run_dir={}", "vidio=a.mp4"], "vidio=a.mp4 is not an argument"),
        (["run_dir={}", "video=a.gif"], "must end in .mp4"),
        (["run_dir={}", "video=nowhere/a.mp4"], "existing folder"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    run_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert main([argument.format(run_dir) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


class Trap:
    """Would create a file if it were unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("sprung",)


def test_pickles_are_not_opened(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run_dir)
    np.savez(run_dir / "policy.npz", trap=np.array([Trap()], dtype=object))
    with pytest.raises(SettingsError, match="not a finished run"):
        read_run(run_dir)
    (run_dir / "policy.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(SettingsError, match="not a finished run"):
        read_run(run_dir)
    assert not (run_dir / "sprung").exists()


def test_policy_of_another_environment_is_refused(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run_dir / "config.yaml").write_text("env: halfcheetah\ntrain:\n  contact_cost: true\nbackbone:\n  hidden: 8\n")
    assert main([f"run_dir={run_dir}"]) == 2
    assert "no policy for HalfCheetah-v4" in capsys.readouterr().err


@pytest.mark.parametrize(("way", "library"), [("egl", "EGL"), ("osmesa", "OSMesa")])
def test_films_or_says_what_to_install(run_dir: Path, way: str, library: str) -> None:
    video = run_dir / "film.mp4"
    command = [sys.executable, "-m", "pipeline.evaluate", f"run_dir={run_dir}", "episodes=1", f"video={video}"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "MUJOCO_GL": way}, capture_output=True, text=True, check=False
    )
    if ctypes.util.find_library(library) and done.returncode == 0:
        assert video.stat().st_size > 1_000
    else:  # no library, or one that finds nothing to render on
        assert done.returncode == 2
        assert "libegl1 or libosmesa6" in done.stderr
        assert done.stderr.count("\n") == 1
        assert not video.exists()
    assert not list(run_dir.glob(".*"))
