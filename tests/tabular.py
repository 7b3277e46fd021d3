"""Tabular MDPs and the exact minimiser of the dual on them, through the project's own loss: what the rest is held to.

A next state x of T[s, a, x] is terminal if T has no row for it or no data leaves it; mu0 and nu are then restricted to
the live states and renormalised.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.functional import hessian

from tom.occupancy.divergences import weight
from tom.occupancy.dual import bellman_error, dual_loss
from tom.settings.fields import problems
from tom.settings.weightings.tom import Settings

Array = NDArray[Any]


class MDP(NamedTuple):
    """Dynamics T[s, a, x], policy pi[s, a], initial states mu0[s], data nu[s, a] and discount."""

    T: Array
    pi: Array
    mu0: Array
    nu: Array
    gamma: float


def golden_mdp(concentrated: bool = False, terminal: bool = False) -> MDP:
    """Four states and two actions by integer formulas; `concentrated` data; `terminal`: entering state 3 ends."""
    s, a, x = np.indices((4, 2, 4))
    T = 1.0 + (3 * s + 5 * a + 7 * x) % 11
    pi, nu = (1.0 + (2 * s + 3 * a) % 5)[..., 0], (1.0 + (5 * s + 2 * a) % 7)[..., 0]
    mu0, live = np.array([0.4, 0.3, 0.2, 0.1]), 3 if terminal else 4
    if concentrated:
        nu = np.array([[20.0, 1.0], [1.0, 20.0], [20.0, 1.0], [1.0, 20.0]])
    T, pi, mu0, nu = T / T.sum(-1, keepdims=True), pi / pi.sum(-1, keepdims=True), mu0[:live], nu[:live]
    return MDP(T[:live], pi[:live], mu0 / mu0.sum(), nu / nu.sum(), 0.9)


def continuation(T: Array, mu0: Array, termination: str, terminal: Array) -> Array:
    """Where the flow goes on after (s, a): [s, a, s']; `terminal` [x] says which next states are."""
    onward = np.where(terminal, 0.0, T)[..., : len(T)]
    return onward + T[..., terminal].sum(-1, keepdims=True) * mu0 if termination == "restart" else onward


def occupancy(T: Array, pi: Array, mu0: Array, gamma: float, termination: str, terminal: Array) -> Array:
    """Discounted occupancy p[s, a, x] of pi, by a linear solve. Its mass is below 1 with `mask`."""
    step = np.einsum("sa,sax->sx", pi, continuation(T, mu0, termination, terminal))
    visits = np.linalg.solve(np.eye(len(T)) - gamma * step.T, (1.0 - gamma) * mu0)
    return visits[:, None, None] * pi[..., None] * T


def minimise(loss: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """The minimiser of a convex function: LBFGS, then Newton steps to double precision; RuntimeError if not reached."""
    point = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([point], max_iter=2_000, history_size=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        (value := loss(point)).backward()
        return value

    optimizer.step(closure)
    point = point.detach()
    for _ in range(50):
        gradient = torch.func.grad(loss)(point)
        if gradient.abs().max() < 1e-12:
            return point
        point = point - torch.linalg.lstsq(hessian(loss, point), gradient, driver="gelsd").solution
    raise RuntimeError(f"the dual was not minimised: its gradient is still {float(gradient.abs().max()):.1e}")


def dual_weights(
    T: Array, pi: Array, mu0: Array, nu: Array, gamma: float, divergence: str, termination: str, log_ratio: Any = None
) -> tuple[Array, Array]:
    """The weights w[s, a, x] of Eq. 17 (0 where there is no data) and the minimiser Q[s, a] of Eq. 16.

    r is log(p / q), or `log_ratio` [s, a, x]. ValueError where the problem has no minimiser.
    """
    for sentence in problems(Settings(divergence=divergence, termination=termination), "weighting"):
        raise ValueError(sentence)
    states, actions, nexts = T.shape
    terminal = np.arange(nexts) >= states
    terminal[:states] |= nu[:states].sum(1) == 0.0
    live = ~terminal[:states]
    T, pi, mu0, nu = ((rows[:states].T * live).T for rows in (T, pi, mu0, nu))
    mu0, nu = mu0 / mu0.sum(), nu / nu.sum()
    q, p = nu[..., None] * T, occupancy(T, pi, mu0, gamma, termination, terminal)
    if termination == "none" and q[..., terminal].any():
        raise ValueError("termination=none needs data from every state that the data reach")
    if log_ratio is None:
        if (p[q == 0.0] > 0.0).any():
            raise ValueError("the policy takes transitions that the data do not hold: no weight represents them")
        log_ratio = np.log(np.maximum(p, 0.0), out=p - np.inf, where=p > 0.0) - np.log(np.where(q > 0.0, q, 1.0))
    s, a, x = np.nonzero((q > 0.0) & np.isfinite(log_ratio))
    rows = (q[s, a, x], log_ratio[s, a, x], terminal[x], pi, mu0)
    rows_q, rows_r, ends, policy, first = (torch.as_tensor(values).double() for values in rows)
    after = torch.as_tensor(np.where(terminal, 0, np.arange(nexts))[x])  # whatever a terminal state's value is
    # Q = (1 - gamma P)^-1 z: in z the problem is nearly separable, whatever the discount.
    chain = (continuation(T, mu0, termination, terminal)[..., None] * pi).reshape(states * actions, -1)
    spread = torch.as_tensor(np.linalg.inv(np.eye(states * actions) - gamma * chain))

    def parts(z: Tensor) -> tuple[Tensor, Tensor]:
        table = (spread @ z).view(states, actions)
        value = (policy * table).sum(1)
        initial = first[None] @ value
        return bellman_error(rows_r, table[s, a], value[after], initial, ends, gamma, termination), initial

    start = torch.linspace(-1.0, 1.0, len(spread), dtype=torch.float64)
    z = minimise(lambda z: dual_loss(*parts(z), rows_q, gamma, divergence), start)
    weights = np.zeros_like(q)
    weights[s, a, x] = weight(divergence, parts(z)[0], rows_q).numpy()
    return weights, (spread @ z).view(states, actions).numpy()
