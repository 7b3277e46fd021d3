"""Adam for stacks of networks: fused, and where replicas stop at different times with a count of steps for each."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam


def fused_adam(parameters: Iterable[Any], learning_rate: float) -> torch.optim.Adam:
    """Adam (Kingma and Ba, 2015, with its constants) for replicas that all take every step; in CUDA graphs too.

    `parameters` are tensors, or groups of them with settings of their own.
    """
    groups = list(parameters)
    tensor = groups[0]["params"][0] if isinstance(groups[0], dict) else groups[0]
    return torch.optim.Adam(groups, lr=learning_rate, fused=True, capturable=tensor.is_cuda)


class ReplicaAdam(torch.optim.Optimizer):
    """Adam (Kingma and Ba, 2015, Algorithm 1, with its constants) on parameters whose leading axis is a multiple of R.

    Replicas that are not in `awake` stay as they are to the bit: parameters, moments and count. So the steps that one
    replica takes do not depend on how many another one takes. The state of a parameter is `step` [R] and two moments.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], replicas: int, learning_rate: float):
        super().__init__(parameters, {"lr": learning_rate, "betas": (0.9, 0.999), "eps": 1e-8, "fused": True})
        self.replicas = replicas
        self.awake: Sequence[int] = range(replicas)
        self._views: dict[tuple[int, ...], tuple[list[Tensor], ...]] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step of every replica that is awake, for each parameter with a gradient."""
        assert closure is None
        for group in self.param_groups:
            learnt = [parameter for parameter in group["params"] if parameter.grad is not None]
            parameters, means, squares, steps = self._persistent(learnt)
            adam(
                parameters,
                self._parts([parameter.grad for parameter in learnt]),
                means,
                squares,
                [],
                steps,
                fused=True,
                amsgrad=False,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=group["lr"],
                weight_decay=0.0,
                eps=group["eps"],
                maximize=False,
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave; the views of the old moments are dropped."""
        super().load_state_dict(state_dict)
        self._views.clear()

    def _persistent(self, learnt: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Parts of the parameters, both moments and counts. Making views costs as much as a small network's step."""
        key = (*self.awake, *map(id, learnt))
        if key not in self._views:
            self._views.clear()  # who rests changes rarely
            states = [self._state_of(parameter) for parameter in learnt]
            moments = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
            *wide, steps = (self._parts(tensors) for tensors in (learnt, *moments))
            self._views[key] = (*wide, [part[0] for part in steps])
        return self._views[key]

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(self.replicas, device=parameter.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        return state

    def _parts(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Views of each tensor's rows that belong to one replica, for the replicas that are awake."""
        if self.replicas == 1:
            return list(tensors) if self.awake else []
        chunks = [tensor.chunk(self.replicas) for tensor in tensors]
        return [parts[replica] for parts in chunks for replica in self.awake]
