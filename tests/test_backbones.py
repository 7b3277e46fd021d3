"""Who acts and improves: SAC without a model, and the schedules of MBPO."""

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config.compose import compose_cell
from tests.test_contract import ACT, OBS, context, situation
from tom.backbones.mbpo import ModelBasedPolicyOptimisation, rollout_length
from tom.core.context import Context, build
from tom.core.replay import Replay
from tom.core.streams import streams
from tom.envs.hopper import SPEC as HOPPER
from tom.settings import settings_class
from tom.settings.agent import agent_settings
from tom.settings.backbones.mbpo import Settings
from tom.settings.backbones.sac import Settings as SacSettings
from tom.settings.dynamics.mdn import Settings as MdnSettings
from tom.train import Final, Round, Trainer, train

CPU = torch.device("cpu")
WIDTH = 2 * OBS + ACT + 3
TINY: dict[str, Any] = {
    "env": "inverted_pendulum",
    "train": {
        "total_env_steps": 120,
        "warmup_env_steps": 40,
        "round_env_steps": 40,
        "eval_every_env_steps": 120,
        "eval_episodes": 1,
    },
    "weighting": {"name": "uniform"},
    "loss": {"name": "nll"},
    "dynamics": {"name": "mdn", "hidden": 4, "layers": 1, "components": 1},
    "backbone": {"name": "sac", "hidden": 8, "batch": 16, "updates_per_env_step": 0.5, "updates_per_burst": 5},
}


def test_sac_alone_trains_without_a_model() -> None:
    records = list(train(agent_settings(TINY), (0, 1), "cpu"))
    rounds = [record for record in records if isinstance(record, Round)]
    assert [record.env_steps for record in rounds] == [40, 80]
    for record in rounds:
        kinds = {name.split("/")[0] for name in record.numbers}
        assert kinds == {"policy", "updates_per_env_step"}
    assert rounds[1].numbers["updates_per_env_step"].tolist() == [0.5, 0.5]
    assert all(np.isfinite(value).all() for value in rounds[1].numbers.values())
    (final,) = [record for record in records if isinstance(record, Final)]
    untrained = Trainer(agent_settings(TINY), (0, 1), CPU).backbone.sac.policy.state_dict()
    assert all(not np.array_equal(final.policy[name], value.numpy()) for name, value in untrained.items())


def test_sac_alone_leaves_the_model_as_it_was() -> None:
    trainer = Trainer(agent_settings(TINY), (0, 1), CPU)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    for _ in range(50):
        trainer.step(explore=True)
        trainer.improve()
    trainer.round()
    assert trainer.backbone.updates == 5
    assert not trainer.backbone.uses_model
    assert all(torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True))


def test_sac_alone_draws_all_stored_rows_of_its_own_replica() -> None:
    backbone = build("backbone", SacSettings(hidden=2, batch=100, updates_per_burst=30), context())
    replay = Replay(2, 50, OBS, ACT, CPU)
    numbers = torch.stack([torch.arange(40.0), 100.0 + torch.arange(40.0)])
    replay.add(numbers[..., None].expand(2, 40, WIDTH).clone())
    batches = backbone.batches(replay, streams([0, 1], CPU)["replay"])
    assert batches.shape == (2, 30, 100, WIDTH)
    for replica in range(2):
        drawn, times = batches[replica, ..., 0].unique(return_counts=True)
        assert torch.equal(drawn, numbers[replica])
        assert (times - 75.0).abs().max() < 5.0 * 75.0**0.5


# jannerm/mbpo, examples/config: [first epoch, last epoch, first length, last length], 1,000 steps an epoch
@pytest.mark.parametrize(
    ("env", "lengths"),
    [
        ("hopper", {0: 1, 20: 1, 29: 1, 30: 2, 85: 8, 149: 14, 150: 15, 300: 15}),
        ("ant", {0: 1, 20: 1, 30: 4, 60: 13, 99: 24, 100: 25, 300: 25}),
        ("humanoid", {20: 1, 55: 4, 160: 13, 300: 25}),
        ("walker2d", {0: 1, 150: 1, 300: 1}),
        ("halfcheetah", {0: 1, 400: 1}),
    ],
)
def test_rollouts_grow_as_in_mbpo(env: str, lengths: dict[int, int]) -> None:
    """int(first + share of the way * (last - first)), the share between 0 and 1: 1 + 65 / 130 * 14 = 8."""
    cell = compose_cell("mbpo", env, "janner")
    settings, warmup = settings_class("backbone", "mbpo")(**cell["backbone"]), cell["train"]["warmup_env_steps"]
    assert {epoch: rollout_length(settings, warmup + 1_000 * epoch) for epoch in lengths} == lengths


def test_the_published_length_stays() -> None:
    assert {rollout_length(Settings(), steps) for steps in (0, 1, 5_000, 300_000)} == {1}
    assert {rollout_length(Settings(rollout_length=4), steps) for steps in (0, 1, 300_000)} == {4}


def test_the_length_of_rollouts_follows_the_environment_steps() -> None:
    """After 60 of the steps 0 to 100 from one to five: three."""
    sizes = Context(2, HOPPER.observation_dim, HOPPER.action_dim, 0.9, CPU, streams([0, 1], CPU)["init"])
    settings = Settings(hidden=4, rollout_starts=10, rollout_length_last=5, rollout_grows_until=100)
    backbone = ModelBasedPolicyOptimisation(settings, sizes)
    model = build("dynamics", MdnSettings(hidden=4, layers=1, components=1), sizes)
    replay, draws = Replay(2, 60, HOPPER.observation_dim, HOPPER.action_dim, CPU), streams([0, 1], CPU)["rollout"]
    counts = []
    for _ in range(2):
        replay.add(draws.normal(30, replay.data.shape[-1]))
        backbone.rollout(model, replay, HOPPER, draws)
        counts.append((backbone.length, backbone.model_buffer.added))
    assert counts == [(2, 20), (3, 50)]
    assert backbone.model_buffer.capacity == 10 * 5 * settings.rounds_retained


def test_rollouts_start_from_the_rows_that_have_weight() -> None:
    """Half of the weight on one row: 1,000 starts of it in 2,000, standard deviation 22."""
    sizes = Context(2, HOPPER.observation_dim, HOPPER.action_dim, 0.9, CPU, streams([0, 1], CPU)["init"])
    backbone = ModelBasedPolicyOptimisation(Settings(hidden=4, rollout_starts=2_000), sizes)
    model = build("dynamics", MdnSettings(hidden=4, layers=1, components=1), sizes)
    replay, draws = Replay(2, 10, HOPPER.observation_dim, HOPPER.action_dim, CPU), streams([0, 1], CPU)["rollout"]
    replay.add(torch.arange(10.0)[None, :, None].expand(2, 10, replay.data.shape[-1]).clone())
    weights = torch.zeros(2, 10)
    weights[:, [2, 3, 7]] = torch.tensor([1.0, 1.0, 2.0])
    weights[1] = weights[1].flip(0)
    backbone.rollout(model, replay, HOPPER, draws, weights)
    starts = backbone.model_buffer.all().obs[..., 0]
    for replica, (rows, half) in enumerate((([2.0, 3.0, 7.0], 7.0), ([2.0, 6.0, 7.0], 2.0))):
        assert starts[replica].unique().tolist() == rows
        assert abs(int((starts[replica] == half).sum()) - 1_000) < 5.0 * 500.0**0.5


@pytest.mark.parametrize(("length", "oldest"), [(1, 26), (2, 22), (3, 18), (4, 18)])
def test_batches_draw_the_retained_rounds_at_the_present_length(length: int, oldest: int) -> None:
    """Two starts, two rounds: 4 rows at length 1, 8 at 2, 12 at 3, of 30 that went through a ring of 12."""
    settings = Settings(
        hidden=2, batch=100, real_fraction=0.1, rollout_starts=2, rounds_retained=2, rollout_length_last=3
    )
    backbone, draws = ModelBasedPolicyOptimisation(settings, context()), streams([0, 1], CPU)["replay"]
    assert backbone.model_buffer.capacity == 12
    for row in torch.arange(30.0):
        backbone.model_buffer.add(torch.full((2, 1, WIDTH), float(row)))
    backbone.length = length
    batches = backbone.batches(situation().replay, draws)
    assert batches.shape == (2, 20, 100, WIDTH)
    for replica in range(2):
        assert batches[replica, :, 10:, 0].unique().tolist() == [float(row) for row in range(oldest, 30)]


@pytest.mark.parametrize(("per_step", "burst"), [(20.0, 20), (5.0, 20), (5.0, 7)])
@pytest.mark.parametrize("name", ["sac", "mbpo"])
def test_updates_keep_up_within_a_burst(name: str, per_step: float, burst: int) -> None:
    changes = {"hidden": 2, "batch": 20, "updates_per_env_step": per_step, "updates_per_burst": burst}
    backbone: Any = build("backbone", settings_class("backbone", name)(**changes), context())
    backbone.sac.update = lambda rows, *noise: torch.ones(2, 5)
    replay, draws, counts = situation().replay, streams([0, 1], CPU)["replay"], []
    for step in range(-3, 41):
        backbone.improve(per_step * step, replay, draws)
        counts.append(backbone.updates)
    assert counts[:4] == [0] * 4  # none is owed to warm-up
    assert counts[3:] == [int(per_step * step) // burst * burst for step in range(41)]
    assert backbone.burst_env_steps == burst / per_step
