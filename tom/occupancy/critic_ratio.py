"""A density ratio from one test function, the critic, as AMPL was released (td_dice_trainer.py@7e961c8).

For every f the ratio w = d^pi / d^D obeys the forward Bellman equation (Yang et al., 2022)

    E_D[ w f ] = g E_D[ (1 - terminated) w E_pi f(s', a') ] + (1 - g) E_{mu0, pi} f

and all indicator functions together determine it. Here f is Q^pi alone, of which E_D[w r] = (1 - g) J is left: many w
solve that, a constant too, and gradient descent stops at the one nearest to where it began.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tom.core.adam import fused_adam
from tom.core.context import Context
from tom.core.networks import Policy, StackedMLP, TwinCritic
from tom.core.replay import RESETS_KEPT, Replay, Transitions, take
from tom.core.streams import Stream
from tom.occupancy.dual import ROWS_PER_CHUNK, policy_inputs
from tom.settings.weightings.ampl import Settings

FIRST = 0.003  # the last layer begins within +- so much (networks.py:310)
LEAST = 1e-8  # added to a softplus, so that its power has a slope
SLOPE = 0.01  # of a leaky ReLU below 0
LONGEST = 1.0  # norm that a gradient is cut to


class CriticRatio:
    """w(s, a) = softplus(network)^power of R replicas; network, slow copy and optimiser persist from round to round."""

    def __init__(self, settings: Settings, context: Context):
        self.settings, self.discount, self.action_dim = settings, context.discount, context.action_dim
        wide = settings.ratio_hidden
        sizes = (context.observation_dim + context.action_dim, wide, 3 * wide // 4, 1)
        self.net = StackedMLP((context.replicas,), sizes, leaky, context.init, "torch")
        with torch.no_grad():
            weight, bias = self.net.layers()[-1]
            weight.copy_(FIRST * (2.0 * context.init.uniform(*weight.shape[1:]) - 1.0))
            bias.zero_()
        self.slow = copy.deepcopy(self.net).requires_grad_(False)
        self.parameters: list[Tensor] = list(self.net.parameters())
        self.optimizer = fused_adam(self.parameters, settings.ratio_learning_rate)

    def ratio(self, net: StackedMLP, obs_action: Tensor) -> Tensor:
        """w at obs_action [R, B, O + A]: [R, B] > 0."""
        return (F.softplus(net(obs_action)[..., 0]) + LEAST).pow(self.settings.power)

    @torch.no_grad()
    def of(self, rows: Transitions) -> Tensor:
        """w of the rows [R, N, W]: [R, N]."""
        return torch.cat([self.ratio(self.net, part) for part in rows.obs_action.split(ROWS_PER_CHUNK, 1)], 1)

    def fit(self, replay: Replay, policy: Policy, critic: TwinCritic, stream: Stream) -> Tensor:
        """Takes `ratio_updates` Adam steps; returns by how much the left side was above the right one, mean, [R]."""
        above = replay.data.new_zeros(len(replay.data))
        for _ in range(self.settings.ratio_updates):
            rows = replay.rows(stream.below(len(replay), self.settings.ratio_rows))
            left, right = self.sides(rows, replay, policy, critic, stream)
            self.descend(F.huber_loss(left, right, reduction="none"))
            above += (left - right).detach() / self.settings.ratio_updates
        return above

    def sides(
        self, rows: Transitions, replay: Replay, policy: Policy, critic: TwinCritic, stream: Stream
    ) -> tuple[Tensor, Tensor]:
        """`flow_sides` of the first critic on rows [R, B, W], with one sampled action at each state."""
        first = take(replay.resets, stream.below(replay.resets_kept(), RESETS_KEPT))
        with torch.no_grad():
            inputs = [
                policy_inputs(obs, policy, stream.normal(1, obs.shape[1], self.action_dim))
                for obs in (rows.next_obs, first)
            ]
            q, q_next, q_initial = (critic(part)[:, 0] for part in (rows.obs_action, *inputs))
            slow = self.ratio(self.slow, rows.obs_action)
        ratio = self.ratio(self.net, rows.obs_action)
        return flow_sides(ratio, slow, q, q_next, q_initial, rows.terminated, self.discount)

    def descend(self, loss: Tensor) -> None:
        """One Adam step down the loss [R], each replica's gradient cut to LONGEST; the slow copy follows."""
        gradients = torch.autograd.grad(loss.sum(), self.parameters)
        norm = torch.stack([gradient.square().sum(-1) for gradient in gradients]).sum(0).sqrt()
        shorter = (LONGEST / (norm + 1e-6)).clamp(max=1.0)[:, None]
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient * shorter
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.slow.parameters()), self.parameters, self.settings.ratio_target_rate)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name).state_dict() for name in ("net", "slow", "optimizer")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in state.items():
            getattr(self, name).load_state_dict(part)


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE, inplace=True)


def flow_sides(
    ratio: Tensor,
    slow: Tensor,
    q: Tensor,
    q_next: Tensor,
    q_initial: Tensor,
    terminated: Tensor,
    discount: float,
) -> tuple[Tensor, Tensor]:
    """Both sides of the forward Bellman equation of one test function, means over rows [R, B] and starts [R, M]: [R].

    `slow` stands for the ratio on the right, where no gradient goes.
    """
    following = discount * ((1.0 - terminated) * slow * q_next).mean(-1)
    return (ratio * q).mean(-1), (1.0 - discount) * q_initial.mean(-1) + following
