"""A trained policy in three lines: what it does, what it is asked for by others, and what it becomes in a file."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import tom
from pipeline.files import ROOT
from tests.commands import complaint, typed
from tom.core.streams import streams
from tom.envs.simulator import Lockstep
from tom.evaluate import evaluate
from tom.policy import TrainedPolicy, load_policy
from tom.settings.fields import SettingsError

RECORDED = sorted(path.parent for path in ROOT.glob("reports/**/policy.npz"))
HOPPER = ROOT / "reports/results/quick/tom/hopper/0"


@pytest.fixture
def policy() -> TrainedPolicy:
    return load_policy(HOPPER)


def test_three_lines() -> None:
    policy = tom.load_policy(HOPPER)
    env = policy.make()
    action = policy.act(env.reset(seed=0)[0])
    assert env.action_space.contains(action) and action.dtype == np.float32
    assert tom.make("hopper").observation_space == env.observation_space


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_every_recorded_policy_acts(folder: Path) -> None:
    policy = load_policy(folder)
    env = policy.make()
    obs, _ = env.reset(seed=0)
    obs, reward, *_ = env.step(policy.act(obs))
    assert policy.env == folder.parent.name and np.isfinite([*obs, reward]).all()


@pytest.mark.parametrize("name", ["policy.npz", "config.yaml"])
def test_a_file_that_was_edited_is_refused_by_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "0"
    shutil.copytree(HOPPER, folder)
    load_policy(folder)
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(SettingsError, match=f"{name} is not the file that was recorded; nearest valid choice"):
        load_policy(folder)
    refused = typed("evaluate", folder)
    assert f"{name} is not the file" in complaint(refused)
    (folder / "provenance.json").write_text("[]")
    with pytest.raises(SettingsError, match=r"provenance.json is not the record of a run"):
        load_policy(folder)
    (folder / "provenance.json").unlink()
    load_policy(folder)


@pytest.mark.parametrize("method", ["mbpo", "tom"])
def test_a_recorded_policy_plays_as_it_did(method: str) -> None:
    """The last evaluation of the run again, with the seeds that its stream gives; exact where it was recorded."""
    folder = ROOT / f"reports/results/quick/{method}/hopper/0"
    rows = np.loadtxt(folder / "evals.csv", delimiter=",", skiprows=1)
    policy, draws = load_policy(folder), streams([0], torch.device("cpu"))["eval"]
    *_, seeds = (draws.seeds(2) for _ in rows)
    returns, lengths = evaluate(policy.module, Lockstep(policy.spec, 2), seeds)
    assert [returns.mean(), lengths.mean()] == pytest.approx(rows[-1][[1, 5]], rel=0.01)


def test_actions_are_the_mode_or_draws_of_the_policy_s_gaussian(policy: TrainedPolicy) -> None:
    obs = np.random.default_rng(0).normal(size=(4, 5, 11)).astype(np.float32)
    mode = policy.act(obs)
    assert mode.shape == (4, 5, 3)
    np.testing.assert_allclose(policy.act(obs[2, 3]), mode[2, 3], atol=1e-6)
    mean, std = (part[0].detach().numpy() for part in policy.module(torch.as_tensor(obs[:1, 0])[None]))
    np.testing.assert_allclose(np.tanh(mean), mode[:1, 0], atol=1e-6)
    draws = np.arctanh(policy.act(np.tile(obs[0, 0], (20_000, 1)), deterministic=False).astype(np.float64))
    inside = np.isfinite(draws).all(0)  # an action that rounds to 1 tells no more
    assert inside.any()
    np.testing.assert_allclose(draws.mean(0)[inside], mean[0][inside], atol=5.0 * std.max() / np.sqrt(20_000))
    np.testing.assert_allclose(draws.std(0)[inside], std[0][inside], rtol=0.05)


def test_draws_are_decided_by_the_seed() -> None:
    first, again, other = (load_policy(HOPPER, seed).act(np.zeros(11), deterministic=False) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_predict_is_what_stable_baselines_asks_for(policy: TrainedPolicy) -> None:
    """As `evaluate_policy` calls it there, for several environments at once."""
    obs = np.zeros((2, 11), np.float64)
    starts = np.ones(2, dtype=bool)
    action, state = policy.predict(obs, state=None, episode_start=starts, deterministic=True)
    assert state is None
    np.testing.assert_array_equal(action, policy.act(obs))
    assert not np.array_equal(policy.predict(obs)[0][0], policy.predict(obs)[0][1]), "sampled unless it is said"


def test_a_run_of_another_loop_is_refused_by_its_environment(tmp_path: Path) -> None:
    """A platoon has a policy for each vehicle."""
    (tmp_path / "config.yaml").write_text("env: catchup\ntrain: {}\n")
    (tmp_path / "policy.npz").write_bytes(b"")
    with pytest.raises(SettingsError, match="env=catchup does not exist"):
        tom.load_policy(tmp_path)


def test_an_observation_of_another_size_is_refused(policy: TrainedPolicy) -> None:
    with pytest.raises(SettingsError, match=r"^obs has the shape \[17\]; nearest valid choice: \[..., 11\]$"):
        policy.act(np.zeros(17))
    with pytest.raises(SettingsError, match=r"^env=hoper does not exist; nearest valid choice: hopper$"):
        tom.make("hoper")


def test_contact_costs_and_options_reach_the_environment() -> None:
    env = tom.make("hopper", render_mode="rgb_array", max_episode_steps=7)
    assert env.render_mode == "rgb_array" and env.spec is not None and env.spec.max_episode_steps == 7
    rewards = []
    for contact_cost in (True, False):
        env = tom.make("ant", contact_cost)
        env.reset(seed=0)
        rewards.append(sum(float(env.step(np.zeros(8, np.float32))[1]) for _ in range(20)))
    assert rewards[0] < rewards[1]


def test_nothing_heavy_is_loaded_until_it_is_asked_for() -> None:
    program = "import sys, tom, tom.settings; print('torch' in sys.modules, tom.load_policy.__name__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False load_policy\n"
    with pytest.raises(AttributeError, match="module 'tom' has no attribute 'load_polcy'"):
        tom.load_polcy  # noqa: B018


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_policy_becomes_torch_script(policy: TrainedPolicy, tmp_path: Path) -> None:
    out = tmp_path / "hopper.pt"
    said = typed("export", "policy", HOPPER, out)
    assert said.stdout == f"wrote {out}: observations [rows, 11] of hopper to actions [rows, 3] in [-1, 1]\n"
    module, obs = torch.jit.load(out), 3.0 * torch.randn(50, 11)
    np.testing.assert_allclose(module(obs).detach().numpy(), policy.act(obs), atol=1e-6)
    assert module(obs[:1]).shape == (1, 3)


def test_a_policy_becomes_onnx(policy: TrainedPolicy, tmp_path: Path) -> None:
    out = tmp_path / "hopper.onnx"
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    assert typed("export", "policy", HOPPER, out).exit_code == 0
    obs = 3.0 * np.random.default_rng(0).normal(size=(50, 11)).astype(np.float32)
    (action,) = runtime.InferenceSession(str(out)).run(["action"], {"obs": obs})
    np.testing.assert_allclose(action, policy.act(obs), atol=1e-6)


def test_what_cannot_be_exported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "must end in .pt or .onnx" in complaint(typed("export", "policy", HOPPER, tmp_path / "hopper.h5"))
    assert "existing folder" in complaint(typed("export", "policy", HOPPER, tmp_path / "nowhere/hopper.pt"))
    assert "has no config.yaml" in complaint(typed("export", "policy", tmp_path, tmp_path / "hopper.pt"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "writes ONNX with onnxscript" in complaint(typed("export", "policy", HOPPER, tmp_path / "hopper.onnx"))
    assert not list(tmp_path.iterdir())
