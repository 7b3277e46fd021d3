"""What is timed: something that a training does over and over, and the sizes of the networks in it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.checks.bench.products import Product
from tom.train import Trainer


@dataclass(frozen=True)
class Part:
    """Something to time: a call of `run` does `units` units, a step of training `per_env_step` of them.

    A unit needs the products `times` times. What is not `counted` is reported apart from the cost of a step.
    """

    name: str
    run: Callable[[], object]
    units: int
    products: list[Product]
    per_env_step: float
    times: float = 1.0
    counted: bool = True


def sizes_of(made: Trainer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Layer sizes of the policy and of one critic."""
    spec, hidden = made.spec, made.settings.backbone.hidden
    pair = spec.observation_dim + spec.action_dim
    return (spec.observation_dim, hidden, hidden, 2 * spec.action_dim), (pair, hidden, hidden, 1)


def model_sizes(made: Trainer) -> tuple[int, tuple[int, ...]]:
    """How many networks a replica's model has, and their layer sizes."""
    if not hasattr(made.model, "net"):
        return 1, (made.spec.observation_dim + made.spec.action_dim, 1 + made.spec.observation_dim)
    shapes = made.model.net.shapes
    return made.model.net.stack // made.replicas, (shapes[0][0], *(fan_out for _, fan_out in shapes))


def rows_each(made: Trainer, rows: int) -> int:
    """How many of so many rows each network of the model predicts when they are sampled."""
    settings = made.settings.dynamics
    return math.ceil(rows / settings.elites) if getattr(settings, "elite_by", "row") == "chunk" else rows
