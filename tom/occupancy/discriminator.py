"""The discriminator that turns two sets of transitions into a log-ratio of their densities.

Trained by cross-entropy with one row of each class at a time, its logit tends to log p(s, a, s') / q(s, a, s')
(Ma et al., 2023, section 4.2; Goodfellow et al., 2014, Prop. 1). A penalty on the logit's gradient keeps it smooth;
it is centred at zero (Mescheder et al., 2018, Eq. 9), since a log-ratio has no reason to have unit slope.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tom.core.adam import fused_adam
from tom.core.graphs import Captured
from tom.core.networks import Normaliser, StackedMLP, descend
from tom.core.replay import Transitions, take
from tom.core.streams import Stream
from tom.settings.weightings.tom import Settings

UPDATES_PER_DRAW = 50  # bounds memory, changes no distribution
ROWS_PER_CHUNK = 4_096


def features(rows: Transitions) -> Tensor:
    """(s, a, s') side by side [..., 2 O + A]."""
    return rows.data[..., : 2 * rows.observation_dim + rows.action_dim]


class Discriminator(nn.Module):
    """Three tanh encoders (s, a, s'), each half as wide as the tanh trunk over them: rows [R, B, 2 O + A] -> [R, B]."""

    def __init__(self, settings: Settings, replicas: int, observation_dim: int, action_dim: int, stream: Stream):
        super().__init__()
        self.settings = settings
        self.split = (observation_dim, action_dim, observation_dim)
        wide, half = settings.discriminator_hidden, max(1, settings.discriminator_hidden // 2)
        shapes, first = (
            [*((size, half) for size in self.split), (3 * half, wide, 1)],
            settings.discriminator_initialisation,
        )
        *encoders, self.trunk = (StackedMLP((replicas,), sizes, torch.tanh, stream, first) for sizes in shapes)
        self.encoders = nn.ModuleList(encoders)
        self.normalise = Normaliser(replicas, sum(self.split), stream.device)

    def forward(self, normalised: Tensor) -> Tensor:
        parts = zip(self.encoders, normalised.split(self.split, -1), strict=True)
        return self.trunk(torch.cat([encoder(part).tanh() for encoder, part in parts], -1))[..., 0]

    def loss(self, current: Tensor, buffer: Tensor, mixture: Tensor) -> Tensor:
        """Cross-entropy of both classes plus the gradient penalty at points between them, per replica [R].

        current and buffer are normalised rows [R, B, 2 O + A]; mixture [R, B, 1] in [0, 1].
        """
        between = torch.lerp(buffer, current, mixture).requires_grad_()
        logits_between, logits = self(between), self(torch.cat([current, buffer], 1))
        (slope,) = torch.autograd.grad(logits_between.sum(), between, create_graph=True)
        penalty = squared_distance(slope.square().sum(-1), self.settings.penalty_slope).mean(-1)
        positive, negative = logits.chunk(2, 1)
        entropy = cross_entropy(positive, negative, self.settings.negative_label)
        return entropy + self.settings.gradient_penalty * penalty

    def fit(self, current: Transitions, buffer: Transitions, stream: Stream) -> Tensor:
        """Trains on the rows [R, n, W] of the policy of interest against the buffer's [R, N, W].

        A share of the current rows, one at least, is held out; returned is the cross-entropy on it, [R]. Chance is
        2 log 2, and a little more may be reported, since the buffer's rows are those of the policy too.
        """
        settings, batch, count = self.settings, self.settings.discriminator_batch, buffer.data.shape[1]
        if settings.discriminator_normalises:
            self.normalise.fit(features(buffer))
        positives = self.normalise(features(current))
        positives = take(positives, stream.permutation(positives.shape[1]))
        held = max(1, int(positives.shape[1] * settings.discriminator_holdout))
        held_out, positives = positives[:, :held], positives[:, held:]
        trained = self if settings.discriminator_trains == "all" else self.trunk
        parameters = list(trained.parameters())
        optimizer = fused_adam(parameters, settings.discriminator_learning_rate)

        def step(*drawn: Tensor) -> Tensor:
            loss = self.loss(*drawn)
            descend(optimizer, loss, parameters)
            return loss.detach()

        update = Captured(step, stream.device)
        for start in range(0, settings.discriminator_updates, UPDATES_PER_DRAW):
            updates = min(UPDATES_PER_DRAW, settings.discriminator_updates - start)
            current_rows = take(positives, stream.below(positives.shape[1], updates, batch)).unbind(1)
            negatives = self.inputs(buffer, stream.below(count, updates, batch).flatten(1))
            buffer_rows = negatives.unflatten(1, (updates, batch)).unbind(1)
            mixtures = stream.uniform(updates, batch, 1).unbind(1)
            for drawn in zip(current_rows, buffer_rows, mixtures, strict=True):
                update(*drawn)
        others = self.inputs(buffer, stream.below(count, held))
        with torch.no_grad():
            return cross_entropy(self(held_out), self(others), settings.negative_label)

    def inputs(self, rows: Transitions, index: Tensor) -> Tensor:
        """The normalised features of the rows index [R, B]: [R, B, 2 O + A]."""
        return self.normalise(features(rows.like(take(rows.data, index))))

    @torch.no_grad()
    def log_ratio(self, rows: Transitions) -> Tensor:
        """log p / q of rows [R, N, W]: the logit, [R, N]."""
        chunks = features(rows).split(ROWS_PER_CHUNK, 1)
        return torch.cat([self(self.normalise(chunk)) for chunk in chunks], 1)


def cross_entropy(positive: Tensor, negative: Tensor, negative_label: float = 0.0) -> Tensor:
    """Cross-entropy of logits with label 1 and logits with `negative_label`, means of both added: [R, B] -> [R]."""
    return F.softplus(-positive).mean(-1) + (F.softplus(negative) - negative_label * negative).mean(-1)


def squared_distance(squared_norm: Tensor, norm: float) -> Tensor:
    """(|x| - norm)^2 from |x|^2; the square root is kept away from 0, where it has no gradient."""
    return squared_norm if norm == 0.0 else (squared_norm.clamp(min=1e-12).sqrt() - norm).square()
