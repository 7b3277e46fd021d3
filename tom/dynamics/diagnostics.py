"""How good a model is on stored transitions: the numbers every round logs, whatever the model and the loss."""

import torch
from torch import Tensor

from tom.core.replay import Replay, Transitions, take
from tom.core.streams import Stream
from tom.dynamics.base import Dynamics, targets_of

ROWS = 2_000  # drawn for the errors
NEWEST = 1_000  # transitions whose bias is reported


@torch.no_grad()
def model_errors(model: Dynamics, replay: Replay, weights: Tensor, stream: Stream) -> dict[str, Tensor]:
    """Errors on stored rows in the unit that the model's targets have, members averaged, [R] each.

    nll: mean -log p of a row; rmse: root mean square over rows and outputs; the same weighted by w [R, N]; bias_newest
    and rmse_newest: `errors_on` the newest rows, which are what a policy's own states meet.
    """
    index = stream.fork().below(len(replay), ROWS)
    chosen = take(weights[..., None], index)[..., 0]
    error, nll = _error_and_nll(model, replay.rows(index))
    newest = errors_on(model, replay.rows(replay.by_age()[-NEWEST:].expand(len(weights), -1)))
    squared = error.square().mean(-1)
    return {
        "nll": _mean(nll, torch.ones_like(chosen)),
        "nll_weighted": _mean(nll, chosen),
        "rmse": _mean(squared, torch.ones_like(chosen)).sqrt(),
        "rmse_weighted": _mean(squared, chosen).sqrt(),
        "bias_newest": newest["bias"],
        "rmse_newest": newest["rmse"],
    }


@torch.no_grad()
def errors_on(model: Dynamics, rows: Transitions) -> dict[str, Tensor]:
    """Errors on rows [R, B] in the unit that the model's targets have, members averaged, every row alike, [R] each.

    That unit is the standard deviation over the run's own replay at its last fit where targets are normalised, as an
    MDN's are; an ensemble's are raw by default. So two models are comparable where both are of one kind.

    bias: root mean square over outputs of the mean error; rmse: that over rows and outputs; nll: mean -log p of a row.
    """
    error, nll = _error_and_nll(model, rows)
    bias, rmse = error.mean(-2).square().mean(-1).sqrt(), error.square().mean((-2, -1)).sqrt()
    return {"bias": bias, "rmse": rmse, "nll": nll.mean(-1)}


def _error_and_nll(model: Dynamics, rows: Transitions) -> tuple[Tensor, Tensor]:
    """The mean prediction's error [R, B, 1 + O] and -log p [R, B] of the rows [R, B]."""
    inputs, targets = model.spread(model.inputs(rows.obs_action)), model.spread(model.targets(targets_of(rows)))
    error, nll = model.mean(inputs) - targets, -model.log_density(inputs, targets).sum(-1)
    return (error.mean(1), nll.mean(1)) if len(model.lead) > 1 else (error, nll)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over rows [R, B]: [R]."""
    return (values * weights).sum(-1) / weights.sum(-1).clamp(min=torch.finfo(weights.dtype).tiny)
