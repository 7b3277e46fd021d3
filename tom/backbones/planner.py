"""A planner in the learned model that acts beside the policy, and a policy that clones both (Byravan et al., 2022).

arXiv 2110.03363; no code was released, and the register says what of it could not be read. Batches and critics are
MBPO's; the actor's loss has the likelihood of stored actions besides, which are the mixture's.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tom.backbones.mbpo import ModelBasedPolicyOptimisation
from tom.backbones.sac import SoftActorCritic
from tom.core.context import Context, World, WorldModel
from tom.core.planning import Imagination, coloured, particles, search
from tom.core.replay import Transitions
from tom.core.streams import Stream
from tom.settings.backbones.planner import Settings


class Cloning(SoftActorCritic):
    """SAC with - beta log pi(a|s) of the stored rows of a batch, which come first in it, in the actor's loss."""

    settings: Settings

    def actor_loss(self, batch: Transitions, noise: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        loss, log_prob, q = super().actor_loss(batch, noise, temperature)
        if self.settings.cloning > 0.0:
            stored = batch.like(batch.data[:, : int(self.settings.real_fraction * self.settings.batch)])
            action = stored.obs_action[..., self.observation_dim :]
            loss = loss - self.settings.cloning * self.policy.log_prob(stored.obs, action).mean(-1)
        return loss, log_prob, q


class Planner:
    """Plans for observations [R, B, O], by the settings, in the model and with the critics as they are."""

    def __init__(self, settings: Settings, imagined: Imagination):
        self.settings, self.imagined = settings, imagined

    @torch.no_grad()
    def plan(self, obs: Tensor, stream: Stream) -> tuple[Tensor, Tensor]:
        """The actions [R, B, A] to take, and what the plan promises above the policy's own [R, B], at least 0.

        A search that promises no more than the policy's own plan gives that; of particles the mean action is taken.
        """
        settings, imagined, rows = self.settings, self.imagined, obs.shape[1]
        own = imagined.own_plan(obs, settings.plan_horizon)
        if settings.planner == "smc":
            shape = rows, settings.plan_samples, own.shape[-1]
            noise = stream.normal(settings.plan_horizon, *shape).to(obs)
            uniform = stream.uniform(settings.plan_horizon, rows).to(obs)
            action = particles(imagined, obs, noise, uniform, settings.plan_temperature).mean(2)
            return action, torch.zeros_like(obs[..., 0])
        returns = lambda plans: imagined.returns(obs, plans)  # noqa: E731
        again = settings.planner == "icem"
        noise = self._noise(stream, rows, own.shape[-1], settings.plan_colour if again else 0.0).to(obs)
        mean, _ = search(returns, own, noise, settings.plan_std, settings.plan_elites, again)
        promised = returns(torch.stack([own, mean], 2))
        gain = promised[..., 1] - promised[..., 0]
        return torch.where(gain[..., None] > 0.0, mean[:, :, 0], own[:, :, 0]), gain.clamp(min=0.0)

    def _noise(self, stream: Stream, rows: int, actions: int, colour: float) -> Tensor:
        """Standard normal along a plan, white or coloured: [R, I, B, M, H, A]."""
        shape, horizon = (self.settings.plan_iterations, rows, self.settings.plan_samples), self.settings.plan_horizon
        if colour == 0.0:
            return stream.normal(*shape, horizon, actions)
        draws = stream.normal(*shape, actions, 2 * (horizon // 2 + 1))
        return coloured(draws, horizon, colour).transpose(-1, -2)


@dataclass(frozen=True)
class Planning:
    """A planner that plays every step of an episode."""

    planner: Planner
    stream: Stream
    device: torch.device

    def mode(self, obs: Tensor) -> Tensor:
        """The planned actions at obs [R, B, O]: [R, B, A]."""
        return self.planner.plan(obs.to(self.device), self.stream)[0].cpu()


class PlannerAmortisation(ModelBasedPolicyOptimisation):
    """MBPO that acts by plan or policy, by the toss of a coin in each step."""

    learner = Cloning
    settings: Settings

    def __init__(self, settings: Settings, context: Context):
        super().__init__(settings, context)
        self.gain = self.planned = torch.zeros(context.replicas)

    def bind(self, model: WorldModel, world: World) -> None:
        super().bind(model, world)
        imagined = Imagination(model, world, self.policy, self.sac.critic, self.settings.discount)
        self.planner = Planner(self.settings, imagined)

    @property
    def plans(self) -> bool:
        """Whether it may plan: there is a chance of it, and the model was fitted."""
        return self.settings.plan_probability > 0.0 and len(self.model_buffer) > 0

    def act(self, observations: Tensor, stream: Stream) -> Tensor:
        """One action per replica, on the CPU: [R, O] -> [R, A]. What a replica draws does not depend on the others."""
        own = super().act(observations, stream)
        if not self.plans:
            return own
        planned = stream.uniform(1) < self.settings.plan_probability  # [R, 1]
        draws = stream.fork()
        if not planned.any():
            return own
        action, gain = self.planner.plan(observations[:, None].to(self.context.device), draws)
        self.gain, self.planned = self.gain + torch.where(planned, gain.cpu(), 0.0)[:, 0], self.planned + planned[:, 0]
        return torch.where(planned, action[:, 0].cpu(), own)

    def planning(self, stream: Stream) -> Planning | None:
        """The planner as it acts, without the coin."""
        return Planning(self.planner, stream, self.context.device) if self.plans else None

    def report(self) -> dict[str, Tensor]:
        """SAC's, and by how much plans promised more than the policy's own, a mean over planned steps; NaN without."""
        gain = self.gain / self.planned
        self.gain = self.planned = torch.zeros_like(self.gain)
        return super().report() | {"plan_gain": gain}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"gain": self.gain.clone(), "planned": self.planned.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.gain, self.planned = state["gain"].cpu(), state["planned"].cpu()


def build(settings: Settings, context: Context) -> PlannerAmortisation:
    return PlannerAmortisation(settings, context)
