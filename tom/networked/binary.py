"""Four agents in a line with a bit of state and a bit of action each: small enough for exact gradients, and to act in.

P(s_i' = 1) = .15 + .3 (mean of s over i and its neighbours) + .4 a_i,    r_i = [s_i = i mod 2] - .3 a_i.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from tom.core.streams import Stream
from tom.networked.graph import line
from tom.networked.ppo import extended
from tom.settings.experiments.networked import AGENTS, HORIZONS

BASE, COUPLING, PUSH, PRICE = 0.15, 0.3, 0.4, 0.3
DISCOUNT = 0.9  # of the exact gradients
LOGITS = ((0.3, -0.2), (0.1, 0.4), (-0.3, 0.2), (0.0, 0.5))  # of a_i = 1 for s_i = 0 and 1: where they are compared
GRAPH = line(AGENTS["binary"])
AVERAGING = (near := GRAPH.reach(1).double()) / near.sum(1, keepdim=True)


def chance(state: Tensor, action: Tensor) -> Tensor:
    """P(s_i' = 1) for states and actions [..., n, B]."""
    return BASE + COUPLING * AVERAGING.to(state) @ state + PUSH * action


def rewards(state: Tensor, action: Tensor) -> Tensor:
    """r_i for states and actions [..., n, B]."""
    wanted = (torch.arange(state.shape[-2]) % 2)[:, None].to(state)
    return (state == wanted).to(state.dtype) - PRICE * action


class Binary:
    """A world whose observation is the state, [R, n, B, 1]; it never stops, and learners get rewards as they are."""

    graph, observation_dim, actions, horizon, stopped_reward = GRAPH, 1, 2, HORIZONS["binary"], 0.0

    def start(self, stream: Stream, count: int) -> Tensor:
        return (stream.uniform(self.graph.agents, count, 1) < 0.5).float()

    def observe(self, state: Tensor) -> Tensor:
        return state

    def stopped(self, state: Tensor) -> Tensor:
        return torch.zeros_like(state[:, 0, :, 0], dtype=torch.bool)

    def stopped_as_seen(self, obs: Tensor) -> Tensor:
        return self.stopped(obs)

    def step(self, state: Tensor, actions: Tensor, stream: Stream) -> tuple[Tensor, Tensor]:
        now, action = state[..., 0], actions.to(state)
        after = (stream.uniform(*now.shape[1:]) < chance(now, action)).to(state)
        return after[..., None], rewards(now, action)

    def seen(self, rewards: Tensor) -> Tensor:
        return rewards


# The same in tables: joint states and actions are numbers whose bit i is agent i's.


def bits(agents: int) -> Tensor:
    """The bits of every joint state or action, [2^n, n]."""
    return (torch.arange(2**agents)[:, None] >> torch.arange(agents) & 1).double()


def tables() -> tuple[Tensor, Tensor]:
    """P(s' | s, a) [S, A, S] and each agent's reward [n, S, A], of joint states and actions."""
    joint = bits(GRAPH.agents)
    shape = len(joint), len(joint), GRAPH.agents, 1
    states, actions = joint[:, None, :, None].expand(shape), joint[None, :, :, None].expand(shape)
    one = chance(states, actions)[..., 0]  # [S, A, n]
    moves = torch.where(joint == 1.0, one[:, :, None], 1.0 - one[:, :, None]).prod(-1)
    return moves, rewards(states, actions)[..., 0].movedim(-1, 0)


def joint_policy(logits: Tensor) -> Tensor:
    """pi(a | s) of joint states and actions [S, A], for logits [n, 2] of a_i = 1 by s_i."""
    joint = bits(len(logits))
    own = torch.sigmoid(logits)[torch.arange(len(logits)), joint.long()]  # [S, n]
    return torch.where(joint[None] == 1.0, own[:, None], 1.0 - own[:, None]).prod(-1)


def values(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each agent's value [n, S] and advantage [n, S, A], and the unnormalised occupancy of (s, a), [S, A]."""
    (moves, reward), policy = tables(), joint_policy(logits)
    flow = torch.eye(len(moves), dtype=torch.float64) - DISCOUNT * torch.einsum("sa,sat->st", policy, moves)
    value = torch.linalg.solve(flow, (policy * reward).sum(-1).T).T
    advantage = reward + DISCOUNT * torch.einsum("sat,nt->nsa", moves, value) - value[..., None]
    uniform = torch.full((len(moves),), 1.0 / len(moves), dtype=torch.float64)
    return value, advantage, torch.linalg.solve(flow.T, uniform)[:, None] * policy


def exact_gradient(logits: Tensor) -> Tensor:
    """The gradient of the total return from a uniform start, [n, 2], by the chain rule through the solution."""
    logits = logits.detach().requires_grad_()
    (found,) = torch.autograd.grad(values(logits)[0].mean(-1).sum(), logits)
    return found


def extended_gradient(logits: Tensor, hops: int) -> Tensor:
    """E[grad log pi_i sum_j A_j] over those at most so many hops from agent i, [n, 2]: what agents ascend."""
    logits = logits.detach().requires_grad_()
    _, advantage, occupancy = (part.detach() for part in values(logits))
    summed = extended(advantage, GRAPH.reach(hops))
    joint = bits(GRAPH.agents)
    by_state = logits[torch.arange(GRAPH.agents), joint.long()]  # [S, n]
    log = torch.where(joint[None] == 1.0, logsigmoid(by_state)[:, None], logsigmoid(-by_state)[:, None])  # [S, A, n]
    (found,) = torch.autograd.grad((occupancy * summed * log.movedim(-1, 0)).sum(), logits)
    return found


def errors() -> list[float]:
    """The largest error of the extended gradient for kappa = 0 to the diameter, at LOGITS."""
    logits = torch.tensor(LOGITS, dtype=torch.float64)
    exact = exact_gradient(logits)
    return [float((extended_gradient(logits, hops) - exact).abs().max()) for hops in range(GRAPH.diameter + 1)]
