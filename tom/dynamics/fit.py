"""The one weighted fit of a dynamics model (Ma et al., 2023, Eq. 18): min over the model of E_buffer[w * loss]."""

from collections.abc import Callable

import torch
from torch import Tensor

from tom.dynamics.base import Dynamics, targets_of
from tom.networks import descend
from tom.replay import Transitions, take
from tom.streams import Stream

PerSampleLoss = Callable[[Dynamics, Tensor, Tensor, Tensor], Tensor]
HOLDOUT_CHUNK = 1_000  # rows evaluated together


def fit(
    model: Dynamics, rows: Transitions, weights: Tensor, columns: Tensor, loss: PerSampleLoss, stream: Stream
) -> dict[str, Tensor]:
    """Refits `model` on rows [R, N, W] with weights [R, N]; warm start, hold-out, patience per replica.

    `multiply` scales each sample's loss, `resample` draws rows in proportion to their weight; the hold-out loss is
    weighted in both. The normaliser is refitted on the training rows. Returns numbers to log, [R] each.
    """
    settings, stream = model.settings, stream.fork()
    count = weights.shape[1]
    held = min(int(settings.holdout_fraction * count), settings.holdout_max_rows)
    order = stream.permutation(count)
    holdout, training = order[:, :held], order[:, held:]
    training_rows = rows.like(take(rows.data, training))
    model.inputs.fit(training_rows.obs_action)
    model.targets.fit(targets_of(training_rows))
    table = table_of(model, rows, weights, columns)
    train_table, holdout_table = take(table, training), take(table, holdout)
    patience = Patience(model, settings.patience, settings.min_improvement)
    train_loss = holdout_loss = weights.new_zeros(weights.shape[0])
    for _ in range(settings.max_epochs):
        train_loss = epoch(model, train_table, loss, stream)
        if held:
            holdout_loss = _holdout_loss(model, holdout_table, loss)
            if patience.exhausted(holdout_loss):
                break
    patience.finish(settings.restore_best and held > 0)
    return {"epochs": patience.epochs, "train_loss": train_loss, "holdout_loss": patience.kept(holdout_loss)}


def table_of(model: Dynamics, rows: Transitions, weights: Tensor, columns: Tensor) -> Tensor:
    """Normalised inputs and targets, the weight and the loss's own columns, side by side: one gather a batch."""
    return torch.cat([model.inputs(rows.obs_action), model.targets(targets_of(rows)), weights[..., None], columns], -1)


def _losses(model: Dynamics, rows: Tensor, loss: PerSampleLoss) -> tuple[Tensor, Tensor]:
    """Per-sample losses and weights of table rows, [R, B] each."""
    inputs, outputs = model.inputs.mean.shape[-1], model.targets.mean.shape[-1]
    x, y, weight, columns = rows.split([inputs, outputs, 1, rows.shape[-1] - inputs - outputs - 1], -1)
    return loss(model, x, y, columns), weight[..., 0]


def draw(weights: Tensor, count: int, stream: Stream) -> Tensor:
    """`count` rows of each replica, drawn with replacement in proportion to weights [R, N]: int64 [R, count]."""
    cumulative = weights.double().cumsum(-1)
    targets = stream.uniform(count).double() * cumulative[:, -1:]
    return torch.searchsorted(cumulative, targets, right=True).clamp_(max=weights.shape[1] - 1)


def epoch(model: Dynamics, table: Tensor, loss: PerSampleLoss, stream: Stream) -> Tensor:
    """One epoch of Adam steps; returns the mean training loss [R]."""
    settings = model.settings
    drawn, multiply = settings.batches_per_epoch * settings.batch, settings.weights_by == "multiply"
    weights = table[..., model.inputs.mean.shape[-1] + model.targets.mean.shape[-1]]
    index = stream.below(table.shape[1], drawn) if multiply else draw(weights, drawn, stream)
    total, parameters = table.new_zeros(table.shape[0]), list(model.parameters())
    for batch in take(table, index).split(settings.batch, 1):
        losses, weight = _losses(model, batch, loss)
        per_replica = (losses * weight if multiply else losses).mean(-1)
        descend(model.optimizer, per_replica, parameters)
        total += per_replica.detach()
    return total / settings.batches_per_epoch


@torch.no_grad()
def _holdout_loss(model: Dynamics, table: Tensor, loss: PerSampleLoss) -> Tensor:
    """Weighted mean loss on the held-out rows [R]."""
    parts = [_losses(model, part, loss) for part in table.split(HOLDOUT_CHUNK, 1)]
    losses, weights = torch.cat([p[0] for p in parts], 1), torch.cat([p[1] for p in parts], 1)
    return (losses * weights).sum(-1) / weights.sum(-1).clamp(min=torch.finfo(weights.dtype).tiny)


class Patience:
    """Early stopping, each replica by its own rule: it ends as its best epoch left it, whatever the others do."""

    def __init__(self, model: Dynamics, patience: int, min_improvement: float):
        self.model, self.patience, self.min_improvement = model, patience, min_improvement
        replicas, device = model.inputs.mean.shape[0], model.inputs.mean.device
        self.best = torch.full((replicas,), torch.inf, device=device)
        self.best_parameters = [p.detach().clone() for p in model.parameters()]
        self.since_best = torch.zeros(replicas, dtype=torch.int64, device=device)
        self.epochs = torch.zeros(replicas, device=device)

    def exhausted(self, holdout_loss: Tensor) -> bool:
        """Takes note of one epoch's hold-out loss [R]; True once every replica has stopped."""
        active = self.since_best <= self.patience
        gain = self.best - holdout_loss
        improved = active & ((gain > self.min_improvement * self.best.abs()) | torch.isinf(self.best))
        self._copy(self.best_parameters, list(self.model.parameters()), improved)
        self.best = torch.where(improved, holdout_loss, self.best)
        self.since_best = torch.where(improved, 0, self.since_best + active)
        self.epochs += active
        return bool((self.since_best > self.patience).all())

    def kept(self, last: Tensor) -> Tensor:
        """The hold-out loss of the epoch that was kept [R]."""
        return torch.where(torch.isinf(self.best), last, self.best)

    def finish(self, restore_best: bool) -> None:
        """Puts the best epoch's parameters back into the model."""
        if restore_best:
            everyone = torch.ones_like(self.best, dtype=torch.bool)
            self._copy(list(self.model.parameters()), self.best_parameters, everyone)

    @staticmethod
    @torch.no_grad()
    def _copy(targets: list[Tensor], sources: list[Tensor], replicas: Tensor) -> None:
        """targets <- sources for the replicas of the mask; every tensor's leading axis is a multiple of R."""
        for target, source in zip(targets, sources, strict=True):
            mask = replicas.repeat_interleave(target.shape[0] // len(replicas)).view(-1, *[1] * (target.dim() - 1))
            target.copy_(torch.where(mask, source, target))
