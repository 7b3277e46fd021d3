"""PMAC: the data of each policy weigh less with every policy that follows (Wang et al., 2022, workshop).

The mixture of policies that the model is fitted to is kept by a recursion: a switch to a new policy multiplies all
shares by a and gives 1 - a to the newcomer, so that after K switches w_0 = a^K and w_k = (1 - a) a^(K - k).
"""

import torch
from torch import Tensor

from tom.core.context import Context, View
from tom.settings.weightings.pmac import Settings
from tom.weightings.base import Weighting


class PolicyDecay(Weighting):
    """Shares of policies as a decaying average; within a policy every row alike."""

    def __init__(self, settings: Settings):
        self.settings = settings

    def weights(self, view: View) -> Tensor:
        replay = view.replay
        if self.settings.decay_every == "round":
            policy = replay.policy_round[: len(replay)]
        else:
            policy = bursts_before(replay.env_step[: len(replay)] - view.warmup_env_steps, view.burst_env_steps)
        return row_weights(policy, self.settings.decay).to(replay.data.dtype).repeat(replay.data.shape[0], 1)

    def rollout_weights(self, view: View) -> Tensor | None:
        return self.weights(view) if self.settings.rollout_starts == "weighted" else None


def policy_shares(switches: int, decay: float) -> Tensor:
    """w_k of the policies k = 0 .. K after K switches, float64 [K + 1]: they sum to 1."""
    ages = torch.arange(switches, -1, -1, dtype=torch.float64)
    shares = (1.0 - decay) * decay**ages
    shares[0] = decay**switches
    return shares


def row_weights(policy: Tensor, decay: float) -> Tensor:
    """Weights [N], mean 1, of rows that were collected by policy 0, 1, 2, ... [N] (int64).

    A policy keeps its share as long as one of its rows is stored; the shares of those that are gone go to the others.
    """
    rows = torch.bincount(policy)
    weights = (policy_shares(len(rows) - 1, decay).to(policy.device) / rows.clamp(min=1))[policy]
    return weights / weights.mean()


def bursts_before(steps_since_warmup: Tensor, burst_env_steps: float) -> Tensor:
    """How many bursts of updates were done before each step [N], int64."""
    return (steps_since_warmup.clamp(min=0).double() / burst_env_steps + 1e-9).long()


def build(settings: Settings, context: Context) -> PolicyDecay:
    return PolicyDecay(settings)
