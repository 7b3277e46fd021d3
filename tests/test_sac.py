"""SAC by hand on constant networks, on chains whose value is known, and how MBPO feeds it."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tom.backbones.mbpo import ModelBasedPolicyOptimisation
from tom.backbones.sac import NUMBERS, SoftActorCritic
from tom.core.context import Context, build
from tom.core.replay import Replay, Transitions
from tom.core.streams import streams
from tom.envs.hopper import SPEC as HOPPER
from tom.settings.backbones.mbpo import Settings
from tom.settings.dynamics.mdn import Settings as MdnSettings

CPU = torch.device("cpu")


def context(observation_dim: int = 1, action_dim: int = 1, replicas: int = 2, discount: float = 0.9) -> Context:
    return Context(replicas, observation_dim, action_dim, discount, CPU, streams(range(replicas), CPU)["init"])


def constant_sac(changes: Settings | None = None) -> SoftActorCritic:
    """Critics 1 and 2, target critics 3 and 5, a standard normal before the tanh: whatever the observation."""
    sac = SoftActorCritic(changes or Settings(discount=0.9, initial_temperature=0.5), context())
    with torch.no_grad():
        for net, values in ((sac.critic.net, [1.0, 2.0]), (sac.target.net, [3.0, 5.0]), (sac.policy.net, None)):
            for parameter in net.parameters():
                parameter.zero_()
            if values:
                net.layers()[-1][1].view(2, 2).copy_(torch.tensor([values, values]))
    return sac


def rows_of(reward: float, terminated: float, truncated: float, count: int = 1) -> Transitions:
    row = torch.tensor([0.2, -0.1, 0.3, reward, terminated, truncated])
    return Transitions(row.expand(2, count, 6).clone(), 1, 1)


NOISE = torch.tensor([[[0.0]], [[1.0]]])
# log pi of a = tanh(n) for n standard normal: log N(n) - log(1 - tanh(n)^2)
LOG_PROB = [-0.5 * n * n - 0.5 * math.log(2 * math.pi) - math.log(1.0 - math.tanh(n) ** 2) for n in (0.0, 1.0)]


@pytest.mark.parametrize(("terminated", "truncated"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
def test_critic_loss_by_hand(terminated: float, truncated: float) -> None:
    """Target r + 0.9 (min(3, 5) - 0.5 log pi), cut at a terminal state and not at a time limit."""
    loss = constant_sac().critic_loss(rows_of(0.7, terminated, truncated), NOISE, torch.tensor([0.5, 0.5]))
    targets = [0.7 + 0.9 * (1.0 - terminated) * (3.0 - 0.5 * log_prob) for log_prob in LOG_PROB]
    assert loss.tolist() == pytest.approx([(1.0 - t) ** 2 + (2.0 - t) ** 2 for t in targets], rel=1e-5)


@pytest.mark.parametrize(("cap", "learns"), [(0.0, (True, True)), (10.0, (True, True)), (8.0, (False, True))])
def test_a_critic_whose_loss_is_above_the_cap_does_not_learn_from_the_batch(
    cap: float, learns: tuple[bool, bool]
) -> None:
    """Target 1 + 0.9 * 3 = 3.7 at temperature 0, critics 0.7 and 2: losses 9 and 2.89."""
    sac = constant_sac(Settings(discount=0.9, initial_temperature=0.5, critic_loss_cap=cap))
    with torch.no_grad():
        sac.critic.net.layers()[-1][1].view(2, 2)[:, 0] = 0.7
    loss = sac.critic_loss(rows_of(1.0, 0.0, 0.0), NOISE, torch.zeros(2))
    assert loss.tolist() == pytest.approx([min(9.0, cap or 9.0) + 2.89] * 2, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss.sum(), sac.critic.net.biases)
    assert tuple(bool(row.any()) for row in gradient.view(2, 2, -1)[0]) == learns


def test_actor_loss_by_hand() -> None:
    loss, log_prob, q = constant_sac().actor_loss(rows_of(0.0, 0.0, 0.0), NOISE, torch.tensor([0.5, 0.25]))
    assert log_prob[:, 0].tolist() == pytest.approx(LOG_PROB, rel=1e-5)
    assert q.tolist() == [1.0, 1.0]
    assert loss.tolist() == pytest.approx([0.5 * LOG_PROB[0] - 1.0, 0.25 * LOG_PROB[1] - 1.0], rel=1e-5)


def test_temperature_rises_where_entropy_is_below_its_target() -> None:
    """Target entropy -1 for one action: log pi = 1.5 is too certain, 0.5 not certain enough."""
    sac = constant_sac(Settings(discount=0.9, initial_temperature=0.5, learning_rate=0.01))
    log_prob = torch.tensor([[1.0, 2.0], [0.0, 1.0]])
    loss = sac.temperature_loss(log_prob)
    assert loss.tolist() == pytest.approx([-math.log(0.5) * 0.5, -math.log(0.5) * -0.5])
    (slope,) = torch.autograd.grad(loss.sum(), sac.log_temperature)
    assert slope.tolist() == pytest.approx([-0.5, 0.5])


def test_what_an_update_reports_and_moves() -> None:
    sac = constant_sac()
    frozen = [p.clone() for p in sac.target.parameters()]
    numbers = dict(zip(NUMBERS, sac.update(rows_of(0.7, 0.0, 0.0).data, NOISE, NOISE).unbind(-1), strict=True))
    assert numbers["temperature"].tolist() == [0.5, 0.5]
    assert numbers["entropy"].tolist() == pytest.approx([-value for value in LOG_PROB], rel=1e-5)
    assert numbers["q"].tolist() == pytest.approx([1.0, 1.0], abs=2e-3)  # after a step of 3e-4
    rate = sac.settings.target_rate
    for old, target, critic in zip(frozen, sac.target.parameters(), sac.critic.parameters(), strict=True):
        torch.testing.assert_close(target, (1.0 - rate) * old + rate * critic)
    assert not any(p.requires_grad for p in sac.target.parameters())  # or a graph would grow with every update


def test_the_targets_begin_as_the_critics() -> None:
    sac = SoftActorCritic(Settings(hidden=8), context())
    assert all(torch.equal(a, b) for a, b in zip(sac.critic.parameters(), sac.target.parameters(), strict=True))


FAST = Settings(hidden=16, learning_rate=1e-2, batch=32, target_rate=0.1, initial_temperature=1e-6, discount=0.9)


@pytest.mark.parametrize(("terminated", "truncated", "value"), [(0.0, 0.0, 10.0), (1.0, 0.0, 1.0), (0.0, 1.0, 10.0)])
def test_a_reward_of_one_for_ever_or_once(terminated: float, truncated: float, value: float) -> None:
    """1 / (1 - 0.9) unless the episode ends; the temperature adds less than 0.01 (it starts at 1e-6)."""
    sac, rows, noise = SoftActorCritic(FAST, context()), rows_of(1.0, terminated, truncated, 32), streams([0, 1], CPU)
    rows.data[..., 2] = rows.data[..., 0]  # the one state leads to itself
    for _ in range(700):
        rows.data[..., 1:2] = 2.0 * noise["replay"].uniform(32, 1) - 1.0  # every action is tried
        draws = noise["replay"].normal(2, 32, 1)
        sac.update(rows.data, draws[:, 0], draws[:, 1])
    with torch.no_grad():
        assert (sac.critic(rows.obs_action)[:, :, 0] - value).abs().max() < 0.03 * value


def test_the_policy_finds_the_better_action() -> None:
    """One-step episodes with reward -(a - 0.5)^2: the critic learns it, the policy's mode goes to 0.5."""
    sac, draws = SoftActorCritic(FAST, context()), streams([0, 1], CPU)["replay"]
    for _ in range(400):
        action = 2.0 * draws.uniform(64, 1) - 1.0
        obs, ends = torch.zeros(2, 64, 1), torch.tensor([1.0, 0.0]).expand(2, 64, 2)
        rows = Transitions(torch.cat([obs, action, obs, -((action - 0.5) ** 2), ends], -1), 1, 1)
        noise = draws.normal(2, 64, 1)
        sac.update(rows.data, noise[:, 0], noise[:, 1])
    with torch.no_grad():
        assert (sac.policy.mode(torch.zeros(2, 1, 1)) - 0.5).abs().max() < 0.1


def filled_replay(count: int, observation_dim: int = 1, action_dim: int = 1) -> Replay:
    """Rows of random numbers that no time limit or terminal state marks; reward 0."""
    replay, draws = Replay(2, count, observation_dim, action_dim, CPU), streams([0, 1], CPU)["env"]
    rows = draws.normal(count, 2 * observation_dim + action_dim + 3)
    rows[..., -3:] = 0.0
    replay.add(rows)
    return replay


@settings(max_examples=25, deadline=None)
@given(per_step=st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.5, 5.0]), burst=st.integers(1, 7), steps=st.integers(-5, 40))
def test_updates_follow_the_environment_steps_within_a_burst(per_step: float, burst: int, steps: int) -> None:
    changes = Settings(hidden=2, batch=2, real_fraction=0.5, updates_per_env_step=per_step, updates_per_burst=burst)
    backbone = ModelBasedPolicyOptimisation(changes, context())
    backbone.sac.update = lambda rows, *noise: torch.zeros(2, 5)  # type: ignore[method-assign]
    replay, draws = filled_replay(10), streams([0, 1], CPU)["replay"]
    for step in range(-5, steps + 1):
        backbone.improve(per_step * step, replay, draws)
        due = per_step * max(step, 0)
        assert due - burst < backbone.updates <= due + 1e-9
        assert backbone.updates % burst == 0


class Recorder:
    """Stands in for the update and keeps what it was given."""

    def __init__(self) -> None:
        self.batches: list[Transitions] = []

    def __call__(self, rows: Tensor, next_noise: Tensor, noise: Tensor) -> Tensor:
        assert not torch.equal(next_noise, noise)
        self.batches.append(Transitions(rows, 2, 1))
        return torch.full((2, 5), float(len(self.batches)))


@pytest.mark.parametrize(
    ("fraction", "model_rows", "real"), [(0.05, 50, 12), (0.0, 50, 0), (1.0, 50, 256), (0.05, 0, 256)]
)
def test_batches_mix_real_and_model_rows(fraction: float, model_rows: int, real: int) -> None:
    """The published 5 % of 256: 12 real and 244 imagined; all real while nothing has been imagined."""
    changes = Settings(hidden=2, real_fraction=fraction, updates_per_burst=3, rollout_starts=50)
    backbone, recorder = ModelBasedPolicyOptimisation(changes, context()), Recorder()
    backbone.sac.update = recorder  # type: ignore[method-assign, assignment]
    if model_rows:
        backbone.model_buffer.add(torch.full((2, model_rows, 6), 7.0))
    replay = filled_replay(100)
    backbone.burst(replay, streams([0, 1], CPU)["replay"])
    assert [batch.reward.shape for batch in recorder.batches] == [(2, 256)] * 3
    for batch in recorder.batches:
        assert (batch.reward == 7.0).sum(-1).tolist() == [256 - real] * 2
        for replica in range(2):
            ours = batch.data[replica][batch.reward[replica] != 7.0]
            known = {tuple(row) for row in replay.data[replica].tolist()}
            assert all(tuple(row) in known for row in ours.tolist())
    assert backbone.report()["q"].tolist() == [2.0, 2.0]  # the mean of 1, 2 and 3
    assert backbone.report()["q"].isnan().all()


def hopper_rollouts(length: int, starts: int = 300, retained: int = 2) -> tuple[ModelBasedPolicyOptimisation, Replay]:
    """Three rounds of rollouts of an untrained model from states near Hopper's threshold of height."""
    known = HOPPER
    sizes = replace(context(known.observation_dim, known.action_dim))
    changes = Settings(hidden=8, rollout_starts=starts, rollout_length=length, rounds_retained=retained)
    backbone = ModelBasedPolicyOptimisation(changes, sizes)
    model = build("dynamics", MdnSettings(hidden=8, layers=1, components=2), sizes)
    replay = filled_replay(40, known.observation_dim, known.action_dim)
    model.targets.fit(0.01 * replay.data[..., : 1 + known.observation_dim])
    replay.data[..., :11] *= 0.05
    replay.data[..., 0] += 0.75
    draws = streams([0, 1], CPU)["rollout"]
    for _ in range(3):
        backbone.rollout(model, replay, known, draws)
    return backbone, replay


def test_rollouts_branch_from_stored_states_and_end_by_the_rule() -> None:
    backbone, replay = hopper_rollouts(length=1)
    rows = backbone.model_buffer.all()
    assert rows.data.shape[:2] == (2, 600)  # two rounds are kept
    assert torch.equal(rows.terminated, HOPPER.terminated(rows.next_obs).float())
    assert 0.05 < float(rows.terminated.mean()) < 0.95
    assert not rows.truncated.any()
    actions = rows.data[..., 11:14]
    assert float(actions.abs().max()) <= 1.0
    assert (actions.std(1) > 0.1).all()
    for replica in range(2):
        known = {tuple(row) for row in replay.all().obs[replica].tolist()}
        starts = [tuple(row) for row in rows.obs[replica].tolist()]
        assert set(starts) == known  # 600 draws of 40 states miss one with probability 40 e^-15
    assert len({tuple(row) for row in rows.next_obs.flatten(0, 1).tolist()}) == 1_200


def test_longer_rollouts_go_on_and_start_again_after_an_end() -> None:
    backbone, _ = hopper_rollouts(length=3, retained=1)
    steps = backbone.model_buffer.all()
    parts = [steps.like(part) for part in steps.data.split(300, 1)]
    assert len(parts) == 3
    for before, after in zip(parts[:-1], parts[1:], strict=True):
        ended = before.terminated[..., None] > 0
        assert torch.equal(after.obs, torch.where(ended, parts[0].obs, before.next_obs))
    late = (parts[1].terminated > 0) & (parts[0].terminated == 0)
    assert late.any(), "some end later than where they branched"


def test_acting_samples_the_policy() -> None:
    backbone = ModelBasedPolicyOptimisation(Settings(hidden=8), context(3, 2))
    observations, draws = torch.randn(2, 3), streams([0, 1], CPU)["policy"]
    actions = torch.stack([backbone.act(observations, draws) for _ in range(4_000)], 1)
    mean, std = backbone.sac.policy(observations[:, None])
    error = torch.atanh(actions.double().clamp(-1 + 1e-7, 1 - 1e-7)).median(1).values - mean[:, 0]
    assert (error.abs() < 5.0 * 1.2533 * std[:, 0] / 4_000**0.5).all()  # the median's standard error
