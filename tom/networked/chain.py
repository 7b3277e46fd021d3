"""A linear chain whose gradients are exact: s_i' = .6 s_i + .2 (its neighbours') - k_i s_i, r_i = -s_i^2.

What of the gradient is lost if each agent looks no further than kappa hops shows what kappa is worth.
"""

import torch
from torch import Tensor

from tom.networked.graph import line

OWN, COUPLING, DISCOUNT = 0.6, 0.2, 0.9
STEPS = 200  # after which nothing is left of the start
START = (1.0, -0.5, 2.0, 0.5, -1.0, 1.5)
GAIN = 0.1  # k of every agent


def local_returns(gains: Tensor, start: Tensor) -> Tensor:
    """sum_t gamma^t r_j of each agent, for gains k and first states [n]: [n], differentiable in both."""
    adjacent = (line(len(start)).distance == 1).to(start.dtype)
    state, total = start, torch.zeros_like(start)
    for step in range(STEPS):
        total = total - DISCOUNT**step * state.square()
        state = OWN * state + COUPLING * adjacent @ state - gains * state
    return total


def truncated_gradient(gains: Tensor, start: Tensor, hops: int) -> Tensor:
    """d/dk_i of the returns of those at most so many hops from agent i, [n]: with the diameter the whole gradient."""
    by_agent = torch.func.jacrev(local_returns)(gains, start)  # [j, i]
    reach = line(len(start)).reach(hops).to(start.dtype)
    return (reach * by_agent).sum(0)


def errors() -> list[float]:
    """The largest error of the truncated gradient for kappa = 0 to the diameter, in the chain of START."""
    start = torch.tensor(START, dtype=torch.float64)
    gains = torch.full_like(start, GAIN)
    most = line(len(start)).diameter
    whole = truncated_gradient(gains, start, most)
    return [float((truncated_gradient(gains, start, hops) - whole).abs().max()) for hops in range(most + 1)]
