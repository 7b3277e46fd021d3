"""A learned address: which segments to retrieve, by a query and keys, improved by REINFORCE (Zholus and Panov, 2021).

    p_ij = softmax_j( query(i) . key(j) ),      step along  E_i E_{j ~ p_i}[ A_j grad log p_ij ],

where A is the gain of the chosen segment, standardised over the batch (dreamerv2/proposal.py@0da895a). The objective is
linear in p, so nothing keeps it from collapsing onto one segment.
"""

from typing import Any

import torch
from torch import Tensor

from tom.core.adam import fused_adam
from tom.core.context import Context
from tom.core.networks import Normaliser, StackedMLP, descend
from tom.core.replay import Transitions, take
from tom.core.segments import Segments
from tom.core.streams import Stream
from tom.settings.weightings.rama import Settings

LEAST = 1e-6  # added to a standard deviation
NETS = ("trunk", "query", "key")


class Addressing:
    """Networks of R replicas and their optimiser; they persist from round to round."""

    def __init__(self, settings: Settings, context: Context):
        self.settings = settings
        inputs, lead = 2 * (2 * context.observation_dim + context.action_dim), (context.replicas,)
        hidden, width = settings.address_hidden, settings.address_width
        self.trunk = StackedMLP(lead, (inputs, hidden), torch.relu_, context.init)
        self.query, self.key = (StackedMLP(lead, (hidden, width), torch.relu_, context.init) for _ in range(2))
        self.parameters = [parameter for name in NETS for parameter in getattr(self, name).parameters()]
        self.optimizer = fused_adam(self.parameters, settings.address_learning_rate)

    def fit(self, features: Tensor, gain: Tensor, counts: Tensor, stream: Stream) -> None:
        """Takes `address_updates` Adam steps on segments with features [R, K, F] and float64 gains [R, K].

        A replica has so many segments; what lies behind them is not drawn.
        """
        settings = self.settings
        for _ in range(settings.address_updates):
            asking, offered = (
                stream.below(counts.tolist(), number)
                for number in (settings.address_queries, settings.address_candidates)
            )
            logits = self.logits(take(features, asking), take(features, offered))
            chosen = categorical(logits.detach().softmax(-1), stream)
            gains = gain.gather(1, offered).gather(1, chosen)
            descend(self.optimizer, reinforce(logits.log_softmax(-1), chosen, gains), self.parameters)

    @torch.no_grad()
    def address(self, features: Tensor, there: Tensor, stream: Stream) -> Tensor:
        """The chance of each segment to be retrieved, mean over some that ask: [R, K]."""
        asking = stream.below(there.sum(-1).tolist(), self.settings.address_queries)
        logits = self.logits(take(features, asking), features)
        return logits.masked_fill(~there[:, None], -torch.inf).softmax(-1).mean(1)

    def logits(self, asking: Tensor, offered: Tensor) -> Tensor:
        """query . key of segments [R, B, F] and [R, C, F]: [R, B, C]. The trunk learns from the keys alone."""
        query = self.query(self.trunk(asking).relu_().detach())
        return query @ self.key(self.trunk(offered).relu_()).mT

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name).state_dict() for name in (*NETS, "optimizer")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in state.items():
            getattr(self, name).load_state_dict(part)


def segment_features(rows: Transitions, segments: Segments) -> Tensor:
    """Mean and standard deviation of (s, a, s' - s) over each segment, in the buffer's units: [R, K, 2 (2 O + A)]."""
    steps = torch.cat([rows.obs_action, rows.next_obs - rows.obs], -1)
    normalise = Normaliser(len(steps), steps.shape[-1], steps.device)
    normalise.fit(steps)
    steps = normalise(steps)
    mean = segments.mean(steps)
    variance = (segments.mean(steps.square()) - mean.square()).clamp(min=0.0)
    return torch.cat([mean, variance.sqrt()], -1)


def categorical(probability: Tensor, stream: Stream) -> Tensor:
    """One draw from each distribution over the last axis: probability [R, B, C] -> int64 [R, B]."""
    cumulative = probability.double().cumsum(-1)
    target = stream.uniform(probability.shape[1], 1).double() * cumulative[..., -1:]
    return torch.searchsorted(cumulative, target, right=True)[..., 0].clamp_(max=probability.shape[-1] - 1)


def advantages(gain: Tensor) -> Tensor:
    """Gains [..., B] less their mean, in units of their standard deviation."""
    return (gain - gain.mean(-1, keepdim=True)) / (gain.std(-1, correction=0, keepdim=True) + LEAST)


def reinforce(log_address: Tensor, chosen: Tensor, gain: Tensor) -> Tensor:
    """The loss whose gradient is the step: log p [..., B, C], the segments drawn and their gains [..., B] -> [...]."""
    log_chosen = log_address.gather(-1, chosen[..., None])[..., 0]
    return -(log_chosen * advantages(gain)).mean(-1)
