"""PMAC's decay: the recursion, its closed form, whose rows the mass is on, and who starts model rollouts."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tom.backbones.mbpo import ModelBasedPolicyOptimisation
from tom.core.context import Context, View, build
from tom.core.networks import Policy
from tom.core.replay import Replay, draw
from tom.core.streams import Stream, streams
from tom.settings.agent import agent_settings
from tom.settings.backbones.mbpo import Settings as BackboneSettings
from tom.settings.weightings.pmac import Settings
from tom.train import Trainer
from tom.weightings.base import summary
from tom.weightings.pmac import bursts_before, policy_shares, row_weights

CPU = torch.device("cpu")
OBS, ACT = 2, 1


def context() -> Context:
    return Context(2, OBS, ACT, 0.9, CPU, streams([0, 1], CPU)["init"])


def stream() -> Stream:
    return streams([0, 1], CPU)["model"]


def view_of(rounds: list[int], capacity: int, warmup: int = 0, burst_env_steps: float = 1.0) -> View:
    """A ring into which policies 0, 1, ... pushed so many rows each; a row's observation is its environment step."""
    replay, step = Replay(2, capacity, OBS, ACT, CPU), 0
    for policy, rows in enumerate(rounds):
        for _ in range(rows):
            replay.push(torch.full((2, 2 * OBS + ACT + 3), float(step)), step, policy)
            step += 1
    policy_net = Policy(2, OBS, ACT, 4, context().init)
    return View(replay, policy_net, None, step, warmup, stream(), None, burst_env_steps)


def weights_of(view: View, **changes: Any) -> torch.Tensor:
    return build("weighting", Settings(**changes), context()).weights(view)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_the_recursion_is_the_closed_form(decay: float) -> None:
    shares = torch.ones(1, dtype=torch.float64)
    for switches in range(41):
        torch.testing.assert_close(policy_shares(switches, decay), shares, atol=1e-15, rtol=1e-12)
        shares = torch.cat([decay * shares, torch.full((1,), 1.0 - decay, dtype=torch.float64)])


def test_nineteen_policies_count_at_the_published_decay() -> None:
    shares = policy_shares(1_000, 0.9)
    assert float(1.0 / shares.square().sum()) == pytest.approx(1.9 / 0.1)


def test_a_policy_s_share_is_spread_evenly_over_its_rows() -> None:
    view = view_of([5, 2, 4], capacity=20)
    weights = weights_of(view, decay=0.5)
    expected = [0.25 / 5] * 5 + [0.25 / 2] * 2 + [0.5 / 4] * 4
    torch.testing.assert_close(weights, 11.0 * torch.tensor([expected, expected]))


def test_the_mass_of_policies_that_left_the_ring_goes_to_the_others() -> None:
    """Nine rows in a ring of six: policy 0 is gone, of policy 1 one row is left, in the last slot."""
    view = view_of([2, 2, 3, 2], capacity=6)
    weights = weights_of(view, decay=0.5)[0]
    kept = 0.125 + 0.25 + 0.5
    by_age = [0.125] + [0.25 / 3] * 3 + [0.5 / 2] * 2
    expected = 6.0 / kept * torch.tensor(by_age)
    torch.testing.assert_close(weights[view.replay.by_age()], expected)
    assert view.replay.by_age().tolist() != list(range(6))


def test_the_loader_draws_each_policy_by_its_share() -> None:
    """A million draws from a ring that has wrapped: chi-square of k degrees of freedom below k + 5 sqrt(2 k)."""
    rounds = [40, 30, 7, 30, 25, 30]
    view = view_of(rounds, capacity=110)
    index = draw(weights_of(view, decay=0.8), 1_000_000, stream())
    shares = policy_shares(len(rounds) - 1, 0.8)
    shares[0] = 0.0
    expected = 1e6 * shares / shares.sum()
    for row in index:
        counts = torch.bincount(view.replay.policy_round[row], minlength=len(rounds)).double()
        assert counts[0] == 0
        assert float(((counts - expected)[1:] ** 2 / expected[1:]).sum()) < 4 + 5.0 * 8**0.5


@pytest.mark.parametrize(("per_step", "burst"), [(5.0, 20), (0.5, 20), (3.0, 7), (20.0, 20), (0.0, 20)])
def test_bursts_are_counted_as_the_backbone_does_them(per_step: float, burst: int) -> None:
    settings = BackboneSettings(hidden=2, updates_per_env_step=per_step, updates_per_burst=burst)
    backbone, done, counts = ModelBasedPolicyOptimisation(settings, context()), 0, []

    def no_burst(replay: Replay, stream: Stream) -> None:
        nonlocal done
        done, backbone.updates = done + 1, backbone.updates + burst

    backbone.burst = no_burst  # type: ignore[method-assign]
    steps, replay = torch.arange(-30, 100), Replay(2, 1, OBS, ACT, CPU)
    for step in steps.tolist():
        counts.append(done)  # of the policy that acts now
        backbone.improve(per_step * (step + 1), replay, stream())
    assert bursts_before(steps, backbone.burst_env_steps).tolist() == counts


def test_the_released_decay_leaves_seventy_transitions() -> None:
    """Every four steps, after 2000 steps beyond a warm-up of 5000: nearly all mass is on the last round."""
    steps = torch.arange(-5_000, 2_000)
    weights = row_weights(bursts_before(steps, 4.0), 0.9)
    shares = weights / weights.sum()
    assert float(1.0 / shares.square().sum()) == pytest.approx(4 * 19.0, rel=1e-3)
    assert float(shares[-100:].sum()) == pytest.approx(1.0 - 0.9**25)
    assert float(shares[-250:].sum()) > 0.998
    view = view_of([30, 10, 10], capacity=50, warmup=30, burst_env_steps=4.0)
    torch.testing.assert_close(
        weights_of(view, decay_every="burst")[0].double(),
        row_weights(torch.tensor([0] * 34 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4), 0.9),
        atol=1e-6,
        rtol=1e-6,
    )


def test_ess_of_a_round_s_decay_is_that_of_nineteen_rounds() -> None:
    view = view_of([5] * 300, capacity=1_500)
    ess = summary(weights_of(view), view.replay)["ess"] * 1_500
    torch.testing.assert_close(ess, torch.full((2,), 95.0), rtol=1e-4, atol=0.0)


def test_rollouts_start_by_weight_only_if_asked() -> None:
    view = view_of([5, 2, 4], capacity=20)
    assert build("weighting", Settings(), context()).rollout_weights(view) is None
    weighted = build("weighting", Settings(rollout_starts="weighted"), context())
    assert torch.equal(weighted.rollout_weights(view), weighted.weights(view))


def started(weights: torch.Tensor | None) -> torch.Tensor:
    """The observations [R, 500] that rollouts of no model at all start from: rows 0 to 10, by their number."""
    view = view_of([5, 2, 4], capacity=20)
    backbone = ModelBasedPolicyOptimisation(BackboneSettings(hidden=2, rollout_starts=500), context())
    spec: Any = SimpleNamespace(observation_dim=OBS, action_dim=ACT, terminated=lambda obs: obs[..., 0] > 1e9)
    model: Any = SimpleNamespace(sample=lambda x, *noise: (x[..., 0], x[..., :OBS]))
    backbone.rollout(model, view.replay, spec, stream(), weights)
    return backbone.model_buffer.all().obs[..., 0].long()


def test_weighted_rollouts_start_from_the_rows_that_weigh() -> None:
    weights = torch.zeros(2, 11)
    weights[0, [2, 7]], weights[1, 10] = torch.tensor([1.0, 3.0]), 5.0
    rows = started(weights)
    assert set(rows[1].tolist()) == {10}
    counts = torch.bincount(rows[0], minlength=11)
    assert counts[2] + counts[7] == 500
    assert abs(int(counts[2]) - 125) < 5.0 * (500 * 0.25 * 0.75) ** 0.5


def test_rollouts_without_weights_draw_rows_as_ever() -> None:
    assert torch.equal(started(None), stream().fork().below(11, 500))


def test_the_loop_hands_the_weighting_s_starts_to_the_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    config: dict[str, Any] = {
        "env": "hopper",
        "train": {"total_env_steps": 300, "warmup_env_steps": 40},
        "weighting": {"name": "pmac", "rollout_starts": "weighted", "decay_every": "burst"},
        "loss": {"name": "nll"},
        "dynamics": {"name": "mdn", "hidden": 8, "layers": 1, "components": 1, "max_epochs": 1, "batches_per_epoch": 1},
        "backbone": {"name": "mbpo", "hidden": 8, "rollout_starts": 10},
    }
    trainer, given = Trainer(agent_settings(config), [0, 1], CPU), []
    monkeypatch.setattr(trainer.backbone, "rollout", lambda *arguments: given.append(arguments[-1]))
    for _ in range(60):
        trainer.step(explore=True)
    trainer.round()
    assert torch.equal(given[0], trainer.weighting.weights(trainer.view()))
    assert len(given[0][0].unique()) == 5  # 40 + 4 rows of the first policy, then a burst every four steps
