"""Early stopping, each replica by its own rule: it ends as its best epochs left it, whatever the others do."""

from collections.abc import Iterable

import torch
from torch import Tensor


class Patience:
    """Keeps every member's best epoch; a replica stops after more than `patience` epochs in which no member improved.

    To improve is to be below the best by more than `min_improvement` of its size (Janner et al., 2019: bnn.py@2b96db7,
    _save_best). Parameters that members share belong to no member's best epoch: they stay as the last epoch left them.
    """

    def __init__(self, parameters: Iterable[Tensor], lead: tuple[int, ...], patience: int, min_improvement: float):
        """Of models whose parameters have as many rows as there are replicas times members, lead = (R, *members)."""
        self.parameters, self.patience, self.min_improvement = list(parameters), patience, min_improvement
        device = self.parameters[0].device
        self.best = torch.full(lead, torch.inf, device=device)
        self.best_parameters = [parameter.detach().clone() for parameter in self.parameters]
        self.since_best = torch.zeros(lead[0], dtype=torch.int64, device=device)
        self.epochs = torch.zeros(lead[0], device=device)

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
        self._copy(self.best_parameters, self.parameters, improved)
        self.best = torch.where(improved, holdout_loss, self.best)
        self.since_best = torch.where(improved.view(len(active), -1).any(1), 0, self.since_best + active)
        self.epochs += active
        return not bool(self.active.any())

    def finish(self, restore_best: bool) -> None:
        """Puts the best epochs' parameters back, if they are wanted."""
        if restore_best:
            everyone = torch.ones_like(self.best, dtype=torch.bool)
            self._copy(self.parameters, self.best_parameters, everyone)

    @staticmethod
    @torch.no_grad()
    def _copy(targets: list[Tensor], sources: list[Tensor], members: Tensor) -> None:
        """targets <- sources for the members of the mask [*lead]; tensors with fewer rows than members are shared."""
        for target, source in zip(targets, sources, strict=True):
            if len(target) == members.numel():
                mask = members.view(-1, *[1] * (target.dim() - 1))
                target.copy_(torch.where(mask, source, target))
