"""The dual of transition occupancy matching and the Q-function that solves it (Ma et al., 2023, Proposition 1).

    min_Q  (1 - g) E_{mu0, pi} Q(s, a)  +  E_q f*_+( e(s, a, s') ),        w = (f*_+)'(e)              (Eq. 16, 17)
    e = r(s, a, s') + g E_{a' ~ pi} Q(s', a') - Q(s, a),                   r = log d^pi_T / d^D

Q is the multiplier of an equality, hence free in sign (the page prints Q >= 0). At a stationary point the derivative in
the direction Q = constant vanishes: E_q[w (1 - g (1 - terminated))] = 1 - g with the mask, E_q[w] = 1 otherwise.
"""

import torch
from torch import Tensor

from tom.adam import fused_adam
from tom.divergences import conjugate, slope
from tom.graphs import Captured
from tom.networks import Normaliser, Policy, StackedMLP, descend
from tom.replay import RESETS_KEPT, Replay, Transitions, take
from tom.settings.weightings.tom import Settings
from tom.streams import Stream

UPDATES_PER_DRAW = 50  # indices and noise are drawn for this many updates at once; bounds memory, changes no result
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


class OccupancyQ:
    """Q of Eq. 16 as one MLP per replica on normalised inputs; network and optimiser persist from round to round."""

    def __init__(
        self, settings: Settings, replicas: int, observation_dim: int, action_dim: int, discount: float, stream: Stream
    ):
        self.settings, self.discount, self.action_dim = settings, discount, action_dim
        sizes = (observation_dim + action_dim, settings.q_hidden, settings.q_hidden, 1)
        self.net = StackedMLP((replicas,), sizes, torch.relu_, stream)
        self.normalise = Normaliser(replicas, observation_dim + action_dim, stream.device)
        # A decayed output bias would move the mean weight away from 1, so biases are spared.
        bias_decay = settings.q_weight_decay if settings.q_decays_biases else 0.0
        groups = [
            {"params": [self.net.weights], "weight_decay": settings.q_weight_decay},
            {"params": [self.net.biases], "weight_decay": bias_decay},
        ]
        self.optimizer = fused_adam(groups, settings.q_learning_rate)
        self.update = Captured(self._update, stream.device)

    def fit(
        self, replay: Replay, log_ratio: Tensor, policy: Policy, stream: Stream, seen: Tensor | None = None
    ) -> Tensor:
        """Takes `q_updates` Adam steps on the dual; log_ratio [R, N]. Returns the mean loss of the last ones [R].

        Batches come from the rows `seen` (int64 [R, M]) if given, else from all.
        """
        batch, samples = self.settings.q_batch, self.settings.action_samples
        losses = log_ratio.new_zeros(log_ratio.shape[0])
        for start in range(0, self.settings.q_updates, UPDATES_PER_DRAW):
            updates = min(UPDATES_PER_DRAW, self.settings.q_updates - start)
            index = stream.below(len(replay), updates, batch)
            index = index if seen is None else take(seen[..., None], index)[..., 0]
            batches, ratios = replay.rows(index).data.unbind(1), take(log_ratio[..., None], index).unbind(1)
            resets = take(replay.resets, stream.below(replay.resets_kept(), updates, batch)).unbind(1)
            noise = stream.normal(updates, samples + 1, batch, self.action_dim).unbind(1)
            losses.zero_()
            for drawn in zip(batches, ratios, resets, noise, strict=True):
                losses += self.update(*drawn, policy=policy) / updates
        return losses

    def _update(self, drawn: Tensor, log_ratio: Tensor, reset_obs: Tensor, noise: Tensor, policy: Policy) -> Tensor:
        """One Adam step on rows [R, B, W] and their log-ratio [R, B, 1]; returns the loss [R]."""
        rows = Transitions(drawn, reset_obs.shape[-1], self.action_dim)
        loss = self.loss(rows, log_ratio[..., 0], reset_obs, policy, noise)
        descend(self.optimizer, loss, list(self.net.parameters()))
        return loss.detach()

    def observe(self, replay: Replay) -> None:
        """Settles the units of Q's inputs for a round: the moments of the stored rows."""
        if self.settings.q_normalises:
            self.normalise.fit(replay.all().obs_action)

    def loss(self, rows: Transitions, log_ratio: Tensor, reset_obs: Tensor, policy: Policy, noise: Tensor) -> Tensor:
        """Eq. 16 on a batch: log_ratio [R, B], reset_obs [R, B, O], noise [R, K + 1, B, A] -> [R].

        The last noise sample is the reset states' action: that term is linear in Q, so one is unbiased.
        """
        batch = log_ratio.shape[-1]
        following = policy_inputs(rows.next_obs, policy, noise[:, :-1])
        initial = policy_inputs(reset_obs, policy, noise[:, -1:])
        q = self.net(self.normalise(torch.cat([rows.obs_action, following, initial], 1)))[..., 0]
        q_now, q_next, q_initial = q.split([batch, following.shape[1], batch], 1)
        q_initial = q_initial.mean(1, keepdim=True)
        error = self.error(rows, log_ratio, q_now, q_next, q_initial)
        probability = torch.full_like(error, 1.0 / batch)
        return dual_loss(error, q_initial, probability, self.discount, self.settings.divergence)

    def error(self, rows: Transitions, log_ratio: Tensor, q: Tensor, q_next: Tensor, q_initial: Tensor) -> Tensor:
        """e [R, B] where q_next [R, K B] holds K sampled actions of each next state."""
        q_next = q_next.view(q.shape[0], -1, q.shape[1]).mean(1)
        return bellman_error(log_ratio, q, q_next, q_initial, rows.terminated, self.discount, self.settings.termination)

    @torch.no_grad()
    def centre(self, error: Tensor, terminated: Tensor) -> Tensor:
        """Moves Q by the constant that minimises the dual on all rows [R, N]; returns e as it is then.

        A constant in Q moves e by only 1 - g of it, so that Adam would need tens of thousands of steps to find it.
        """
        if self.settings.divergence == "kl_simplex":
            return error  # no constant matters
        direction = constant_direction(terminated, self.discount, self.settings.termination)
        constant = best_constant(error, direction, self.settings.divergence)
        self.net.layers()[-1][1].sub_(constant[..., None] / (1.0 - self.discount))
        return error + constant * direction

    @torch.no_grad()
    def errors(self, replay: Replay, log_ratio: Tensor, policy: Policy, stream: Stream) -> Tensor:
        """e of every stored row [R, N], with fresh action samples."""
        rows, samples = replay.all(), self.settings.action_samples
        resets = take(replay.resets, stream.below(replay.resets_kept(), RESETS_KEPT))
        initial = policy_inputs(resets, policy, stream.normal(samples, RESETS_KEPT, self.action_dim))
        q_initial = self.net(self.normalise(initial))[..., 0].mean(1, keepdim=True)
        errors = torch.empty_like(log_ratio)
        for start in range(0, len(replay), ROWS_PER_CHUNK):
            part = rows.like(rows.data[:, start : start + ROWS_PER_CHUNK])
            count = part.data.shape[1]
            following = policy_inputs(part.next_obs, policy, stream.normal(samples, count, self.action_dim))
            q = self.net(self.normalise(torch.cat([part.obs_action, following], 1)))[..., 0]
            chunk = slice(start, start + count)
            errors[:, chunk] = self.error(part, log_ratio[:, chunk], q[:, :count], q[:, count:], q_initial)
        return errors


@torch.no_grad()
def policy_inputs(obs: Tensor, policy: Policy, noise: Tensor) -> Tensor:
    """Each observation [R, B, O] with K sampled actions (noise [R, K, B, A]): [R, K B, O + A]."""
    actions = policy.samples(obs, noise)
    repeated = obs[:, None].expand(*actions.shape[:-1], obs.shape[-1])
    return torch.cat([repeated, actions], -1).flatten(1, 2)
