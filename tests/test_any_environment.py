"""Any gymnasium environment whose actions are a bounded box is one new file, or is refused in one sentence."""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete

import pipeline.config.refusals
import tom.envs
from tests.commands import complaint, typed
from tests.test_train import TOM, records_of, settings_of
from tom.envs.episodes import Episodes
from tom.envs.simulator import Lockstep, make
from tom.envs.spec import EnvSpec, never, unknown
from tom.settings.agent import AgentSettings
from tom.settings.backbones.sac import Settings as Sac
from tom.settings.fields import SettingsError
from tom.train import Evaluation, Round, Trainer

FILES = {
    "pendulum": '"Pendulum-v1", observation_dim=3, action_dim=1, terminated=never',
    "reacher": '"Reacher-v4", observation_dim=11, action_dim=2, terminated=never',
    "swimmer": '"Swimmer-v4", observation_dim=8, action_dim=2, terminated=never',
    "mountain_car": '"MountainCarContinuous-v0", observation_dim=2, action_dim=1',
    "misjudged": '"Hopper-v4", observation_dim=11, action_dim=3, terminated=never',
}
SHORT = {"total_env_steps": 130, "warmup_env_steps": 60, "round_env_steps": 40, "eval_every_env_steps": 130}


@pytest.fixture(autouse=True)
def _theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The files, where those of the house are looked for."""
    for name, spec in FILES.items():
        text = f"from tom.envs.spec import EnvSpec, never\n\nSPEC = EnvSpec({spec})\n"
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(tom.envs, "__path__", [*tom.envs.__path__, str(tmp_path)])
    monkeypatch.setattr(pipeline.config.refusals, "environments", lambda: ["hopper", *FILES])
    yield
    for name in FILES:
        sys.modules.pop(f"tom.envs.{name}", None)


def settings(env: str, **weighting: Any) -> AgentSettings:
    made = settings_of({"name": "uniform"} | weighting, train=SHORT | {"eval_episodes": 1})
    return dataclasses.replace(made, env=env)


@pytest.mark.parametrize("env", ["pendulum", "reacher", "swimmer"])
def test_an_environment_that_never_ends_is_learned_by_every_method(env: str) -> None:
    """Nothing is said of its reward, and nothing that is not MuJoCo's is asked of it."""
    records = records_of(settings(env, **TOM | {"pool_env_steps": 40}))
    rounds = [record for record in records if isinstance(record, Round)]
    assert [record.env_steps for record in rounds] == [60, 100]
    assert np.isfinite(rounds[-1].numbers["weighting/raw_mean"]).all()
    (last,) = [record for record in records if isinstance(record, Evaluation) and record.env_steps]
    assert (last.lengths == {"pendulum": 200, "reacher": 50, "swimmer": 1_000}[env]).all()


def test_one_without_a_termination_rule_is_for_methods_without_a_model() -> None:
    with pytest.raises(
        SettingsError, match=r"^env=mountain_car: no rule says .*; nearest valid choice: .* method=sac$"
    ):
        Trainer(settings("mountain_car"), [0], torch.device("cpu"))
    sac = Sac(hidden=16, batch=32, updates_per_burst=5)
    records = records_of(dataclasses.replace(settings("mountain_car"), backbone=sac))
    assert [record.env_steps for record in records] == [0, 60, 100, 130, 130]


def test_actions_reach_their_own_range() -> None:
    env = make(EnvSpec("Pendulum-v1", 3, 1))
    env.reset(seed=0)
    env.step(np.array([-1.0], np.float32))
    assert env.unwrapped.last_u == -2.0


def test_an_episode_that_was_saved_is_repeated() -> None:
    made = Trainer(settings("pendulum"), (0, 1), torch.device("cpu"))
    for _ in range(30):
        made.step(explore=True)
    again = Trainer(settings("pendulum"), (0, 1), torch.device("cpu"))
    again.load_state_dict(made.state_dict())
    assert isinstance(again.episodes, Episodes)
    assert torch.equal(made.episodes.observations, again.episodes.observations)


class Theirs(gymnasium.Env[Any, Any]):
    """Whatever the spaces are; a reward of one, and no end."""

    def __init__(self, observations: Any = None, actions: Any = None) -> None:
        self.observation_space = observations or Box(-1.0, 1.0, (3,))
        self.action_space = actions or Box(-2.0, 2.0, (2,))
        self.taken: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.taken.append(action)
        return self.observation_space.sample(), 1.0, False, False, {}


@pytest.fixture
def theirs() -> Iterator[Callable[..., EnvSpec]]:
    """A spec of an environment with these spaces."""

    def spec(observations: Any = None, actions: Any = None, **fields: Any) -> EnvSpec:
        gymnasium.registry.pop("Theirs-v0", None)
        gymnasium.register("Theirs-v0", lambda: Theirs(observations, actions), max_episode_steps=7)
        return EnvSpec(**{"id": "Theirs-v0", "observation_dim": 3, "action_dim": 2} | fields)

    yield spec
    gymnasium.registry.pop("Theirs-v0", None)


def test_observations_of_any_form_are_laid_out_flat(theirs: Callable[..., EnvSpec]) -> None:
    space = Dict({"goal": Box(-1.0, 1.0, (2,)), "state": Box(-1.0, 1.0, (2, 2)), "lamp": Discrete(3)})
    envs = Lockstep(theirs(space, Box(-1.0, 1.0, (2,), np.float64), observation_dim=9), 2)
    assert envs.reset(0, 0).shape == envs.reset(1, 1).shape == (9,)
    observations, rewards, terminated, truncated = envs.step(np.zeros((2, 2), np.float32), [0, 1])
    assert observations.shape == (2, 9) and rewards.tolist() == [1.0, 1.0]
    assert not terminated.any() and not truncated.any()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "discrete": ({"actions": Discrete(2)}, r"Theirs-v0: its actions are Discrete\(2\); nearest .* box of real numbers"),
    "no bounds": ({"actions": Box(-np.inf, np.inf, (2,))}, r"Theirs-v0: its actions are Box\(-inf, inf.*"),
    "integers": ({"actions": Box(0, 9, (2,), np.int64)}, r"Theirs-v0: its actions are Box\(0, 9.*"),
    "a table": (
        {"actions": Box(-1.0, 1.0, (2, 2))},
        r"Theirs-v0: its actions are Box\(-1.0, 1.0, \(2, 2\).*flat box.*",
    ),
    "actions": ({"action_dim": 3}, "Theirs-v0: action_dim=3; nearest valid value: 2"),
    "observations": ({"observation_dim": 4}, "Theirs-v0: observation_dim=4; nearest valid value: 3, or fewer .*"),
    "some of them": ({"observation_dim": 2}, "Theirs-v0: observation_dim=2; nearest valid value: 3, or fewer with .*"),
    "unknown": ({"id": "Walker-v4"}, "Walker-v4 cannot be made here: .*"),
    "a package": ({"id": "nowhere:Walker-v0"}, "nowhere:Walker-v0 cannot be made here: No module named 'nowhere'.*"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_learned_from_is_refused_in_one_sentence(case: str, theirs: Callable[..., EnvSpec]) -> None:
    fields, said = REFUSED[case]
    with pytest.raises(SettingsError, match=rf"^{said}$"):
        make(theirs(**fields))


def test_episodes_have_an_end(theirs: Callable[..., EnvSpec]) -> None:
    assert make(theirs()).spec.max_episode_steps == 7
    assert make(theirs(max_episode_steps=5)).spec.max_episode_steps == 5
    gymnasium.registry["Theirs-v0"].max_episode_steps = None
    with pytest.raises(
        SettingsError, match=r"^Theirs-v0 cuts no episode, .*; nearest valid choice: max_episode_steps="
    ):
        make(EnvSpec("Theirs-v0", 3, 2))


def test_some_of_the_observations_are_taken_where_it_is_said_which(theirs: Callable[..., EnvSpec]) -> None:
    assert make(theirs(observation_dim=2, observation="the first two")).reset(seed=0)[0].shape == (2,)


def test_a_command_prints_what_the_test_of_a_new_one_wants() -> None:
    lines = typed("check", "environment", "pendulum").stdout.splitlines()
    assert lines[0] == "pendulum: Pendulum-v1, 3 observations, 1 actions in [-1, 1], episodes of at most 200 steps"
    assert lines[1].startswith("300 random steps: rewards from -") and lines[1].endswith(
        " 0 terminal, as terminated(next_obs) says"
    )
    assert lines[2].startswith('    "pendulum": [-')
    assert "not known: for methods without a model" in typed("check", "environment", "mountain_car").stdout
    said = complaint(typed("check", "environment", "misjudged"))
    assert said.startswith("Hopper-v4: after ") and "terminated(next_obs) is False, and the simulator says True" in said
    assert "envs=pendulun does not exist" in complaint(typed("check", "environment", "pendulun"))


def test_the_two_rules_without_a_threshold() -> None:
    assert not never(torch.full((5, 3), torch.nan)).any()
    with pytest.raises(SettingsError, match="no rule says"):
        unknown(torch.zeros(5, 3))
