"""Time of each part of the algorithm against its arithmetic floor, on one core: `python -m pipeline.bench [--json]`.

The floor of a part is the matrix products it cannot avoid, at the rate this core reaches on 256 x 256 products in the
same second. Parts are measured at the published sizes on Hopper's dimensions with a replay of 20,000 rows.
"""

import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from pipeline.provenance import cpu_model
from tom.discriminator import Discriminator
from tom.dynamics.descent import epoch, epochs
from tom.dynamics.fit import samples_of
from tom.settings.agent import agent_settings
from tom.train import Trainer

REPLAY_ROWS = 20_000
REPEATS = 7
UPDATES = 20  # updates of the weighting per repeat
EPOCHS = 30  # at most taken into account of a fit that has a larger bound or none
PUBLISHED = {
    "env": "hopper",
    "train": {},
    "weighting": {"name": "tom"},
    "loss": {"name": "nll"},
    "dynamics": {"name": "mdn"},
    "backbone": {"name": "mbpo"},
}


@dataclass(frozen=True)
class Part:
    """Something to time: a call of `run` does `units` units of `gflop` each; a training does `per_env_step` units."""

    name: str
    run: Callable[[], object]
    units: int
    gflop: float
    per_env_step: float


@dataclass(frozen=True)
class Timing:
    """Medians over the repeats; times are of one unit."""

    part: str
    gflop: float
    core_gflops: float
    floor_ms: float
    ms: float
    ratio: float
    per_env_step: float


def products(rows: int, *sizes: int) -> float:
    """GFLOP of the matrix products of an MLP with these layer sizes on so many rows, forward."""
    return sum(2e-9 * rows * fan_in * fan_out for fan_in, fan_out in itertools.pairwise(sizes))


def gradients(rows: int, *sizes: int) -> float:
    """GFLOP of all weights' gradients: the products once more for the weights, and once for the inner inputs."""
    return products(rows, *sizes) + products(rows, *sizes[1:])


def agent(config: Mapping[str, Any]) -> Trainer:
    """An agent with these settings whose replay is full of random rows."""
    loop = {**config["train"], "total_env_steps": REPLAY_ROWS, "eval_episodes": 1}
    made = Trainer(agent_settings({**config, "train": loop}), [0], torch.device("cpu"))
    rows = torch.randn_like(made.replay.data)
    rows[..., -2:] = 0.0
    made.replay.add(rows)
    made.replay.resets.normal_()
    made.replay.reset_count = [made.replay.resets.shape[1]]
    return made


def parts(made: Trainer) -> Iterator[Part]:
    """Every part of an environment step."""
    yield from (_sac(made), _fit(made))
    if made.settings.weighting.name == "tom":
        yield from (_dual(made), _discriminator(made))
    yield _rollout(made)


def _policy_and_critic(made: Trainer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    spec, hidden = made.spec, made.settings.backbone.hidden
    pair = spec.observation_dim + spec.action_dim
    return (spec.observation_dim, hidden, hidden, 2 * spec.action_dim), (pair, hidden, hidden, 1)


def _sac(made: Trainer) -> Part:
    settings, (policy, critic) = made.settings.backbone, _policy_and_critic(made)
    # Twins: target, critic and its gradients, critic in the actor's loss and the gradient of its inputs.
    critics = 2 * (4 * products(settings.batch, *critic) + gradients(settings.batch, *critic))
    actors = 2 * products(settings.batch, *policy) + gradients(settings.batch, *policy)
    run = lambda: made.backbone.burst(made.replay, made.streams["replay"])  # noqa: E731
    made.backbone.rollout(made.model, made.replay, made.spec, made.streams["rollout"])  # model rows to draw from
    return Part("SAC update, sampling included", run, settings.updates_per_burst, critics + actors,
                settings.updates_per_env_step)  # fmt: skip


def _model(made: Trainer) -> tuple[int, tuple[int, ...]]:
    """How many networks the model has, and their layer sizes."""
    if not hasattr(made.model, "net"):
        return 1, (made.spec.observation_dim + made.spec.action_dim, 1 + made.spec.observation_dim)
    shapes = made.model.net.shapes
    return made.model.net.stack, (shapes[0][0], *(fan_out for _, fan_out in shapes))


def _fit(made: Trainer) -> Part:
    settings, model, rows, stream = made.settings.dynamics, made.model, made.replay.all(), made.streams["model"]
    samples = samples_of(model, rows, rows.data.new_ones(1, len(made.replay)), made.loss.columns(made.view()))
    rounds, (members, sizes) = 1 / made.settings.train.round_env_steps, _model(made)
    if not hasattr(model, "net"):
        solve = lambda: model.refit(samples, samples.like(samples.data[:, :0]), made.loss, stream)  # noqa: E731
        return Part("least squares", solve, 1, products(len(made.replay), sizes[0], sum(sizes)), rounds)
    draws = epochs(model, samples, stream)
    batches = math.ceil(next(draws).shape[-1] / settings.batch)
    gflop = members * (products(settings.batch, *sizes) + gradients(settings.batch, *sizes))
    run = lambda: epoch(model, samples, next(draws), made.loss)  # noqa: E731
    return Part(f"{settings.name} minibatch", run, batches, gflop, min(settings.max_epochs, EPOCHS) * batches * rounds)


def _dual(made: Trainer) -> Part:
    settings, (policy, critic) = made.settings.weighting, _policy_and_critic(made)
    per_env_step = settings.q_updates / made.settings.train.round_env_steps
    settings.q_updates = UPDATES
    q, rows = (critic[0], settings.q_hidden, settings.q_hidden, 1), (2 + settings.action_samples) * settings.q_batch
    gflop = products(rows, *q) + gradients(rows, *q) + 2 * products(settings.q_batch, *policy)
    log_ratio, actor = 0.1 * torch.randn(1, len(made.replay)), made.backbone.sac.policy
    run = lambda: made.weighting.q.fit(made.replay, log_ratio, actor, made.streams["weighting"])  # noqa: E731
    return Part(f"dual-Q step, {settings.action_samples} actions", run, UPDATES, gflop, per_env_step)


def _discriminator(made: Trainer) -> Part:
    settings, spec, stream = made.settings.weighting, made.spec, made.streams["weighting"]
    per_env_step = settings.discriminator_updates / made.settings.train.round_env_steps
    settings.discriminator_updates = UPDATES
    batch, half = settings.discriminator_batch, settings.discriminator_hidden // 2
    encoders = products(batch, 2 * spec.observation_dim + spec.action_dim, half)
    one_pass = encoders + products(batch, 3 * half, settings.discriminator_hidden, 1)
    discriminator = Discriminator(settings, 1, spec.observation_dim, spec.action_dim, stream)
    rows = made.replay.all()
    newest = rows.like(rows.data[:, -settings.pool_env_steps :])
    run = lambda: discriminator.fit(newest, rows, stream)  # noqa: E731
    # Two classes, forward and backward (3 passes each); the penalty's slope (2 passes) and its gradient (4).
    return Part("discriminator step", run, UPDATES, 12 * one_pass, per_env_step)


def _rollout(made: Trainer) -> Part:
    settings, (policy, _) = made.settings.backbone, _policy_and_critic(made)
    rows = settings.rollout_starts * settings.rollout_length
    members, sizes = _model(made)
    gflop = products(rows, *policy) + members * products(rows, *sizes)
    run = lambda: made.backbone.rollout(made.model, made.replay, made.spec, made.streams["rollout"])  # noqa: E731
    return Part(f"rollout of {rows:,} rows", run, 1, gflop, 1 / made.settings.train.round_env_steps)


def seconds(run: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(part: Part, repeats: int = REPEATS) -> Timing:
    """Each repeat is paired with a measurement of the core's rate just before and after it."""
    square = torch.randn(256, 256)
    part.run()
    found = []
    for _ in range(repeats):
        probe = lambda: [square @ square for _ in range(200)]  # noqa: E731
        before, whole, after = seconds(probe), seconds(part.run), seconds(probe)
        rate = 400 * 2e-9 * 256**3 / (before + after)
        found.append((rate, 1e3 * part.gflop / rate, 1e3 * whole / part.units))
    rate, floor, ms = (statistics.median(column) for column in zip(*found, strict=True))
    ratio = statistics.median(ms / floor for _, floor, ms in found)
    return Timing(part.name, part.gflop, rate, floor, ms, ratio, part.per_env_step)


def hours(config: Mapping[str, Any]) -> float:
    """Hours of one run with these settings on this core, evaluation and early stopping left out."""
    timings = [measure(part, repeats=1) for part in parts(agent(config))]
    total = config["train"]["total_env_steps"]
    return sum(timing.ms * timing.per_env_step for timing in timings) * total / 3.6e6


def main() -> int:
    """Prints the table; with --json, the same as JSON; with --hours, the hours of the run described on stdin."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    if "--hours" in sys.argv[1:]:
        print(hours(json.load(sys.stdin)))
        return 0
    timings = [measure(part) for part in parts(agent(PUBLISHED))]
    if "--json" in sys.argv[1:]:
        print(
            json.dumps({"cpu": cpu_model(), "torch": torch.__version__, "parts": list(map(asdict, timings))}, indent=1)
        )
        return 0
    print(f"{cpu_model()}, one thread, torch {torch.__version__}; the floor is the products at the 256 x 256 rate")
    print(f"{'part':32}{'GFLOP':>8}{'GFLOP/s':>9}{'floor ms':>10}{'ms':>9}{'ratio':>7}{'per env step':>14}")
    for t in timings:
        print(
            f"{t.part:32}{t.gflop:8.3f}{t.core_gflops:9.0f}{t.floor_ms:10.2f}{t.ms:9.2f}{t.ratio:7.2f}{t.per_env_step:14.3f}"
        )
    print(f"{sum(t.ms * t.per_env_step for t in timings):.0f} ms per environment step, evaluation excluded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
