"""The buffer of known policies on which TOM's weights are looked at, and that rounds on it go on from one another."""

from itertools import islice

import pytest
import torch

from pipeline.checks import steadiness
from pipeline.config.compose import compose_cell
from tom.experiments.curated_buffer import Weigher, offline_rounds, offline_weights
from tom.settings.agent import agent_settings


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steadiness, "EACH_ENV_STEPS", 400)


def test_the_newest_rows_are_the_last_recorded_policy_s() -> None:
    replay, policy = steadiness.buffer("hopper", seed=0)
    each = steadiness.EACH_ENV_STEPS
    assert len(replay) == (1 + len(steadiness.RECORDED)) * each
    rows = replay.all()
    newest = rows.like(rows.data[:, -each:])
    mean, std = (moment.detach() for moment in policy(newest.obs))
    before = torch.atanh(newest.obs_action[..., newest.observation_dim :].clamp(-0.9999, 0.9999).double())
    inside = newest.obs_action[..., newest.observation_dim :].abs() < 0.99
    scores = ((before - mean) / std)[inside]
    assert 0.8 < float(scores.std()) < 1.05  # of a normal draw, less what lies near the bounds
    assert float(rows.terminated[:, -each:].sum()) > 0.0  # hopper falls


def test_rounds_begin_with_the_offline_weights_and_keep_what_a_network_keeps() -> None:
    replay, policy = steadiness.buffer("halfcheetah", seed=0)
    agent = agent_settings(compose_cell("tom_mlp", "halfcheetah", "smoke"))
    weigher = Weigher(agent.weighting, agent.backbone.discount)
    first, second = (weights for weights, _ in islice(offline_rounds(weigher, replay, policy, 0), 2))
    torch.testing.assert_close(first, offline_weights(weigher, replay, policy, 0)[0], atol=0.0, rtol=0.0)
    assert not torch.equal(first, second)
