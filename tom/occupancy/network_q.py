"""Q of the dual as a network, improved by so many Adam steps a round: what the paper describes."""

from typing import Any

import torch
from torch import Tensor

from tom.core.adam import fused_adam
from tom.core.context import Context
from tom.core.graphs import Captured
from tom.core.networks import Policy, StackedMLP, descend
from tom.core.replay import Replay, Transitions, take
from tom.core.streams import Stream
from tom.occupancy.dual import OccupancyQ, best_constant, constant_direction, dual_at_zero, dual_loss, policy_inputs
from tom.settings.weightings.tom import Settings

UPDATES_PER_DRAW = 50  # updates whose indices and noise are drawn at once: bounds memory, changes no distribution


class NetworkQ(OccupancyQ):
    """One MLP per replica on normalised inputs; network and optimiser persist from round to round."""

    settings: Settings

    def __init__(self, settings: Settings, context: Context):
        super().__init__(settings, context)
        sizes = (context.observation_dim + context.action_dim, settings.q_hidden, settings.q_hidden, 1)
        self.net = StackedMLP((context.replicas,), sizes, torch.relu_, context.init)
        # A decayed output bias would move the mean weight away from 1, so biases are spared.
        bias_decay = settings.q_weight_decay if settings.q_decays_biases else 0.0
        groups = [
            {"params": [self.net.weights], "weight_decay": settings.q_weight_decay},
            {"params": [self.net.biases], "weight_decay": bias_decay},
        ]
        self.optimizer = fused_adam(groups, settings.q_learning_rate)
        self.update = Captured(self._update, context.init.device)

    def solve(
        self, replay: Replay, log_ratio: Tensor, policy: Policy, stream: Stream, seen: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """`q_updates` Adam steps from where Q is; `dual` is the mean loss of the last ones."""
        terminated = replay.all().terminated
        self.observe(replay)
        if self.settings.exact_constant:
            self.centre(self.errors(replay, log_ratio, policy, stream), terminated)  # for this round's log-ratio
        dual = self.fit(replay, log_ratio, policy, stream, seen)
        error = self.errors(replay, log_ratio, policy, stream)
        residual = self.residual(error, terminated)
        if self.settings.exact_constant:
            error = self.centre(error, terminated)
        at_zero = dual_at_zero(log_ratio, terminated, self.settings, self.discount)
        return error, {"dual": dual, "mass_residual": residual, "dual_at_zero": at_zero}

    def untrained(self, replay: Replay, log_ratio: Tensor, policy: Policy, stream: Stream) -> Tensor:
        """e of every stored row [R, N] before any round was solved: that of the network as it was initialised."""
        self.observe(replay)
        error = self.errors(replay, log_ratio, policy, stream)
        return self.centre(error, replay.all().terminated) if self.settings.exact_constant else error

    def values(self, inputs: Tensor) -> Tensor:
        q: Tensor = self.net(self.normalise(inputs))[..., 0]
        return q

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

    def loss(self, rows: Transitions, log_ratio: Tensor, reset_obs: Tensor, policy: Policy, noise: Tensor) -> Tensor:
        """Eq. 16 on a batch: log_ratio [R, B], reset_obs [R, B, O], noise [R, K + 1, B, A] -> [R].

        The last noise sample is the reset states' action: that term is linear in Q, so one is unbiased.
        """
        batch = log_ratio.shape[-1]
        following = policy_inputs(rows.next_obs, policy, noise[:, :-1])
        initial = policy_inputs(reset_obs, policy, noise[:, -1:])
        q = self.values(torch.cat([rows.obs_action, following, initial], 1))
        q_now, q_next, q_initial = q.split([batch, following.shape[1], batch], 1)
        q_initial = q_initial.mean(1, keepdim=True)
        error = self.error(rows, log_ratio, q_now, q_next, q_initial)
        probability = torch.full_like(error, 1.0 / batch)
        return dual_loss(error, q_initial, probability, self.discount, self.settings.divergence)

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

    def state_dict(self) -> dict[str, Any]:
        return {
            "q": self.net.state_dict(),
            "normalise": self.normalise.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["q"])
        self.normalise.load_state_dict(state["normalise"])
        self.optimizer.load_state_dict(state["optimizer"])
