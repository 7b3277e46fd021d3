"""PDML's weights: the distance between policies, how it becomes weights, and whose rows they go to."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tom.core.context import Context, View, build
from tom.core.networks import Policy
from tom.core.replay import Replay, draw
from tom.core.streams import streams
from tom.settings.weightings.pdml import Settings
from tom.weightings.pdml import (
    PolicyDistance,
    gaussian_kl,
    inverse_shares,
    policy_weights,
    total_variation_bound,
)

CPU = torch.device("cpu")
OBS, ACT = 3, 2


def context() -> Context:
    return Context(2, OBS, ACT, 0.9, CPU, streams([0, 1], CPU)["init"])


def normals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussians(count: int, dims: int) -> list[tuple[Tensor, Tensor]]:
    draws = normals(4, count, dims)
    return [(draws[0], (0.5 * draws[1]).exp()), (draws[2], (0.5 * draws[3]).exp())]


def test_the_kl_of_gaussians_is_its_monte_carlo_estimate() -> None:
    (mean, std), (other_mean, other_std) = first, second = gaussians(1, 4)
    x = mean + std * normals(400_000, 4, seed=1)
    log_p = torch.distributions.Normal(mean, std).log_prob(x).sum(-1)
    log_q = torch.distributions.Normal(other_mean, other_std).log_prob(x).sum(-1)
    ratio = log_p - log_q
    error = float(ratio.std()) / math.sqrt(len(ratio))
    assert abs(float(gaussian_kl(first, second)) - float(ratio.mean())) < 5.0 * error
    assert error < 0.05
    assert float(gaussian_kl(first, first)) == pytest.approx(0.0, abs=1e-12)


def test_the_bound_is_above_the_exact_total_variation() -> None:
    """Equal variances in one dimension: TV = 2 Phi(|m - m'| / 2 s) - 1 = erf(|m - m'| / (2 sqrt(2) s))."""
    (mean, std), (other, _) = gaussians(100, 1)
    exact = torch.erf((mean - other).abs() / (2.0 * math.sqrt(2.0) * std))[:, 0]
    assert (total_variation_bound(gaussian_kl((mean, std), (other, std))) >= exact).all()


def test_the_released_code_takes_deviations_for_variances() -> None:
    """N(0, 0.1^2) and N(0.1, 0.1^2): the bound is 0.5; the released formula gives 0.158, below the exact 0.383."""
    std = torch.tensor([0.1], dtype=torch.float64)
    bound = total_variation_bound(gaussian_kl((0.0 * std, std), (std, std)))
    assert float(bound) == pytest.approx(0.5)


def test_weights_are_in_proportion_to_the_inverse_distance() -> None:
    shares = inverse_shares(torch.tensor([0.9, 0.8, 0.5, 0.3, 0.2], dtype=torch.float64))
    assert shares.tolist() == pytest.approx([0.0875, 0.0985, 0.1575, 0.2626, 0.3939], abs=5e-5)


def test_warm_up_and_newest_rows_by_hand() -> None:
    distance = torch.tensor([[0.9, 0.8, 0.5, 0.3, 0.2], [0.5, 0.5, 0.5, 0.5, 0.5]])
    weights = policy_weights(distance, warmup_share=0.05, max_rate=0.02)
    assert weights[:, 0].tolist() == pytest.approx([0.05 * 0.0875, 0.05 * 0.2], abs=5e-6)
    assert weights[:, -1].tolist() == pytest.approx([0.3939, 0.2], abs=5e-5)  # as the closest policy
    many = policy_weights(torch.full((1, 99), 0.3), warmup_share=0.05, max_rate=0.02)[0]
    assert float(many[-1] / many.sum()) == pytest.approx(0.02)  # 1 / 99 would be less
    assert many[1:-1].tolist() == pytest.approx([1 / 99] * 99)


CHUNKS = [30, 12, 20, 9, 20, 20]


class Story:
    """Rounds of a run: rows come in, the policy moves, the weighting prepares itself."""

    def __init__(self, capacity: int = 1_000, **changes: Any):
        self.settings = Settings(**{"min_rows": 40, "states": 4_000} | changes)
        self.weighting: PolicyDistance = build("weighting", self.settings, context())
        self.replay, self.policy = Replay(2, capacity, OBS, ACT, CPU), Policy(2, OBS, ACT, 8, context().init)
        self.draws, self.frozen = streams([0, 1], CPU), list[Policy]()
        self.step = 0

    def view(self) -> View:
        return View(self.replay, self.policy, None, self.step, CHUNKS[0], streams([0, 1], CPU)["weighting"])

    def chunk(self, policy_round: int, rows: int) -> dict[str, Tensor]:
        for _ in range(rows):
            self.replay.push(self.draws["env"].normal(2 * OBS + ACT + 3), self.step, policy_round)
            self.step += 1
        if policy_round:
            with torch.no_grad():
                for parameter in self.policy.parameters():
                    parameter += 0.05 * torch.randn(parameter.shape, generator=self.draws["policy"].generators[0])
        self.frozen.append(copy.deepcopy(self.policy))
        return self.weighting.prepare(self.view())

    def told(self) -> "Story":
        for policy_round, rows in enumerate(CHUNKS):
            self.chunk(policy_round, rows)
        return self

    def distance(self, policy_round: int) -> Tensor:
        """The exact mean over all stored rows, from policies kept apart, [R]."""
        with torch.no_grad():
            obs = self.replay.all().obs
            kl = gaussian_kl(self.policy(obs), self.frozen[policy_round](obs))
        return (kl / 2.0).sqrt().mean(-1)


@pytest.mark.parametrize("capacity", [1_000, 60])
def test_rows_have_the_weight_of_their_own_policy(capacity: int) -> None:
    """Read back through the loader: chi-square over the policies of a million draws, k + 5 sqrt(2 k) at most.

    In a ring of 60 the warm-up and policy 1 are gone and half of policy 2 is left. The states are drawn, so the
    weights are those of the exact distances up to 3 %.
    """
    story = Story(capacity).told()
    weights, newest = story.weighting.weights(story.view()), len(CHUNKS) - 1
    stamps = story.replay.policy_round[: len(story.replay)]
    present = [stamp for stamp in stamps.unique().tolist() if 0 < stamp < newest]
    exact = torch.stack([story.distance(stamp) for stamp in present], -1)
    expected = policy_weights(exact, 0.05, 0.02)
    per_stamp = torch.stack([weights[:, stamps == stamp].mean(-1) for stamp in [*present, newest]], -1)
    assert all(weights[:, stamps == stamp].std(-1).max() < 1e-6 for stamp in stamps.unique())
    ratios = per_stamp / per_stamp[:, :1]
    torch.testing.assert_close(ratios, expected[:, 1:] / expected[:, 1:2], rtol=0.03, atol=0.0)
    torch.testing.assert_close(weights.mean(-1), torch.ones(2))
    if capacity == 1_000:
        torch.testing.assert_close(weights[:, 0], 0.05 * per_stamp[:, 0])
    for row, replica in zip(draw(weights, 1_000_000, streams([2, 3], CPU)["model"]), (0, 1), strict=True):
        mass = torch.zeros(newest + 1).index_add_(0, stamps, weights[replica]) * 1e6 / len(stamps)
        counts = torch.bincount(stamps[row], minlength=newest + 1)
        drawn, freedom = mass > 0, int((mass > 0).sum()) - 1
        assert float(((counts - mass)[drawn] ** 2 / mass[drawn]).sum()) < freedom + 5.0 * (2 * freedom) ** 0.5


def test_closer_policies_weigh_more() -> None:
    story = Story().told()
    distances = torch.stack([story.distance(stamp) for stamp in range(1, 5)], -1)
    stamps, weights = story.replay.policy_round[: len(story.replay)], story.weighting.weights(story.view())
    per_stamp = torch.stack([weights[:, stamps == stamp].mean(-1) for stamp in range(1, 5)], -1)
    assert torch.equal(per_stamp.argsort(-1), distances.argsort(-1, descending=True))


def test_weights_are_uniform_until_there_are_rows_enough_and_a_policy_to_compare() -> None:
    story = Story(min_rows=60)
    for policy_round, rows in enumerate(CHUNKS):
        numbers = story.chunk(policy_round, rows)
        uniform = torch.equal(story.weighting.weights(story.view()), torch.ones(2, story.step))
        assert uniform is (policy_round < 2)  # 42 rows after round 1, 62 after round 2
        assert all(bool(number.isnan().all()) is uniform for number in numbers.values())
        assert list(numbers) == ["distance_oldest", "distance_latest"]


def test_policies_that_did_not_move_weigh_the_same() -> None:
    story = Story()
    frozen = story.policy
    for policy_round, rows in enumerate(CHUNKS):
        story.policy = copy.deepcopy(frozen)
        for _ in range(rows):
            story.replay.push(story.draws["env"].normal(2 * OBS + ACT + 3), story.step, policy_round)
            story.step += 1
        story.weighting.prepare(story.view())
    weights = story.weighting.weights(story.view())
    assert weights.isfinite().all()
    torch.testing.assert_close(weights[:, CHUNKS[0] :], weights[:, -1:].expand(2, sum(CHUNKS[1:])))


def test_a_restored_weighting_knows_the_policies_of_the_past() -> None:
    story = Story().told()
    restored: PolicyDistance = build("weighting", story.settings, context())
    restored.load_state_dict(copy.deepcopy(story.weighting.state_dict()))
    restored.prepare(story.view())
    story.weighting.prepare(story.view())
    assert torch.equal(restored.weights(story.view()), story.weighting.weights(story.view()))
    assert not torch.equal(restored.weights(story.view()), torch.ones(2, story.step))
    assert sorted(restored.state_dict()["snapshots"]) == list(range(len(CHUNKS)))


def test_policies_without_rows_are_forgotten() -> None:
    story = Story(capacity=45).told()
    assert sorted(story.weighting.state_dict()["snapshots"]) == [3, 4, 5]


def test_rollouts_start_by_weight_only_if_asked() -> None:
    assert Story().told().weighting.rollout_weights(Story().view()) is None
    story = Story(rollout_starts="weighted").told()
    assert story.weighting.rollout_weights(story.view()) is story.weighting.weights(story.view())
