"""Batches of SAC that hold model rows by chance: VaGraM's schedule, and what the released code of TOM makes of it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tom.backbones.mbpo import ModelBasedPolicyOptimisation
from tom.core.context import Context
from tom.core.replay import Replay, Transitions
from tom.core.streams import streams
from tom.settings.backbones.mbpo import Settings as BackboneSettings
from tom.settings.fields import problems

CPU = torch.device("cpu")
OBS, ACT = 4, 1


def context() -> Context:
    return Context(2, OBS, ACT, 0.9, CPU, streams([0, 1], CPU)["init"])


class Recorder:
    """Stands in for the update and keeps what it was given."""

    def __init__(self) -> None:
        self.batches: list[Transitions] = []

    def __call__(self, rows: Tensor, next_noise: Tensor, noise: Tensor) -> Tensor:
        self.batches.append(Transitions(rows, OBS, ACT))
        return torch.zeros(2, 5)


def recorded(bursts: int, **changes: Any) -> list[Tensor]:
    """Rewards of every batch, [R, 256]: -7 in model rows, the row's number in real ones."""
    settings = BackboneSettings(hidden=2, rollout_starts=50, updates_per_burst=20, **changes)
    backbone, recorder = ModelBasedPolicyOptimisation(settings, context()), Recorder()
    backbone.sac.update = recorder  # type: ignore[method-assign, assignment]
    backbone.model_buffer.add(torch.full((2, 50, 2 * OBS + ACT + 3), -7.0))
    replay, draws = Replay(2, 100, OBS, ACT, CPU), streams([0, 1], CPU)["replay"]
    replay.add(torch.arange(100.0)[None, :, None].expand(2, 100, 2 * OBS + ACT + 3).clone())
    for _ in range(bursts):
        backbone.burst(replay, draws)
    return [batch.reward for batch in recorder.batches]


@pytest.mark.parametrize(("env_steps", "expected"), [(0, 0.0), (5_000, 0.2375), (20_000, 0.95), (90_000, 0.95)])
def test_the_chance_of_a_model_batch_is_truncated_linear(env_steps: int, expected: float) -> None:
    """Binomial counts of 2 x 20 x 40 batches lie within five standard deviations; replicas flip their own coins."""
    settings = BackboneSettings(hidden=2, model_batch_probability_first=0.0, model_batch_probability_last=0.95)
    backbone = ModelBasedPolicyOptimisation(settings, context())
    backbone.updates = 5 * env_steps
    assert backbone.model_batch_probability() == pytest.approx(expected)
    batches = recorded(40, model_batch_probability_first=expected, model_batch_probability_last=expected)
    imagined = torch.stack([(batch == -7.0).sum(-1) for batch in batches])
    assert set(imagined.unique().tolist()) <= {0, 244}
    share, spread = float((imagined > 0).double().mean()), (expected * (1.0 - expected) / imagined.numel()) ** 0.5
    assert abs(share - expected) <= 5.0 * spread
    assert (imagined[:, 0] != imagined[:, 1]).any() == (0.0 < expected < 1.0)


@pytest.mark.parametrize(
    ("env_steps", "stairs"), [(0, 0), (999, 0), (1_000, 1), (7_996, 7), (20_000, 20), (90_000, 20)]
)
def test_the_chance_can_climb_in_stairs(env_steps: int, stairs: int) -> None:
    """0.95 / 20 more for every thousand steps that are over: truncated_linear(0, 20, 0, 0.95, epoch)."""
    settings = BackboneSettings(
        hidden=2,
        model_batch_probability_first=0.0,
        model_batch_probability_last=0.95,
        model_batch_probability_step_env_steps=1_000,
    )
    backbone = ModelBasedPolicyOptimisation(settings, context())
    backbone.updates = 5 * env_steps
    assert backbone.model_batch_probability() == pytest.approx(0.95 * stairs / 20)


def test_a_batch_without_the_model_is_whole_or_the_real_share_repeated() -> None:
    never = {"model_batch_probability_first": 0.0, "model_batch_probability_last": 0.0}
    whole, share = recorded(1, **never), recorded(1, **never, batch_without_model="share")
    for batches, distinct in ((whole, range(80, 101)), (share, range(8, 13))):
        for rewards in batches:
            assert (rewards >= 0.0).all()
            assert all(len(row.unique()) in distinct for row in rewards)
    for rewards in share:
        assert torch.equal(rewards[:, 12:24], rewards[:, :12])


def test_by_default_no_coin_is_flipped() -> None:
    """Batches at probability 1 are the same bytes whatever the other settings of the mixture are."""
    usual, other = recorded(2), recorded(2, model_batch_probability_env_steps=1, batch_without_model="share")
    assert all(torch.equal(a, b) for a, b in zip(usual, other, strict=True))


def test_a_share_of_nothing_is_refused() -> None:
    (sentence,) = problems(BackboneSettings(batch_without_model="share", real_fraction=0.0), "backbone")
    assert "nearest valid choice: whole" in sentence
