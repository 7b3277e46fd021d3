"""The parts of an environment step of training, each with its matrix products and how often it is done."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from pipeline.checks.bench.measure import Part
from pipeline.checks.bench.products import Product, forward, input_gradients, weight_gradients
from pipeline.runs.ensure import simulator_threads
from tom.core.replay import take
from tom.dynamics.descent import epoch, epochs
from tom.dynamics.fit import samples_of
from tom.occupancy.discriminator import Discriminator
from tom.settings.agent import agent_settings
from tom.settings.weightings.tom import Settings as OccupancySettings
from tom.train import Trainer

STEPS = 100  # environment steps per repeat
UPDATES = 20  # updates of the weighting per repeat
EPISODE_ENV_STEPS = 1_000  # gymnasium's time limit
EPOCHS = 30  # at most taken into account of a fit that has a larger bound or none


def agent(config: Mapping[str, Any], replay_rows: int, seeds: Sequence[int] = (0,), device: str = "cpu") -> Trainer:
    """An agent with these settings whose replay is full of random rows."""
    online = {"warmup_env_steps": 1, "offline_env_steps": 0, "offline_dataset": ""}
    loop = {**config["train"], "total_env_steps": replay_rows, **online}
    made = Trainer(agent_settings({**config, "train": loop}), seeds, torch.device(device), simulator_threads(device))
    rows = torch.randn_like(made.replay.data[:, :replay_rows])
    rows[..., -2:] = 0.0
    made.replay.add(rows)
    made.replay.resets.normal_()
    made.replay.reset_count = [made.replay.resets.shape[1]] * len(seeds)
    return made


def parts(made: Trainer, epochs_per_round: int | None = None) -> Iterator[Part]:
    """Every part of an environment step; `epochs_per_round` of the model fit, if not as many as its settings allow."""
    for part in _parts(made, epochs_per_round):
        yield replace(part, device=made.replay.data.device)


def _parts(made: Trainer, epochs_per_round: int | None) -> Iterator[Part]:
    yield from (step_part(made), update_part(made))
    if made.backbone.uses_model:
        yield from fit_parts(made, epochs_per_round)
    if hasattr(made.settings.backbone, "rollout_starts"):
        yield rollout_part(made)
    if isinstance(made.settings.weighting, OccupancySettings):
        network = made.settings.weighting.q == "network"
        yield from (dual_part(made) if network else solve_part(made), discriminator_part(made))
        if network:
            yield pass_part(made)
    elif made.settings.weighting.name != "uniform":
        yield weights_part(made)
    yield evaluation_part(made)


def step_part(made: Trainer) -> Part:
    """Acting, the simulator, the replay."""
    if hasattr(made.settings.backbone, "plan_probability"):  # it plans once its model was rolled out
        made.backbone.rollout(made.model, made.replay, made.spec, made.streams["rollout"])

    def run() -> None:
        for _ in range(STEPS):
            made.step(explore=False)

    return Part("acting and simulator", run, STEPS, 1.0)


def fit_parts(made: Trainer, epochs_per_round: int | None) -> Iterator[Part]:
    """Minibatches, the hold-out loss of an epoch, and what a fit does before its first epoch."""
    settings, model, stream, rows = made.settings.dynamics, made.model, made.streams["model"], made.replay.all()
    weights, columns = torch.ones_like(rows.reward), made.loss.columns(made.view())
    rounds = 1.0 / made.settings.train.round_env_steps
    samples = samples_of(model, rows, weights, columns)

    def prepare() -> None:
        model.normalise(rows)
        took = samples_of(model, rows, weights, columns)
        took.like(take(took.data, stream.permutation(took.data.shape[1])))

    yield Part("fit's preparation, a round", prepare, 1, rounds)
    if not hasattr(model, "net"):
        solve = lambda: model.refit(samples, samples.like(samples.data[:, :0]), made.loss, stream)  # noqa: E731
        yield Part("least squares", solve, 1, rounds)
        return
    draws = epochs(model, samples, stream)
    batches, limit = math.ceil(next(draws).shape[-1] / settings.batch), min(settings.max_epochs, EPOCHS)
    fits = (epochs_per_round or limit) * rounds
    run = lambda: epoch(model, samples, next(draws), made.loss)  # noqa: E731
    yield Part(f"{settings.name} minibatch", run, batches, fits * batches)
    held = min(int(settings.holdout_fraction * len(made.replay)), settings.holdout_max_rows)
    if held:
        holdout = samples.like(samples.data[:, :held])
        judge = lambda: model.mean_loss(holdout, model.criterion(made.loss))  # noqa: E731
        yield Part(f"hold-out loss, {held:,} rows", judge, 1, fits)


def rollout_part(made: Trainer) -> Part:
    rows = made.settings.backbone.rollout_starts * made.backbone.length
    run = lambda: made.backbone.rollout(made.model, made.replay, made.spec, made.streams["rollout"])  # noqa: E731
    return Part(f"rollout of {rows:,} rows", run, 1, 1.0 / made.settings.train.round_env_steps)


def update_part(made: Trainer) -> Part:
    """An update of whatever backbone it is, in bursts, with model rows to draw from where there is a model."""
    settings, name = made.settings.backbone, "SAC update"
    if hasattr(settings, "path_length"):
        name = f"update, paths of {settings.path_length}"
    elif hasattr(settings, "horizon"):
        name = f"update, values expanded over {settings.horizon}"
    if made.backbone.uses_model:
        made.backbone.rollout(made.model, made.replay, made.spec, made.streams["rollout"])
    run = lambda: made.backbone.burst(made.replay, made.streams["replay"])  # noqa: E731
    return Part(name, run, settings.updates_per_burst, settings.updates_per_env_step)


def dual_part(made: Trainer) -> Part:
    settings = made.settings.weighting
    per_env_step = settings.q_updates / made.settings.train.round_env_steps
    settings.q_updates = UPDATES
    log_ratio, actor = 0.1 * torch.randn_like(made.replay.all().reward), made.backbone.sac.policy
    run = lambda: made.weighting.q.fit(made.replay, log_ratio, actor, made.streams["weighting"])  # noqa: E731
    return Part("dual-Q step", run, UPDATES, per_env_step)


def solve_part(made: Trainer) -> Part:
    """A quadratic Q from nothing, and the weight of every stored row; beside the products of one Newton step."""
    settings, spec, q = made.settings.weighting, made.spec, made.weighting.q
    rows, count = min(settings.q_rows, len(made.replay)), q.width + len(q.pairs[0]) + 1
    products = [Product(made.replicas, count, rows, count, "left"), Product(made.replicas, 1, rows, count)]
    products += forward((1 + settings.action_samples) * len(made.replay), (q.width, q.width), made.replicas)
    hidden = made.settings.backbone.hidden
    products += forward(rows, (spec.observation_dim, hidden, hidden, 2 * spec.action_dim), made.replicas)
    log_ratio, actor = 0.1 * torch.randn_like(made.replay.all().reward), made.backbone.sac.policy
    run = lambda: q.solve(made.replay, log_ratio, actor, made.streams["weighting"])  # noqa: E731
    rounds = 1.0 / made.settings.train.round_env_steps
    return Part(f"dual on {len(made.replay):,} rows, a round", run, 1, rounds, products)


def discriminator_part(made: Trainer) -> Part:
    settings, spec, stream = made.settings.weighting, made.spec, made.streams["weighting"]
    per_env_step = settings.discriminator_updates / made.settings.train.round_env_steps
    # As many as in a round, since moments of the whole buffer come before the first; of many seeds a share of them.
    settings.discriminator_updates = max(UPDATES, settings.discriminator_updates // made.replicas)
    batch, half, one = settings.discriminator_batch, settings.discriminator_hidden // 2, made.replicas
    inputs = (spec.observation_dim, spec.action_dim, spec.observation_dim)
    nets = [*((size, half) for size in inputs), (3 * half, settings.discriminator_hidden, 1)]
    products: list[Product] = []
    for sizes in nets:  # both classes forward and backward; the slope at points between them, and its own gradient
        products += forward(2 * batch, sizes, one) + weight_gradients(2 * batch, sizes, one)
        products += 2 * forward(batch, sizes, one) + 2 * input_gradients(batch, sizes, one)
        products += 2 * weight_gradients(batch, sizes, one)
    products += input_gradients(2 * batch, nets[-1], one)
    discriminator = Discriminator(settings, one, spec.observation_dim, spec.action_dim, stream)
    rows = made.replay.all()
    newest = rows.like(rows.data[:, -settings.pool_env_steps :])
    run = lambda: discriminator.fit(newest, rows, stream)  # noqa: E731
    return Part("discriminator step", run, settings.discriminator_updates, per_env_step, products)


def weights_part(made: Trainer) -> Part:
    """Whatever another weighting does in a round."""
    view, rounds = made.view(), 1.0 / made.settings.train.round_env_steps

    def run() -> None:
        made.weighting.prepare(view)
        made.weighting.weights(view)

    return Part(f"weights of {len(made.replay):,} rows, a round", run, 1, rounds)


def pass_part(made: Trainer) -> Part:
    """Log-ratio, error and weight of every stored row: the one part that grows with the replay."""
    settings, spec, stream = made.settings.weighting, made.spec, made.streams["weighting"]
    discriminator = Discriminator(settings, made.replicas, spec.observation_dim, spec.action_dim, stream)

    def run() -> None:
        log_ratio = discriminator.log_ratio(made.replay.all())
        for _ in range(2 if settings.exact_constant else 1):
            made.weighting.q.errors(made.replay, log_ratio, made.backbone.sac.policy, stream)

    rounds = 1.0 / made.settings.train.round_env_steps
    return Part(f"weights of {len(made.replay):,} rows, a round", run, 1, rounds, counted=False)


def evaluation_part(made: Trainer) -> Part:
    """Steps of all evaluation episodes; so many of them if none ends early."""
    envs, episodes = made.eval_envs, len(made.eval_envs.envs)
    policy, spec = made.backbone.acting.policy, made.spec
    obs = torch.zeros(made.replicas, episodes // made.replicas, spec.observation_dim)
    for index in range(episodes):
        envs.reset(index, index)

    @torch.no_grad()
    def run() -> None:
        for _ in range(STEPS):
            envs.step(policy.mode(obs).flatten(0, 1).numpy(), range(episodes))

    per_env_step = EPISODE_ENV_STEPS / made.settings.train.eval_every_env_steps
    return Part(f"evaluation of {episodes} episodes, at most", run, STEPS, per_env_step, counted=False)
