"""PACOH's meta-fit (Rothfuss et al., 2021): priors that many tasks' data would have been likely under.

    log Q(phi) = log hyper-prior(phi) + c sum_i ln Z_i(phi),    c = 1 / (sqrt(n m) + 1),
    ln Z_i(phi) ~ logsumexp_{l <= L} sqrt(m) ll_i(theta_l) - ln L,    theta_l ~ P_phi,

with n tasks of m rows, ll_i the mean log-likelihood of task i's rows, and phi moved by SVGD (Liu and Wang, 2016). In
the mean over theta the estimate is a lower bound of ln Z_i.
"""

import math
from typing import Any

import torch
from torch import Tensor

from tom.core.adam import fused_adam
from tom.core.replay import take
from tom.core.streams import Stream
from tom.pacoh.bnn import ParticleNetwork
from tom.pacoh.particles import WeightPrior, direction, log_hyper_prior
from tom.settings.experiments.pacoh import Prior


def log_evidence(log_likelihood: Tensor, power: float) -> Tensor:
    """ln Z of a task from mean log-likelihoods [..., L, n] under L draws from a prior: [..., n].

    `power` is how often the mean counts: the number of rows, for the evidence itself, or its root.
    """
    return (power * log_likelihood).logsumexp(-2) - math.log(log_likelihood.shape[-2])


class MetaFit:
    """N priors over the weights of a model's networks, on the rows of n tasks of each of R replicas."""

    def __init__(self, settings: Prior, model: ParticleNetwork, stream: Stream):
        """The priors begin about first weights of networks, each about its own."""
        self.settings, self.model, self.stream = settings, model, stream
        particles = model.net.theta
        mean = particles[:, torch.arange(settings.hyper_particles) % particles.shape[1]]
        log_variance = torch.full_like(mean, 2.0 * math.log(settings.initial_std))
        self.phi = torch.cat([mean, log_variance], -1).requires_grad_()
        self.optimizer = fused_adam([self.phi], settings.learning_rate)

    def prior(self) -> WeightPrior:
        """What was learned so far."""
        return WeightPrior(*(part.clone() for part in self.phi.detach().chunk(2, -1)))

    def log_posterior(
        self, phi: Tensor, noise: Tensor, inputs: Tensor, targets: Tensor, tasks: int, rows: int
    ) -> Tensor:
        """log Q of priors phi [R, N, 2 D], up to a constant: [R, N].

        noise [R, N, L, D] draws networks, inputs and targets [R, t, B, W] are rows of t of the `tasks`, each of which
        has so many `rows`.
        """
        theta = WeightPrior(*phi.chunk(2, -1)).draw(noise)
        each = self.model.log_likelihood(theta, inputs.flatten(1, 2), targets.flatten(1, 2))
        mean = each.unflatten(-1, inputs.shape[1:3]).mean(-1)
        power = float(rows) if self.settings.tempering == "none" else math.sqrt(rows)
        scale = tasks / inputs.shape[1] / (math.sqrt(tasks * rows) + 1.0)
        return log_hyper_prior(phi, self.settings) + scale * log_evidence(mean, power).sum(-1)

    def step(self, inputs: Tensor, targets: Tensor) -> None:
        """One step on rows of some tasks, drawn from all of them: inputs and targets [R, n, m, W], normalised."""
        settings, stream, (tasks, rows) = self.settings, self.stream, inputs.shape[1:3]
        chosen = stream.uniform(tasks).argsort(-1)[:, : settings.tasks_per_step]
        places = chosen[..., None] * rows + stream.below(rows, chosen.shape[1], settings.rows_per_step)
        few_inputs, few_targets = (take(part.flatten(1, 2), places) for part in (inputs, targets))
        noise = stream.normal(settings.hyper_particles, settings.samples, self.phi.shape[-1] // 2)
        objective = self.log_posterior(self.phi, noise, few_inputs, few_targets, tasks, rows)
        (scores,) = torch.autograd.grad(objective.sum(), self.phi)
        self.phi.grad = -direction(self.phi.detach(), scores)
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Where it is; the tensors are those in use."""
        return {"phi": self.phi.detach(), "optimizer": self.optimizer.state_dict(), "stream": self.stream.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        with torch.no_grad():
            self.phi.copy_(state["phi"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.stream.load_state_dict(state["stream"])
