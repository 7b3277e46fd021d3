"""The dual of transition occupancy matching (Ma et al., 2023, Proposition 1), whatever Q is.

    min_Q  (1 - g) E_{mu0, pi} Q(s, a)  +  E_q f*_+( e(s, a, s') ),        w = (f*_+)'(e)              (Eq. 16, 17)
    e = r(s, a, s') + g E_{a' ~ pi} Q(s', a') - Q(s, a),                   r = log d^pi_T / d^D

Q is the multiplier of an equality, hence free in sign (the page prints Q >= 0). At a stationary point the derivative in
the direction Q = constant vanishes: E_q[w (1 - g (1 - terminated))] = 1 - g with the mask, E_q[w] = 1 otherwise.

With continuous states the policy's occupancy is never inside a finite data set: no weights meet the flow constraint,
and the dual of a rich enough Q has no minimum. What Q may be, and how far it is minimised, is then part of the method:
`quadratic_q.py` takes a small space and finds the one minimum, `network_q.py` takes so many Adam steps.
"""

from typing import Any

import torch
from torch import Tensor

from tom.core.context import Context
from tom.core.networks import Normaliser, Policy
from tom.core.replay import RESETS_KEPT, Replay, Transitions, take
from tom.core.streams import Stream
from tom.occupancy.divergences import conjugate, slope, weight
from tom.settings.dual import DualSettings

BISECTIONS = 40  # halvings of the bracket: far below float32's resolution
ROWS_PER_CHUNK = 2_048  # rows of a pass over the whole buffer that are evaluated together


def bellman_error(
    log_ratio: Tensor,
    q: Tensor,
    q_next: Tensor,
    q_initial: Tensor,
    terminated: Tensor,
    discount: float,
    termination: str,
) -> Tensor:
    """e of Eq. 16 for rows [..., N]; q_next = E_pi Q(s', a') [..., N], q_initial = E_{mu0, pi} Q [..., 1].

    What follows a terminal transition: `none` the flow as printed, `mask` nothing, `restart` a new episode from mu0.
    """
    if termination == "none":
        following = q_next
    elif termination == "mask":
        following = (1.0 - terminated) * q_next
    else:
        following = torch.lerp(q_next, q_initial.expand_as(q_next), terminated)
    return log_ratio + discount * following - q


def dual_loss(error: Tensor, q_initial: Tensor, probability: Tensor, discount: float, divergence: str) -> Tensor:
    """The objective of Eq. 16: rows [..., N] with q = probability, q_initial [..., 1] -> [...]."""
    return (1.0 - discount) * q_initial[..., 0] + conjugate(divergence, error, probability)


def dual_at_zero(log_ratio: Tensor, terminated: Tensor, settings: DualSettings, discount: float) -> Tensor:
    """The objective of the best constant Q, which knows nothing of the flow: rows [R, N] -> [R].

    A Q that is worse than this on rows it was not fitted to has not solved anything.
    """
    if settings.divergence == "kl_simplex":
        return conjugate(settings.divergence, log_ratio, torch.full_like(log_ratio, 1.0 / log_ratio.shape[-1]))
    direction = constant_direction(terminated, discount, settings.termination)
    constant = best_constant(log_ratio, direction, settings.divergence)
    error = log_ratio + constant * direction
    return dual_loss(
        error,
        -constant / (1.0 - discount),
        torch.full_like(error, 1.0 / error.shape[-1]),
        discount,
        settings.divergence,
    )


def mass_residual(weight: Tensor, terminated: Tensor, discount: float, termination: str) -> Tensor:
    """Relative distance from a stationary point: 0 there for any network with an output bias; [..., N] -> [...]."""
    if termination == "mask":
        return (weight * (1.0 - discount * (1.0 - terminated))).mean(-1) / (1.0 - discount) - 1.0
    return weight.mean(-1) - 1.0


def constant_direction(terminated: Tensor, discount: float, termination: str) -> Tensor:
    """How e changes when Q falls by 1 / (1 - g) everywhere: 1, and under the mask more where mass ends."""
    if termination == "mask":
        return (1.0 - discount * (1.0 - terminated)) / (1.0 - discount)
    return torch.ones_like(terminated)


def best_constant(error: Tensor, direction: Tensor, divergence: str) -> Tensor:
    """The b that minimises the dual along e + b * direction, by bisection: rows [R, N] -> [R, 1].

    The dual is convex in b, and stationary where E_q[f*'(e + b direction) direction] = 1, the mass identity.
    """
    probability = torch.full_like(error, 1.0 / error.shape[-1])
    low = -1.0 - error.amax(-1, keepdim=True) - direction.mean(-1, keepdim=True).log()
    low, high = low.clamp(max=0.0), (-error.amin(-1, keepdim=True)).clamp(min=0.0)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2.0
        mass = (slope(divergence, error + middle * direction, probability) * direction).mean(-1, keepdim=True)
        low, high = torch.where(mass < 1.0, middle, low), torch.where(mass < 1.0, high, middle)
    return (low + high) / 2.0


@torch.no_grad()
def policy_inputs(obs: Tensor, policy: Policy, noise: Tensor) -> Tensor:
    """Each observation [R, B, O] with K sampled actions (noise [R, K, B, A]): [R, K B, O + A]."""
    actions = policy.samples(obs, noise)
    repeated = obs[:, None].expand(*actions.shape[:-1], obs.shape[-1])
    return torch.cat([repeated, actions], -1).flatten(1, 2)


class OccupancyQ:
    """Q of Eq. 16 for R replicas, on inputs (s, a) in the buffer's units."""

    def __init__(self, settings: DualSettings, context: Context):
        self.settings, self.discount, self.action_dim = settings, context.discount, context.action_dim
        self.normalise = Normaliser(context.replicas, context.observation_dim + context.action_dim, context.init.device)

    def solve(
        self, replay: Replay, log_ratio: Tensor, policy: Policy, stream: Stream, seen: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Minimises the dual of this round; e of every stored row [R, N], and what DUAL names, [R] each.

        log_ratio is r of the stored rows [R, N]. Only rows `seen` (slots, int64 [R, M]) are learned from, if given.
        """
        raise NotImplementedError

    def untrained(self, replay: Replay, log_ratio: Tensor, policy: Policy, stream: Stream) -> Tensor:
        """e of every stored row [R, N] before any round was solved: that of the best constant Q."""
        direction = constant_direction(replay.all().terminated, self.discount, self.settings.termination)
        return log_ratio + best_constant(log_ratio, direction, self.settings.divergence) * direction

    def values(self, inputs: Tensor) -> Tensor:
        """Q at raw inputs [R, B, O + A]: [R, B]."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """What must survive from round to round."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""

    def observe(self, replay: Replay) -> None:
        """Settles the units of Q's inputs for a round: the moments of the stored rows."""
        if self.settings.q_normalises:
            self.normalise.fit(replay.all().obs_action)

    def error(self, rows: Transitions, log_ratio: Tensor, q: Tensor, q_next: Tensor, q_initial: Tensor) -> Tensor:
        """e [R, B] where q_next [R, K B] holds K sampled actions of each next state."""
        q_next = q_next.view(q.shape[0], -1, q.shape[1]).mean(1)
        return bellman_error(log_ratio, q, q_next, q_initial, rows.terminated, self.discount, self.settings.termination)

    def ratio(self, error: Tensor) -> Tensor:
        """d / d^D of every stored row, from their e: [R, N] (Eq. 17)."""
        return weight(self.settings.divergence, error, torch.full_like(error, 1.0 / error.shape[-1]))

    def residual(self, error: Tensor, terminated: Tensor) -> Tensor:
        """The mass identity's relative residual [R] of all rows' e [R, N]."""
        return mass_residual(self.ratio(error), terminated, self.discount, self.settings.termination)

    @torch.no_grad()
    def errors(self, replay: Replay, log_ratio: Tensor, policy: Policy, stream: Stream) -> Tensor:
        """e of every stored row [R, N], with fresh action samples."""
        rows, samples = replay.all(), self.settings.action_samples
        resets = take(replay.resets, stream.below(replay.resets_kept(), RESETS_KEPT))
        initial = policy_inputs(resets, policy, stream.normal(samples, RESETS_KEPT, self.action_dim))
        q_initial = self.values(initial).mean(1, keepdim=True)
        errors = torch.empty_like(log_ratio)
        for start in range(0, len(replay), ROWS_PER_CHUNK):
            part = rows.like(rows.data[:, start : start + ROWS_PER_CHUNK])
            count = part.data.shape[1]
            following = policy_inputs(part.next_obs, policy, stream.normal(samples, count, self.action_dim))
            q = self.values(torch.cat([part.obs_action, following], 1))
            chunk = slice(start, start + count)
            errors[:, chunk] = self.error(part, log_ratio[:, chunk], q[:, :count], q[:, count:], q_initial)
        return errors


# What `solve` reports: the dual's value, the mass identity's residual, and the value of the best constant Q.
DUAL = ("dual", "mass_residual", "dual_at_zero")
