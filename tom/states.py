"""States of replicas, as nested tensors and plain numbers: whether they are finite, taken apart, put together.

A tensor with axes has a row, or several, for each of the R replicas; whatever else is there is true of all of them. So
the states of replicas that trained together can be taken apart, and those of replicas that did not be put together.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch


def is_finite(state: Any) -> bool:
    """Whether every number in the nested state is."""
    if isinstance(state, torch.Tensor):
        return bool(state.isfinite().all())
    if isinstance(state, dict):
        return all(map(is_finite, state.values()))
    return all(map(is_finite, state)) if isinstance(state, list | tuple) else True


def tensors(state: Any) -> Iterator[torch.Tensor]:
    """Every tensor of real numbers with axes in the nested state."""
    if isinstance(state, torch.Tensor) and state.dim() and state.is_floating_point():
        yield state
    for part in state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ():
        yield from tensors(part)


def split(state: Any, replicas: int) -> list[Any]:
    """The state of each replica, as if it had been alone; shares no memory with the state unless there is just one."""
    if replicas == 1:
        return [state]
    if isinstance(state, torch.Tensor) and state.dim():
        return [part.clone() for part in state.chunk(replicas)]
    if isinstance(state, dict):
        parts = {key: split(value, replicas) for key, value in state.items()}
        return [{key: part[replica] for key, part in parts.items()} for replica in range(replicas)]
    return [state] * replicas


def join(states: Sequence[Any]) -> Any:
    """The state of replicas side by side; ValueError if they have not come equally far."""
    first = states[0]
    if len(states) == 1:
        return first
    if isinstance(first, torch.Tensor) and first.dim():
        return torch.cat(list(states))
    if isinstance(first, dict):
        if any(state.keys() != first.keys() for state in states):
            raise ValueError("the states of the replicas do not have the same parts")
        return {key: join([state[key] for state in states]) for key in first}
    if any(state != first for state in states):
        raise ValueError(f"the replicas have not come equally far: {', '.join(map(str, states))}")
    return first
