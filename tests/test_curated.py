"""Weights on a buffer whose order is known: closed forms, what is refused, and the same numbers twice."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.analysis.stats import spearman
from pipeline.config.compose import compose_cell
from tom.core.recording import Recording
from tom.experiments.curated_buffer import (
    Weigher,
    chunk_means,
    curated,
    footprint,
    offline_weights,
    random_transitions,
)
from tom.settings.agent import agent_settings
from tom.settings.fields import SettingsError
from tom.settings.weightings.pmac import Settings as Pmac
from tom.settings.weightings.tom import Settings as Tom
from tom.settings.weightings.uniform import Settings as Uniform
from tom.train import Trainer

OBS, ACT, ROWS = 3, 1, 4_000
SMALL = Tom(pool_env_steps=300, discriminator_hidden=32, discriminator_updates=300, q_hidden=32, q_updates=200)
SMALL.discriminator_learning_rate = 3e-3  # a few hundred updates have to do


class TheirPolicy(nn.Module):
    """Steers against the sum of the state."""

    def samples(self, obs: Tensor, noise: Tensor) -> Tensor:
        return torch.tanh(-2.0 * obs.sum(-1, keepdim=True)[:, None] + 0.1 * noise)


def recording(rows: int, share_own: float | np.ndarray, seed: int) -> Recording:
    """Transitions of which a share, which may change from row to row, are the policy's; the others are uniform."""
    draws = np.random.default_rng(seed)
    obs, noise = draws.normal(size=(rows, OBS)), draws.normal(size=(rows, ACT))
    own = draws.random(rows) < share_own
    steered = np.tanh(-2.0 * obs.sum(-1, keepdims=True) + 0.1 * noise)
    action = np.where(own[:, None], steered, draws.uniform(-1.0, 1.0, (rows, ACT)))
    cut = np.arange(rows) % 100 == 99
    flags = np.zeros(rows), cut.astype(float)
    arrays = (obs, action, np.zeros(rows), 0.5 * obs + 0.5 * action, *flags, draws.normal(size=(20, OBS)))
    return Recording(*(array.astype(np.float32) for array in arrays))


def test_mean_weights_of_chunks() -> None:
    weights = torch.arange(12.0)
    assert chunk_means(weights, [4, 4], chunks=4) == [[0.5, 2.5], [4.5, 6.5]]  # the last four rows are in no part
    with pytest.raises(SettingsError, match="a part of 3 transitions cannot be cut into 10 chunks"):
        chunk_means(weights, [3, 3])


def test_uniform_weights_are_one_in_every_chunk() -> None:
    parts = [recording(40, 0.0, 0), recording(40, 1.0, 1)]
    weights, numbers = offline_weights(Weigher(Uniform(), 0.9), curated(parts), TheirPolicy(), 0)
    assert chunk_means(weights, [40, 40]) == [[1.0] * 10] * 2
    assert numbers == {"ess": 1.0}


@pytest.mark.parametrize("divergence", ["chi2", "kl_simplex"])
def test_weights_rise_with_the_share_of_the_policy_s_own_transitions(divergence: str) -> None:
    """Random rows, then rows that are the policy's ever more often: the weights have to find that order."""
    weigher = Weigher(dataclasses.replace(SMALL, divergence=divergence), 0.9)
    parts = [recording(ROWS, 0.0, 0), recording(ROWS, np.linspace(0.0, 1.0, ROWS), 1)]
    replay = curated([*parts, recording(300, 1.0, 2)])
    weights, _ = offline_weights(weigher, replay, TheirPolicy(), 0)
    random, own = chunk_means(weights, [ROWS, ROWS])
    assert spearman(own) >= 0.9
    assert 1.5 * np.mean(random) < np.mean(own[5:])
    again, _ = offline_weights(weigher, replay, TheirPolicy(), 0)
    assert torch.equal(weights, again)
    other, _ = offline_weights(weigher, replay, TheirPolicy(), 1)
    assert not torch.equal(weights, other)


def test_a_cut_episode_counts_as_ended_where_the_method_says_so() -> None:
    parts = [recording(200, 0.0, 0)]
    assert float(curated(parts).all().terminated.sum()) == 0.0
    assert float(curated(parts, "terminal").all().terminated.sum()) == 2.0


def test_what_is_too_small_is_one_sentence() -> None:
    few = curated([recording(100, 0.0, 0)])
    with pytest.raises(SettingsError, match=r"pool_env_steps=300 leaves none of the 100 stored transitions.*value: 50"):
        offline_weights(Weigher(SMALL, 0.9), few, TheirPolicy(), 0)
    with pytest.raises(SettingsError, match=r"discriminator_batch=256 is more than the 100 stored .*value: 100"):
        offline_weights(Weigher(dataclasses.replace(SMALL, pool_env_steps=50), 0.9), few, TheirPolicy(), 0)
    assert Weigher(Pmac(), 0.9).footprint_env_steps == 0


def test_random_transitions_and_a_footprint_are_episodes_of_the_environment() -> None:
    settings = agent_settings(compose_cell("sac", "hopper", "smoke", ["train.total_env_steps=301"]))
    random = random_transitions(settings, 0)
    assert len(random) == 301
    assert float(np.abs(random.action).max()) <= 1.0
    ends = int(random.terminated.sum() + random.truncated.sum())
    assert len(random.resets) == ends + 1
    inside = np.flatnonzero(random.terminated[:-1] + random.truncated[:-1] == 0)
    np.testing.assert_array_equal(random.next_obs[inside], random.obs[inside + 1])
    np.testing.assert_array_equal(random_transitions(settings, 0).obs, random.obs)
    assert not np.array_equal(random_transitions(settings, 1).obs, random.obs)


def test_a_footprint_is_made_by_the_given_policy() -> None:
    settings = agent_settings(compose_cell("sac", "hopper", "smoke"))
    policy = Trainer(settings, [5], torch.device("cpu")).backbone.sac.policy
    parameters = {name: value.numpy()[0] for name, value in policy.state_dict().items()}
    trail, loaded = footprint(settings, parameters, 0, 120)
    assert len(trail) == 120 and len(trail.last(0)) == 0
    np.testing.assert_array_equal(trail.last(20).obs, trail.obs[-20:])
    obs = torch.as_tensor(trail.obs)[None]
    assert torch.equal(loaded.mode(obs), policy.mode(obs))
    np.testing.assert_array_equal(footprint(settings, parameters, 0, 120)[0].action, trail.action)
