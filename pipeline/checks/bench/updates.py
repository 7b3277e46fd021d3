"""An update of the policy: SAC's, and one that goes through paths of the model."""

from collections.abc import Callable

from pipeline.checks.bench.part import Part, model_sizes, rows_each, sizes_of
from pipeline.checks.bench.products import forward, input_gradients, training
from tom.train import Trainer


def sac_part(made: Trainer) -> Part:
    settings, (policy, critic), batch = made.settings.backbone, sizes_of(made), made.settings.backbone.batch
    one, two = made.replicas, 2 * made.replicas
    learn = forward(batch, policy, one) + forward(batch, critic, two) + training(batch, critic, two)
    act = training(batch, policy, one) + forward(batch, critic, two) + input_gradients(batch, critic, two)
    return Part("SAC update", bursts(made), settings.updates_per_burst, learn + act, settings.updates_per_env_step)


def path_part(made: Trainer) -> Part:
    """An update whose actor follows paths of the model, backwards through policy, model and critics."""
    settings, (policy, critic), (members, sizes) = made.settings.backbone, sizes_of(made), model_sizes(made)
    batch, one, two, stack = settings.batch, made.replicas, 2 * made.replicas, members * made.replicas
    steps, expanded, rows = settings.path_length, made.backbone.sac.critic_steps, rows_each(made, settings.batch)
    learn = (expanded + 1) * forward(batch, policy, one) + expanded * forward(rows, sizes, stack)
    learn += forward(batch, critic, two) + training(batch, critic, two)
    act = (steps + 1) * training(batch, policy, one) + steps * input_gradients(batch, policy[:2], one)
    act += steps * (forward(rows, sizes, stack) + input_gradients(rows, sizes, stack))
    act += forward(batch, critic, two) + input_gradients(batch, critic, two)
    name = f"update, paths of {steps}"
    return Part(name, bursts(made), settings.updates_per_burst, learn + act, settings.updates_per_env_step)


def expanded_part(made: Trainer) -> Part:
    """An update whose values are expanded by paths, for actor and critics; every member of the model is asked."""
    settings, (policy, critic), (members, sizes) = made.settings.backbone, sizes_of(made), model_sizes(made)
    batch, one, two, stack = settings.batch, made.replicas, 2 * made.replicas, members * made.replicas
    steps, rolled = settings.horizon, settings.horizon * settings.batch
    learn = forward(batch, policy, one) + (steps + 2) * forward(batch, critic, two)
    learn += training(batch, critic, two) + training(rolled, critic, two)
    act = (steps + 2) * training(batch, policy, one) + steps * input_gradients(batch, policy[:2], one)
    act += steps * (forward(batch, sizes, stack) + input_gradients(batch, sizes, stack))
    act += (steps + 1) * (forward(batch, critic, two) + input_gradients(batch, critic, two))
    name = f"update, values expanded over {steps}"
    return Part(name, bursts(made), settings.updates_per_burst, learn + act, settings.updates_per_env_step)


UPDATES = {"path_length": path_part, "horizon": expanded_part}  # by a setting that only such a backbone has


def update_part(made: Trainer) -> Part:
    """An update of whatever backbone it is."""
    return next((part for name, part in UPDATES.items() if hasattr(made.settings.backbone, name)), sac_part)(made)


def bursts(made: Trainer) -> Callable[[], object]:
    """A burst of updates a call, with model rows to draw from where there is a model."""
    if made.backbone.uses_model:
        made.backbone.rollout(made.model, made.replay, made.spec, made.streams["rollout"])
    return lambda: made.backbone.burst(made.replay, made.streams["replay"])
