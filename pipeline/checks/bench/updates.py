"""An update of the policy: SAC's, and one that goes through paths of the model."""

from pipeline.checks.bench.part import Part, model_sizes, rows_each, sizes_of
from pipeline.checks.bench.products import Product, forward, input_gradients, training
from tom.train import Trainer

Update = tuple[str, list[Product]]  # what it is called, and its products


def by_sac(made: Trainer) -> Update:
    (policy, critic), batch = sizes_of(made), made.settings.backbone.batch
    one, two = made.replicas, 2 * made.replicas
    learn = forward(batch, policy, one) + forward(batch, critic, two) + training(batch, critic, two)
    act = training(batch, policy, one) + forward(batch, critic, two) + input_gradients(batch, critic, two)
    return "SAC update", learn + act


def by_paths(made: Trainer) -> Update:
    """An update whose actor follows paths of the model, backwards through policy, model and critics."""
    settings, (policy, critic), (members, sizes) = made.settings.backbone, sizes_of(made), model_sizes(made)
    batch, one, two, stack = settings.batch, made.replicas, 2 * made.replicas, members * made.replicas
    steps, expanded, rows = settings.path_length, made.backbone.sac.critic_steps, rows_each(made, settings.batch)
    learn = (expanded + 1) * forward(batch, policy, one) + expanded * forward(rows, sizes, stack)
    learn += forward(batch, critic, two) + training(batch, critic, two)
    act = (steps + 1) * training(batch, policy, one) + steps * input_gradients(batch, policy[:2], one)
    act += steps * (forward(rows, sizes, stack) + input_gradients(rows, sizes, stack))
    act += forward(batch, critic, two) + input_gradients(batch, critic, two)
    return f"update, paths of {steps}", learn + act


def by_expansion(made: Trainer) -> Update:
    """An update whose values are expanded by paths, for actor and critics; every member of the model is asked."""
    settings, (policy, critic), (members, sizes) = made.settings.backbone, sizes_of(made), model_sizes(made)
    batch, one, two, stack = settings.batch, made.replicas, 2 * made.replicas, members * made.replicas
    steps, rolled = settings.horizon, settings.horizon * settings.batch
    learn = forward(batch, policy, one) + (steps + 2) * forward(batch, critic, two)
    learn += training(batch, critic, two) + training(rolled, critic, two)
    act = (steps + 2) * training(batch, policy, one) + steps * input_gradients(batch, policy[:2], one)
    act += steps * (forward(batch, sizes, stack) + input_gradients(batch, sizes, stack))
    act += (steps + 1) * (forward(batch, critic, two) + input_gradients(batch, critic, two))
    return f"update, values expanded over {steps}", learn + act


UPDATES = {"path_length": by_paths, "horizon": by_expansion}  # by a setting that only such a backbone has


def update_part(made: Trainer) -> Part:
    """An update of whatever backbone it is, in bursts, with model rows to draw from where there is a model."""
    settings = made.settings.backbone
    name, products = next((update for key, update in UPDATES.items() if hasattr(settings, key)), by_sac)(made)
    if made.backbone.uses_model:
        made.backbone.rollout(made.model, made.replay, made.spec, made.streams["rollout"])
    run = lambda: made.backbone.burst(made.replay, made.streams["replay"])  # noqa: E731
    return Part(name, run, settings.updates_per_burst, products, settings.updates_per_env_step)
