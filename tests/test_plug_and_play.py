"""TOM's weights on somebody else's replay and policy, and a backbone of somebody else's: nothing of the pipeline."""

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import make_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tom.core.context import Context, View
from tom.core.replay import Replay
from tom.core.streams import streams
from tom.settings import KINDS, names
from tom.settings import train as train_settings
from tom.settings.agent import AgentSettings, agent_settings
from tom.settings.fields import SettingsError, part
from tom.settings.weightings.tom import Settings
from tom.train import Final, Round, Step, Trainer, train
from tom.weightings.tom import TransitionOccupancyMatching

OBS, ACT, ROWS, OWN = 3, 1, 2_000, 400


class TheirPolicy(nn.Module):
    """Steers against the sum of the state; all that TOM asks of a policy is `samples`."""

    def samples(self, obs: Tensor, noise: Tensor) -> Tensor:
        """obs [R, B, O], standard normal noise [R, K, B, A] -> K actions per observation in (-1, 1), [R, K, B, A]."""
        return torch.tanh(-2.0 * obs.sum(-1, keepdim=True)[:, None] + 0.1 * noise)


def their_arrays() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Rows of the policy at both ends of the buffer, uniform actions in between; also which rows are the policy's."""
    draws = np.random.default_rng(0)
    obs, own = draws.normal(size=(ROWS, OBS)), np.ones(ROWS, dtype=bool)
    own[OWN:-OWN] = False
    steered = np.tanh(-2.0 * obs.sum(-1, keepdims=True) + 0.1 * draws.normal(size=(ROWS, ACT)))
    action = np.where(own[:, None], steered, draws.uniform(-1.0, 1.0, (ROWS, ACT)))
    arrays = {"obs": obs, "action": action, "next_obs": 0.5 * obs + 0.5 * action, "reward": np.zeros(ROWS)}
    return arrays | {"terminated": draws.random(ROWS) < 0.02, "resets": draws.normal(size=(50, OBS))}, own


def test_weights_of_somebody_else_s_replay() -> None:
    arrays, own = their_arrays()
    replay, draws = Replay.from_arrays(**arrays), streams([0], torch.device("cpu"))
    context = Context(1, OBS, ACT, 0.9, replay.data.device, draws["init"])
    settings = Settings(pool_env_steps=OWN, discriminator_hidden=64, q_hidden=64, q_updates=300)
    tom = TransitionOccupancyMatching(settings, context)
    view = View(replay, TheirPolicy(), None, env_step=ROWS, warmup_env_steps=0, stream=draws["weighting"])
    tom.prepare(view)
    weights = tom.weights(view)
    assert weights.shape == (1, ROWS)
    assert float(weights.min()) >= 0.0
    torch.testing.assert_close(weights.mean(-1), torch.ones(1))
    newest, oldest, others = weights[0, -OWN:], weights[0, :OWN], weights[0, ~torch.as_tensor(own)]
    assert float(newest.mean()) > 1.5 * float(others.mean())
    assert float(oldest.mean()) > 1.5 * float(others.mean())  # by what they are, not by how new


def test_a_replay_from_arrays_holds_them() -> None:
    arrays, _ = their_arrays()
    truncated = np.arange(ROWS) % 100 == 99
    replay = Replay.from_arrays(**arrays, truncated=truncated)
    rows = replay.all()
    for name, values in (arrays | {"truncated": truncated}).items():
        if name not in ("action", "resets"):
            np.testing.assert_array_equal(getattr(rows, name)[0].numpy(), values.astype(np.float32))
    np.testing.assert_array_equal(rows.obs_action[0, :, OBS:].numpy(), arrays["action"].astype(np.float32))
    np.testing.assert_array_equal(replay.resets[0, :50].numpy(), arrays["resets"].astype(np.float32))
    assert len(replay) == ROWS and replay.resets_kept() == [50]
    assert replay.env_step.tolist() == list(range(ROWS))


def changed(name: str, change: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    arrays, _ = their_arrays()
    return arrays | {name: change(arrays[name].copy())}


def with_one(place: int | tuple[int, int], value: float) -> Callable[[np.ndarray], np.ndarray]:
    def put(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.float64)
        array[place] = value
        return array

    return put


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "NaN": (changed("obs", with_one((7, 2), np.nan)), r"obs\[7, 2\] is nan; nearest valid choice: leave the row out"),
    "infinity": (changed("reward", with_one(3, -np.inf)), r"reward\[3\] is -inf; .* leave the row out"),
    "beyond float32": (changed("next_obs", with_one((1, 0), 1e39)), r"next_obs\[1, 0\] is 1e\+39; .*"),
    "a NaN reset": (changed("resets", with_one((49, 0), np.nan)), r"resets\[49, 0\] is nan; .*"),
    "a NaN flag": (changed("terminated", with_one(5, np.nan)), r"terminated\[5\] is nan; .*"),
    "flags of a byte": (
        changed("terminated", lambda flags: 255 * flags.astype(np.uint8)),
        r"terminated\[\d+\] is 255; .*",
    ),
    "large actions": (changed("action", lambda action: 17.0 * action), r"action\[0, 0\] is .*; .* scaled to \[-1, 1\]"),
    "one reset": (changed("resets", lambda resets: resets[0]), r"resets: the shape is \[3\]; .* \[1, 3\]"),
    "narrow resets": (changed("resets", lambda resets: resets[:, :1]), r"resets: the shape is \[50, 1\]; .* \[50, 3\]"),
    "no resets": (changed("resets", lambda resets: resets[:0]), r"resets: the shape is \[0, 3\]; .* \[1, 3\]"),
    "a column": (changed("reward", lambda reward: reward[:, None]), r"reward: the shape is \[2000, 1\]; .* \[2000\]"),
    "flat actions": (changed("action", lambda action: action[:, 0]), r"action: the shape is \[2000\]; .* \[2000, 1\]"),
    "fewer rows": (changed("next_obs", lambda obs: obs[:-1]), r"next_obs: the shape is \[1999, 3\]; .* \[2000, 3\]"),
    "one row": (changed("obs", lambda obs: obs[0]), r"obs: the shape is \[3\]; .* \[3, 1\]"),
    "words": (changed("reward", lambda reward: reward.astype(str)[:1].repeat(ROWS) + "x"), "reward is no array of .*"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arrays_that_cannot_be_learned_from_are_refused_by_name_and_row(case: str) -> None:
    arrays, said = REFUSED[case]
    with pytest.raises(SettingsError, match=rf"^{said}$"):
        Replay.from_arrays(**arrays)


THEIR_BACKBONE = '''
import torch

from tom.backbones.base import Backbone
from tom.core.networks import Policy, descend


class Imitation(Backbone):
    """Imagined actions are imitated the more, the more reward they brought (Peters and Schaal, 2007)."""

    uses_model = True

    def __init__(self, settings, context):
        policy = Policy(context.replicas, context.observation_dim, context.action_dim, 8, context.init)
        super().__init__(context, policy, updates_per_env_step=0.5, updates_per_burst=5)
        self.parameters = list(policy.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, settings.learning_rate)
        self.obs = self.actions = self.rewards = torch.zeros(context.replicas, 0, 1)

    @torch.no_grad()
    def rollout(self, model, replay, world, stream, weights=None):
        draws, outputs = stream.fork(), 1 + world.observation_dim
        self.obs = replay.rows(draws.below(len(replay), 30)).obs
        self.actions = self.policy.sample(self.obs, draws.normal(30, world.action_dim))
        obs_action = torch.cat([self.obs, self.actions], -1)
        self.rewards = model.sample(obs_action, draws.uniform(30, outputs), draws.normal(30, outputs))[0]

    def learn(self, replay, stream):
        weights = self.rewards.softmax(-1)[..., None]
        for _ in range(self.updates_per_burst):
            loss = (weights * (self.policy.mode(self.obs) - self.actions).square()).sum((1, 2))
            descend(self.optimizer, loss, self.parameters)

    def state_dict(self):
        rows = {"obs": self.obs, "actions": self.actions, "rewards": self.rewards}
        return super().state_dict() | rows | {"policy": self.policy.state_dict(), "adam": self.optimizer.state_dict()}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.obs, self.actions, self.rewards = state["obs"], state["actions"], state["rewards"]
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["adam"])


def build(settings, context):
    return Imitation(settings, context)
'''
THEIR_SETTINGS = """
from dataclasses import dataclass
from typing import ClassVar

from tom.settings.fields import number, part


@dataclass
class Settings:
    uses_model: ClassVar[bool] = True

    name: str = part("imitation", origin="ours")
    discount: float = number(0.9, low=0.0, high=0.9999, origin="ours", help="gamma of the weighting")
    learning_rate: float = number(1e-2, low=1e-8, high=1.0, origin="ours", help="Adam step size")
"""


THEIR_WEIGHTING = """
from tom.weightings.base import Weighting, normalised


class Rewarded(Weighting):
    def weights(self, view):
        return normalised(view.replay.all().reward.exp())


def build(settings, context):
    return Rewarded()
"""
THEIR_LOSS = """
from tom.losses.base import Loss


class Absolute(Loss):
    def __call__(self, model, inputs, targets, columns):
        return (model.moments(inputs)[0] - targets).abs().sum(-1) - model.log_density(inputs, targets).sum(-1)


def build(settings, context):
    return Absolute()
"""
NAMED = """
from dataclasses import dataclass
from tom.settings.fields import part


@dataclass
class Settings:
    name: str = part("{}", origin="ours")
"""
THEIRS = {
    "imitation": ("backbone", THEIR_BACKBONE, THEIR_SETTINGS),
    "rewarded": ("weighting", THEIR_WEIGHTING, NAMED.format("rewarded")),
    "absolute": ("loss", THEIR_LOSS, NAMED.format("absolute")),
}


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Adds one of THEIRS: two new files, where those of the house are looked for."""
    added = []

    def add(name: str) -> None:
        kind, *texts = THEIRS[name]
        for place, text in zip((f"tom.{KINDS[kind]}", f"tom.settings.{KINDS[kind]}"), texts, strict=True):
            package, folder = import_module(place), tmp_path / place
            folder.mkdir()
            (folder / f"{name}.py").write_text(text)
            monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
            added.append(f"{place}.{name}")
        assert name in names(kind)

    yield add
    for module in added:
        sys.modules.pop(module, None)


def with_backbone(name: str, loss: str = "nll") -> AgentSettings:
    loop = {"total_env_steps": 90, "warmup_env_steps": 40, "round_env_steps": 20, "eval_every_env_steps": 90}
    weighting = {"name": "tom", "pool_env_steps": 20, "discriminator_updates": 5, "discriminator_batch": 16}
    dynamics = {"name": "mdn", "hidden": 4, "layers": 1, "components": 1, "max_epochs": 2, "batch": 16}
    parts: dict[str, Any] = {"weighting": weighting, "dynamics": dynamics, "loss": {"name": loss}}
    return agent_settings({"env": "hopper", "train": {**loop, "eval_episodes": 1}, "backbone": {"name": name}, **parts})


def test_a_weighting_and_a_loss_are_two_new_files_each(theirs: Callable[[str], None]) -> None:
    """They train with the house's backbone, and change what the model is fitted to: nothing else needs to know them."""
    theirs("rewarded")
    theirs("absolute")
    loop = {"total_env_steps": 60, "warmup_env_steps": 40, "round_env_steps": 20, "eval_every_env_steps": 60}
    dynamics = {"name": "mdn", "hidden": 4, "layers": 1, "components": 1, "max_epochs": 2, "batch": 16}
    losses = {}
    for weighting, loss in (("uniform", "nll"), ("rewarded", "nll"), ("rewarded", "absolute")):
        parts = {"weighting": {"name": weighting}, "loss": {"name": loss}, "dynamics": dynamics}
        backbone = {"name": "mbpo", "hidden": 4, "batch": 20, "rollout_starts": 20}
        config = {"env": "hopper", "train": {**loop, "eval_episodes": 1}, "backbone": backbone, **parts}
        rounds = [record for record in train(agent_settings(config), (0,), "cpu") if isinstance(record, Round)]
        losses[weighting, loss] = float(rounds[0].numbers["model/train_loss"][0])
    assert all(np.isfinite(value) for value in losses.values()) and len(set(losses.values())) == len(losses)


def test_a_backbone_without_sac_is_two_new_files(theirs: Callable[[str], None]) -> None:
    """It trains in model rounds with TOM's weights, goes on from a state in the middle, and has no critic to ask."""
    theirs(imitation := "imitation")
    records, state = list[Any](), dict[str, Any]()
    for record in train(with_backbone(imitation), (0, 1), "cpu"):
        records.append(record)
        if isinstance(record, Step) and record.env_steps == 70:
            state = copy.deepcopy(record.state())
    rounds = [record for record in records if isinstance(record, Round)]
    assert [record.env_steps for record in rounds] == [40, 60, 80]
    assert all(np.isfinite(record.numbers["model/train_loss"]).all() for record in rounds)
    assert np.isfinite(rounds[-1].numbers["weighting/dual"]).all()
    assert rounds[-1].numbers["updates_per_env_step"].tolist() == [0.5, 0.5]
    untrained = Trainer(with_backbone(imitation), (0, 1), torch.device("cpu")).backbone.policy.state_dict()
    *_, last = records
    assert isinstance(last, Final)
    assert all(not np.array_equal(last.policy[name], value.numpy()) for name, value in untrained.items())
    *_, resumed = train(with_backbone(imitation), (0, 1), "cpu", state)
    assert isinstance(resumed, Final)
    assert all(np.array_equal(last.policy[name], value) for name, value in resumed.policy.items())
    with pytest.raises(SettingsError, match=r"^vagram needs a critic; imitation has none$"):
        next(train(with_backbone(imitation, "vagram"), (0, 1), "cpu"))


def bare(name: str, **attributes: Any) -> Any:
    """The settings of a part that say nothing but its name."""
    return make_dataclass("Settings", [("name", str, part(name, origin="ours"))], namespace=attributes)()


def test_settings_of_another_s_part_say_no_more_than_they_have_to() -> None:
    """Who does not say that it uses a model has none to fit; a loss that does not say otherwise fits a variance."""
    loop, dynamics, backbone = train_settings.Settings(), bare("mine"), bare("theirs")
    assert not list(AgentSettings("hopper", loop, bare("uniform"), bare("nll"), dynamics, backbone).problems())
    half = bare("half", leaves_variance="share=0.5")
    assert list(AgentSettings("hopper", loop, bare("tom"), half, dynamics, backbone).problems()) == [
        "weighting=tom has no model to fit with backbone=theirs; nearest valid choice: weighting=uniform",
        "loss=half has no model to fit with backbone=theirs; nearest valid choice: loss=nll",
        "loss: share=0.5 leaves the variance of mine as it began, and rollouts sample it; nearest valid choice: "
        "dynamics=ensemble with dynamics.deterministic=true",
    ]
