"""Retrieval by the segment: where segments begin and end, how they are addressed, what REINFORCE makes of that."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tom.core.context import Context, View, build
from tom.core.replay import Replay
from tom.core.segments import Segments, segments
from tom.core.streams import streams
from tom.envs.road_and_rocks import beyond, on_road
from tom.experiments.road_and_rocks import dataset
from tom.settings.experiments.road_and_rocks import Offline, World
from tom.settings.fields import problems
from tom.settings.weightings.rama import Settings
from tom.weightings.addressing import advantages, categorical, reinforce
from tom.weightings.base import summary
from tom.weightings.rama import return_address, row_weights

CPU = torch.device("cpu")
OBS, ACT, WIDTH = 2, 1, 8
ALL = torch.ones(1, 5, dtype=torch.bool)


def context(replicas: int = 2) -> Context:
    return Context(replicas, OBS, ACT, 0.9, CPU, streams(range(replicas), CPU)["init"])


def replay_of(rewards: Tensor, ends: dict[int, str] | None = None, capacity: int | None = None) -> Replay:
    """Rows with these rewards [R, N], noise for states; `ends` says where an episode is terminated or truncated."""
    replicas, count = rewards.shape
    replay, draws = Replay(replicas, capacity or count, OBS, ACT, CPU), streams(range(replicas), CPU)["env"]
    rows = draws.normal(count, WIDTH)
    rows[..., -3], rows[..., -2:] = rewards, 0.0
    for row, word in (ends or {}).items():
        rows[:, row, -2 if word == "terminated" else -1] = 1.0
    for step, row in enumerate(rows.unbind(1)):
        replay.push(row, step, 0)
    for replica in range(replicas):
        replay.push_reset(replica, torch.zeros(OBS))
    return replay


def view_of(replay: Replay) -> View:
    policy: Any = None
    stream = streams(range(len(replay.data)), CPU)["weighting"]
    return View(replay, policy, None, replay.added, 0, stream)


def weighed(replay: Replay, **changes: Any) -> tuple[Tensor, dict[str, Tensor]]:
    weighting = build("weighting", Settings(**changes), context(len(replay.data)))
    numbers = weighting.prepare(view_of(replay))
    return weighting.weights(view_of(replay)), numbers


def in_a_row(lengths: list[int], replicas: int = 1) -> Segments:
    of_row = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return Segments(of_row.expand(replicas, -1), torch.tensor(lengths).float().expand(replicas, -1))


def test_segments_end_with_episodes_and_after_their_length() -> None:
    found = segments(replay_of(torch.zeros(1, 12), {4: "terminated", 6: "truncated"}), 3)
    assert found.of_row.tolist() == [[0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4]]
    assert found.rows.tolist() == [[3, 2, 2, 3, 2]]


def test_a_segment_that_the_ring_has_cut_in_two_is_one() -> None:
    """Ten rows in a ring of eight: slots 0 and 1 hold the newest, which go on from slot 7."""
    found = segments(replay_of(torch.zeros(1, 10), {5: "terminated"}, capacity=8), 5)
    assert found.of_row.tolist() == [[1, 1, 0, 0, 0, 0, 1, 1]]
    assert found.rows.tolist() == [[4, 4]]


def test_replicas_are_cut_apart() -> None:
    replay = replay_of(torch.zeros(2, 6))
    replay.data[0, 1, -2] = 1.0
    found = segments(replay, 4)
    assert found.rows.tolist() == [[2, 4], [4, 2]]
    replay.data[0, 3, -2] = 1.0
    assert segments(replay, 4).there.tolist() == [[True] * 3, [True, True, False]]
    weights, numbers = weighed(replay, segment_env_steps=4)
    alone = Replay(1, 6, OBS, ACT, CPU)
    alone.add(replay.data[1:])
    torch.testing.assert_close(weights[1:], weighed(alone, segment_env_steps=4)[0])
    assert numbers["segments"].tolist() == [3.0, 2.0]


def test_means_of_segments() -> None:
    found = segments(replay_of(torch.tensor([[1.0, 3.0, 5.0, 7.0, 9.0]])), 2)
    values = torch.stack([torch.arange(5.0), torch.arange(5.0) ** 2], -1)[None]
    assert found.mean(values).tolist() == [[[0.5, 0.5], [2.5, 6.5], [4.0, 16.0]]]
    assert found.spread(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [[1.0, 1.0, 2.0, 2.0, 3.0]]


def test_the_golden_weights_of_five_segments() -> None:
    found = in_a_row([50, 50, 30, 50, 20])
    address = torch.tensor([[0.0, 1.0, 2.0, 0.5, -1.0]]).double().softmax(-1)
    weights = row_weights(address, found, 0.25)
    expected = torch.tensor([[0.82620, 0.95712, 1.68837, 0.87563, 0.82008]]).double()
    torch.testing.assert_close(weights, found.spread(expected), atol=1e-5, rtol=0.0)
    assert float(weights.mean()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("count", "weight", "ess"), [(5, 2.0, 0.8), (20, 5.75, 0.4571), (100, 25.75, 0.1391)])
def test_the_share_is_what_stops_a_collapsed_address(count: int, weight: float, ess: float) -> None:
    replay = replay_of(torch.zeros(1, 10 * count))
    address = torch.eye(count)[:1].double()
    weights = row_weights(address, segments(replay, 10), 0.25).float()
    assert float(weights.max()) == pytest.approx(weight)
    assert float(summary(weights, replay)["ess"]) == pytest.approx(ess, abs=5e-5)
    assert ess == pytest.approx(1.0 / (count * 0.25**2 + 1.0 - 0.25**2), abs=5e-5)


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, [0.03086, 0.06259, 0.12694, 0.25746, 0.52215]), (0.5, [0.00265, 0.01089, 0.04477, 0.18417, 0.75753])],
)
def test_the_golden_return_address(temperature: float, expected: list[float]) -> None:
    found = return_address(torch.arange(1.0, 6.0)[None].double(), ALL, temperature)
    torch.testing.assert_close(found, torch.tensor([expected]).double(), atol=1e-5, rtol=0.0)
    masked = return_address(
        torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 99.0]]).double(), torch.arange(6)[None] < 5, temperature
    )
    torch.testing.assert_close(masked[:, :5], found)
    assert float(masked[0, 5]) == 0.0


def rewards(count: int = 60, replicas: int = 2) -> Tensor:
    return torch.randn(replicas, count, generator=torch.Generator().manual_seed(3))


def test_the_unit_of_reward_does_not_matter_and_equal_rewards_are_no_address() -> None:
    plain, _ = weighed(replay_of(rewards()), segment_env_steps=10)
    for other in (rewards() + 50.0, 7.0 * rewards()):
        torch.testing.assert_close(weighed(replay_of(other), segment_env_steps=10)[0], plain, atol=1e-4, rtol=1e-4)
    alike, _ = weighed(replay_of(torch.full((1, 30), 0.3), {13: "terminated"}), segment_env_steps=10)
    expected = [0.75 + 0.25 * 30 / (4 * length) for length in (10, 4, 10, 6)]
    torch.testing.assert_close(alike, in_a_row([10, 4, 10, 6]).spread(torch.tensor([expected])))
    one, _ = weighed(replay_of(rewards(7)), segment_env_steps=10)
    torch.testing.assert_close(one, torch.ones(2, 7))


def test_rows_of_a_segment_weigh_alike_and_segments_by_what_they_hold() -> None:
    plain, _ = weighed(replay_of(rewards()), segment_env_steps=10)
    parts = plain.unflatten(1, (6, 10))
    assert torch.equal(parts, parts[..., :1].expand_as(parts))
    assert torch.equal(parts[..., 0].argsort(-1), rewards().unflatten(1, (6, 10)).mean(-1).argsort(-1))
    torch.testing.assert_close(plain.mean(-1), torch.ones(2))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    moved = rewards().unflatten(1, (6, 10))[:, order].flatten(1)
    torch.testing.assert_close(weighed(replay_of(moved), segment_env_steps=10)[0], parts[:, order].flatten(1))


def test_a_row_weighs_the_same_wherever_the_ring_has_put_it() -> None:
    values, ends = rewards(50, 1), {20: "terminated"}
    wrapped = replay_of(values, ends, capacity=40)
    plain = replay_of(values[:, 10:], {10: "terminated"})
    weights, _ = weighed(wrapped, segment_env_steps=8)
    torch.testing.assert_close(weights[:, wrapped.by_age()], weighed(plain, segment_env_steps=8)[0])


@pytest.mark.parametrize(("share", "least", "most"), [(0.9, 10.0, 100.0), (0.25, 2.0, 3.0), (0.05, 1.0, 1.5)])
def test_on_the_road_the_best_rewarded_segments_are_those_that_arrive(share: float, least: float, most: float) -> None:
    """Mean weight on the road over off it, four seeds: the bar of 3 is reached with nearly all of the data."""
    replay = dataset(World(), Offline(), streams(range(4), CPU)["env"])
    weights, _ = road_weights(replay, share)
    on = on_road(replay.all().obs)
    ratio = (weights * on).sum(-1) / on.sum(-1) / ((weights * ~on).sum(-1) / (~on).sum(-1))
    assert ((ratio > least) & (ratio < most)).all(), ratio


def test_beyond_the_gorge_lies_what_is_retrieved() -> None:
    world = World(far_pay=8.0, goal_bonus=2.0)
    replay = dataset(world, Offline(campers=5), streams(range(4), CPU)["env"])
    weights, numbers = road_weights(replay, 0.9)
    mass = (weights * beyond(world, replay.all().obs)).sum(-1) / len(replay)
    assert (mass > 0.7).all(), mass
    assert (numbers["retrieved_reward"] > 4.0).all()


def road_weights(replay: Replay, share: float) -> tuple[Tensor, dict[str, Tensor]]:
    weighting = build("weighting", Settings(share=share), Context(4, 2, 2, 0.9, CPU, streams(range(4), CPU)["init"]))
    numbers = weighting.prepare(view_of(replay))
    return weighting.weights(view_of(replay)), numbers


def test_the_gradient_of_the_expected_gain() -> None:
    theta = torch.tensor([0.1, -0.2, 0.3, 0.0, 0.2], dtype=torch.float64, requires_grad=True)
    gain, p = torch.eye(5).double()[2], theta.softmax(-1)
    (found,) = torch.autograd.grad(p @ gain, theta)
    expected = torch.tensor([-0.049403, -0.036599, 0.185303, -0.044702, -0.054599]).double()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0.0)
    each = [reinforce_step(theta, torch.tensor([j]), gain) for j in range(5)]  # one draw has no spread to divide by
    assert all(not step.any() for step in each)
    torch.testing.assert_close(p.detach() * (gain - p.detach() @ gain), found)


def reinforce_step(theta: Tensor, chosen: Tensor, gain: Tensor) -> Tensor:
    """The step up of reinforce for draws [B] and the gain of each segment."""
    loss = reinforce(theta.log_softmax(-1).expand(len(chosen), -1), chosen, gain[chosen])
    return -torch.autograd.grad(loss, theta)[0]


def test_the_mean_path_of_reinforce_collapses_onto_the_one_helpful_segment() -> None:
    """Five segments, one with gain 1, eight draws a step of rate .02: hits f move its logit by sqrt(f (1 - f))."""
    draws, gain = 8, torch.eye(5)[2].double()
    theta = torch.zeros(5).double().requires_grad_()
    moves = []
    for hits in range(draws + 1):
        chosen = torch.tensor([2] * hits + [0] * (draws - hits))
        moves.append(float(reinforce_step(theta, chosen, gain)[2]))
    shares = np.arange(draws + 1) / draws
    np.testing.assert_allclose(moves, np.sqrt(shares * (1.0 - shares)), atol=1e-5)
    ways, logit, found = [math.comb(draws, hits) for hits in range(draws + 1)], 0.0, {}
    for step in range(1, 30_001):  # the other four move down alike, a quarter of it each
        p = 1.0 / (1.0 + 4.0 * math.exp(-1.25 * logit))
        mean = sum(w * p**h * (1.0 - p) ** (draws - h) * m for h, (w, m) in enumerate(zip(ways, moves, strict=True)))
        logit += 0.02 * mean
        found[step] = 1.0 / (1.0 + 4.0 * math.exp(-1.25 * logit))
    assert [found[step] for step in (300, 1_000, 3_000, 30_000)] == pytest.approx(
        [0.8385, 0.9777, 0.9942, 0.9995], abs=5e-5
    )


def climbed(gain_of: Any, steps: int, seed: int) -> Tensor:
    """The address after so many sampled steps of eight draws and rate .02, from a uniform one."""
    theta, draws = torch.zeros(5, dtype=torch.float64), streams([seed], CPU)["model"]
    for _ in range(steps):
        theta = theta.detach().requires_grad_()
        chosen = categorical(theta.detach().softmax(-1).expand(1, 8, 5), draws)[0]
        loss = reinforce(theta.log_softmax(-1).expand(8, -1), chosen, gain_of(chosen, draws))
        theta = theta - 0.02 * torch.autograd.grad(loss, theta)[0]
    return theta.detach().softmax(-1)


def test_a_sampled_path_lands_where_the_mean_path_does() -> None:
    assert float(climbed(lambda chosen, draws: (chosen == 2).double(), 3_000, 0)[2]) == pytest.approx(0.9942, abs=0.005)


def test_equal_gains_leave_an_address_as_it_is_and_noise_moves_it_little() -> None:
    assert float(advantages(torch.full((51,), 0.7).double()).abs().max()) < 1e-9
    assert float(advantages(torch.full((8,), 0.7).double()).abs().max()) < 1e-12
    even = climbed(lambda chosen, draws: torch.ones(8).double(), 50, 0)
    torch.testing.assert_close(even, torch.full((5,), 0.2, dtype=torch.float64), atol=1e-12, rtol=0.0)
    most = [float(climbed(lambda chosen, draws: draws.normal(8)[0].double(), 3_000, seed).max()) for seed in (0, 1)]
    assert max(most) < 0.35


def test_the_golden_query_and_keys() -> None:
    query = torch.tensor([[1.0, -0.5]], dtype=torch.float64, requires_grad=True)
    keys = torch.tensor([[0.3, 0.2], [-0.1, 0.8], [0.5, -0.4]]).double()
    address = (query @ keys.mT).softmax(-1)
    torch.testing.assert_close(address, torch.tensor([[0.31793, 0.15788, 0.52418]]).double(), atol=1e-5, rtol=0.0)
    (slope,) = torch.autograd.grad((address @ torch.tensor([0.2, 1.0, 0.6]).double()).sum(), query)
    torch.testing.assert_close(slope, torch.tensor([[-0.022592, 0.023821]]).double(), atol=1e-6, rtol=0.0)


def test_draws_are_as_often_as_they_should_be() -> None:
    p = torch.tensor([[[0.1, 0.0, 0.6, 0.3]]]).expand(1, 100_000, 4)
    counts = torch.bincount(categorical(p, streams([0], CPU)["model"])[0], minlength=4).double()
    assert counts[1] == 0
    expected = 1e5 * p[0, 0].double()
    assert float(((counts - expected)[[0, 2, 3]] ** 2 / expected[[0, 2, 3]]).sum()) < 2 + 5.0 * 2.0


def told(seed: int = 0) -> Replay:
    """Segments of ten rows; where the first state is high throughout a segment, rewards are."""
    values = torch.randn(1, 40, generator=torch.Generator().manual_seed(seed)).repeat_interleave(10, 1)
    replay = replay_of(values + 0.1 * torch.randn(1, 400, generator=torch.Generator().manual_seed(seed + 1)))
    replay.data[0, :, 0] = values[0]
    return replay


LEARNED = {"address": "learned", "segment_env_steps": 10}


def test_a_learned_address_finds_what_pays_by_what_it_looks_like() -> None:
    replay = told()
    weighting = build("weighting", Settings(**LEARNED), context(1))
    reached = [float(weighting.prepare(view_of(replay))["retrieved_reward"]) for _ in range(3)]
    top = replay.all().reward.unflatten(1, (40, 10)).mean(-1).max()
    assert reached[0] > 1.0 and reached[2] > 0.8 * float(top)
    other = told(5)  # it has never seen these segments
    features_only = copy.deepcopy(weighting)
    features_only.settings.address_updates = 1
    assert float(features_only.prepare(view_of(other))["retrieved_reward"]) > 1.0


def test_a_restored_address_is_the_one_that_was_saved() -> None:
    replay = told()
    first, second = (build("weighting", Settings(**LEARNED), context(1)) for _ in range(2))
    first.prepare(view_of(replay))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    numbers = [weighting.prepare(view_of(replay)) for weighting in (first, second)]
    assert all(torch.equal(numbers[0][name], numbers[1][name]) for name in numbers[0])
    assert torch.equal(first.weights(view_of(replay)), second.weights(view_of(replay)))


def test_rollouts_start_by_weight_only_if_asked() -> None:
    replay = replay_of(rewards())
    plain, weighted = (build("weighting", Settings(rollout_starts=how), context()) for how in ("uniform", "weighted"))
    weighted.prepare(view_of(replay))
    assert plain.rollout_weights(view_of(replay)) is None
    assert weighted.rollout_weights(view_of(replay)) is weighted.weights(view_of(replay))


def test_what_cannot_be_is_one_sentence() -> None:
    assert list(problems(Settings(share=0.0), "weighting")) == [
        "weighting: share=0.0 is weighting=uniform; nearest valid choice: weighting=uniform"
    ]
    (sentence,) = problems(Settings(share=1.0, address="learned"), "weighting")
    assert sentence.startswith("weighting: share=1.0 with address=learned leaves all rows but one segment without")
    assert sentence.endswith("nearest valid value: share=0.9")
    assert not list(problems(Settings(share=1.0), "weighting"))
