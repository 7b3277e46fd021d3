"""Early stopping, each replica by its own rule: it ends as its best epochs left it, whatever the others do."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tom.dynamics.base import Dynamics


class Patience:
    """Keeps every member's best epoch; a replica stops after more than `patience` epochs in which no member improved.

    To improve is to be below the best by more than `min_improvement` of its size (Janner et al., 2019: bnn.py@2b96db7,
    _save_best). Parameters that members share belong to no member's best epoch: they stay as the last epoch left them.
    """

    def __init__(self, model: "Dynamics", patience: int, min_improvement: float):
        self.model, self.patience, self.min_improvement = model, patience, min_improvement
        replicas, device = model.lead[0], model.inputs.mean.device
        self.best = torch.full(model.lead, torch.inf, device=device)
        self.best_parameters = [p.detach().clone() for p in model.parameters()]
        self.since_best = torch.zeros(replicas, dtype=torch.int64, device=device)
        self.epochs = torch.zeros(replicas, device=device)

    @property
    def active(self) -> Tensor:
        """Which replicas have not stopped, bool [R]."""
        return self.since_best <= self.patience

    def exhausted(self, holdout_loss: Tensor) -> bool:
        """Takes note of one epoch's hold-out loss [*lead]; True once every replica has stopped."""
        active = self.active
        gain = self.best - holdout_loss
        better = (gain > self.min_improvement * self.best.abs()) | (torch.isinf(self.best) & ~torch.isnan(gain))
        improved = better & active.view(-1, *[1] * (better.dim() - 1))
        self._copy(self.best_parameters, list(self.model.parameters()), improved)
        self.best = torch.where(improved, holdout_loss, self.best)
        self.since_best = torch.where(improved.view(len(active), -1).any(1), 0, self.since_best + active)
        self.epochs += active
        return not bool(self.active.any())

    def finish(self, restore_best: bool) -> None:
        """Puts the best epochs' parameters back into the model."""
        if restore_best:
            everyone = torch.ones_like(self.best, dtype=torch.bool)
            self._copy(list(self.model.parameters()), self.best_parameters, everyone)

    @staticmethod
    @torch.no_grad()
    def _copy(targets: list[Tensor], sources: list[Tensor], members: Tensor) -> None:
        """targets <- sources for the members of the mask [*lead]; tensors with fewer rows than members are shared."""
        for target, source in zip(targets, sources, strict=True):
            if len(target) == members.numel():
                mask = members.view(-1, *[1] * (target.dim() - 1))
                target.copy_(torch.where(mask, source, target))
