"""E[w | s, a]: weights that depend on s' tilt the fitted dynamics from T to T w / E[w | s, a]; their mean does not."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tom.core.networks import Normaliser, StackedMLP, descend
from tom.core.replay import Transitions, take
from tom.core.streams import Stream

HIDDEN, UPDATES, BATCH, LEARNING_RATE = 64, 300, 256, 1e-3  # ours


def project(weights: Tensor, rows: Transitions, stream: Stream) -> Tensor:
    """Least-squares regression of weights [R, N] on (s, a) by a small MLP with a softplus output: [R, N] >= 0.

    In units of their mean, so that the answer scales with the weights.
    """
    scale = weights.mean(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    inputs = rows.obs_action
    normalise = Normaliser(weights.shape[0], inputs.shape[-1], inputs.device)
    normalise.fit(inputs)
    table = torch.cat([normalise(inputs), (weights / scale)[..., None]], -1)
    net = StackedMLP((weights.shape[0],), (inputs.shape[-1], HIDDEN, HIDDEN, 1), torch.relu_, stream)
    parameters = list(net.parameters())
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)
    for index in stream.below(weights.shape[1], UPDATES, BATCH).unbind(1):
        batch = take(table, index)
        error = F.softplus(net(batch[..., :-1])[..., 0]) - batch[..., -1]
        descend(optimizer, error.square().mean(-1), parameters)
    with torch.no_grad():
        return scale * F.softplus(net(table[..., :-1])[..., 0])
