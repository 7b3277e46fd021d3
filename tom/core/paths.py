"""Paths through a model: the random numbers they follow, and the values along them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tom.core.streams import Stream


def path_draws(stream: Stream, steps: int, action_dim: int, outputs: int, *shape: int) -> Tensor:
    """What paths of so many steps draw, side by side: [R, *shape, width].

    First the normal draws of steps + 1 actions, then the normal ones of every model step, then the uniform ones.
    """
    normal = stream.normal(*shape, (steps + 1) * action_dim + steps * outputs)
    return torch.cat([normal, stream.uniform(*shape, steps * outputs)], -1)


def path_steps(
    draws: Tensor, steps: int, action_dim: int, outputs: int
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """The same step by step: of the steps + 1 actions, of the model's normal draws and of its uniform ones."""
    parts = draws.split([*[action_dim] * (steps + 1), *[outputs] * (2 * steps)], -1)
    return list(parts[: steps + 1]), list(parts[steps + 1 : 2 * steps + 1]), list(parts[2 * steps + 1 :])


def expansion(
    rewards: Sequence[Tensor],
    going: Sequence[Tensor],
    values: Sequence[Tensor],
    spent: Sequence[Tensor],
    discount: float,
    mixing: float,
) -> tuple[list[Tensor], list[Tensor]]:
    """V_t of the H steps of a path and Vhat_t of its H + 1 states (Rafailov et al., 2023, Eq. 5), tensors [...] each.

        V_t = r_t + g m_t Vhat_(t + 1),    Vhat_t = (1 - l) Q_t + l V_t - e_t,    Vhat_H = Q_H - e_H

    r_t is the reward of step t, m_t 0 where it ends (`going`), Q_t the critics' value of (s_t, a_t), e_t the price of
    the action's log-probability (`spent`), 0 in the paper. V_t is the value of (s_t, a_t), Vhat_t that of s_t: l mixes
    geometrically, as a return of TD(lambda), what the critics say after 0, 1, ..., H - t steps.
    """
    after = [values[-1] - spent[-1]]
    along: list[Tensor] = []
    for reward, goes_on, value, price in reversed(list(zip(rewards, going, values[:-1], spent[:-1], strict=True))):
        along.append(reward + discount * goes_on * after[-1])
        after.append((1.0 - mixing) * value + mixing * along[-1] - price)
    return along[::-1], after[::-1]
