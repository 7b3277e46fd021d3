"""A model of each agent: s_i' ~ p_i(. | s, a of i and its neighbours), fitted alone and rolled out together.

Agents are replicas: in a row the neighbours' states and all actions stand where an action does, so that replay, the
weighted fit, weightings and networks are those of the house.
"""

from typing import Any, cast

import torch
from torch import Tensor

from tom.core.context import Context, View, build
from tom.core.networks import Policy
from tom.core.replay import draw, take
from tom.core.several import several
from tom.core.streams import Stream
from tom.dynamics.diagnostics import errors_on
from tom.dynamics.fit import fit
from tom.losses.nll import NegativeLogLikelihood
from tom.networked.memory import Memory
from tom.networked.world import Trajectories, World, rollout
from tom.settings.network import NetworkSettings
from tom.weightings.base import normalised, summary

PROBED = 2_000  # rows, drawn from those that tell anything, on which the error of one step is measured
PARTS = ("dynamics", "weighting", "memory")
NUMBERS = (
    *(f"model/{name}" for name in ("epochs", "holdout_loss", "rmse", "bias", "drift")),
    "weights/ess",
    "weights/max",
)


class Models:
    """The models of R n agents, what they are fitted to, and a world made of them; it offers what `Steps` says."""

    def __init__(self, settings: NetworkSettings, world: World, replicas: int, init: Stream):
        """With a replay of the newest `buffer_episodes`, or of all."""
        loop, self.settings, self.world, self.replicas, self.graph = (
            settings.train,
            settings,
            world,
            replicas,
            world.graph,
        )
        self.memory = Memory(world, replicas, loop.buffer_episodes * world.horizon or loop.total_env_steps)
        sizes = self.memory.replay.observation_dim, self.memory.replay.action_dim
        stream = several(init, self.graph.agents)
        context = Context(replicas * self.graph.agents, *sizes, loop.discount, init.device, stream)
        self.dynamics = build("dynamics", settings.dynamics, context)
        self.weighting = build("weighting", settings.weighting, context)
        self.loss, self.fits = NegativeLogLikelihood(), 0

    def fit(self, policies: Any, stream: Stream, weighting: Stream) -> dict[str, Tensor]:
        """Refits every model to the stored rows by their weights; a row from after a crash has none. [R] each."""
        agents, replay = self.graph.agents, self.memory.replay
        # None of the weightings that are let in asks for the policy, which here is of another kind.
        view = View(replay, cast(Policy, policies), None, replay.added, 0, several(weighting, agents))
        self.weighting.prepare(view)
        weights = normalised(self.weighting.weights(view) * self.memory.counts)
        columns, rows = self.loss.columns(view), replay.all()
        found = fit(self.dynamics, rows, weights, columns, self.loss, several(stream, agents))
        self.fits += 1
        numbers = {f"model/{name}": value for name, value in found.items()}
        numbers |= {f"weights/{name}": value for name, value in summary(weights, replay).items()}
        return {name: self.over_agents(value) for name, value in numbers.items() if name in NUMBERS}

    def errors(self, newest: Trajectories, stream: Stream) -> dict[str, Tensor]:
        """Of models on trajectories that they have not seen: one step, and after a whole rollout; [R] each."""
        if not self.fits:
            return {}
        rows, counts = self.memory.rows(newest)
        index = draw(counts, PROBED, several(stream, self.graph.agents))
        found = errors_on(self.dynamics, self.memory.replay.all().like(take(rows, index)))
        one = {f"model/{name}": self.over_agents(found[name]) for name in ("rmse", "bias")}
        return one | {"model/drift": self.drift(newest, stream)}

    def drift(self, newest: Trajectories, stream: Stream) -> Tensor:
        """RMSE of observations after a rollout of the length used, with the actions that were taken, [R]."""
        length, steps = self.settings.train.rollout_length, newest.actions.shape[2]
        starts = torch.arange(0, steps - length + 1, length)
        played = iter([newest.actions[:, :, starts + step].flatten(2) for step in range(length)])
        begun = newest.obs[:, :, starts].flatten(2, 3)
        end = rollout(self, begun, lambda obs, stream: next(played), length, stream).obs[:, :, -1]
        error = (end - newest.obs[:, :, starts + length].flatten(2, 3)).square().mean((1, 3))
        counts = (~newest.stopped[:, starts + length]).flatten(1).float()
        return ((error * counts).sum(-1) / counts.sum(-1).clamp(min=1.0)).sqrt()

    def over_agents(self, values: Tensor) -> Tensor:
        """The mean over agents: [R n] -> [R]."""
        return values.view(self.replicas, -1).mean(1)

    # As a world: states are observations.

    def observe(self, state: Tensor) -> Tensor:
        return state

    def stopped(self, state: Tensor) -> Tensor:
        return self.world.stopped_as_seen(state)

    @torch.no_grad()
    def step(self, state: Tensor, actions: Tensor, stream: Stream) -> tuple[Tensor, Tensor]:
        """All agents step, then exchange what their models predict; what has stopped stays as it is."""
        shape = (self.graph.agents, state.shape[2], 1 + state.shape[3])
        luck = stream.uniform(*shape).flatten(0, 1), stream.normal(*shape).flatten(0, 1)
        reward, after = self.dynamics.sample(self.memory.inputs(state, actions), *luck)
        after, reward = after.view(state.shape), reward.view(state.shape[:-1])
        over = self.stopped(state)[:, None]
        after = torch.where(over[..., None], state, after)
        return after, torch.where(self.stopped(after)[:, None], self.world.stopped_reward, reward)

    def seen(self, rewards: Tensor) -> Tensor:
        return rewards

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` goes on from; the tensors are those in use."""
        optimizer = self.dynamics.optimizer
        return {
            "fits": self.fits,
            "optimizer": None if optimizer is None else optimizer.state_dict(),
            **{name: getattr(self, name).state_dict() for name in PARTS},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to where `state_dict` was taken."""
        self.fits = state["fits"]
        for name in PARTS:
            getattr(self, name).load_state_dict(state[name])
        if state["optimizer"] is not None:
            self.dynamics.optimizer.load_state_dict(state["optimizer"])
