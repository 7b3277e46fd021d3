"""The loop of DMPO (Du et al., 2022), which yields the records of tom/train.py.

So a run of it is kept, stopped and gone on with like any other.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from tom.networked.trainer import NetworkTrainer
from tom.settings.network import network_settings
from tom.train import Final, Record, Step


def train(
    config: Mapping[str, Any],
    seeds: Sequence[int],
    state: dict[str, Any] | None = None,
    until: int | None = None,
) -> Iterator[Record]:
    """Trains R = len(seeds) networks of agents, on the CPU; each depends on its own seed alone.

    `config` is what `network_settings` takes; `state` and `until` are as in `tom.train.train`, and so are the records,
    one of each kind a round: returns are sums over agents and env steps, divided by the env steps of an episode, of
    episodes with drawn actions, and lengths say when all stopped. SettingsError before any compute; Diverged.
    """
    torch.set_flush_denormal(True)
    settings = network_settings(config)
    trainer, loop = NetworkTrainer(settings, seeds), settings.train
    end = loop.total_env_steps if until is None else min(until, loop.total_env_steps)
    if state is None:
        yield trainer.evaluation()
    else:
        trainer.load_state_dict(state)
    while trainer.env_steps < end:
        yield trainer.round()
        if trainer.env_steps % loop.eval_every_env_steps == 0 or trainer.env_steps == loop.total_env_steps:
            yield trainer.evaluation()
        yield Step(trainer.env_steps, trainer.state_dict)
    policies = trainer.learner.policies.state_dict()
    yield Final(trainer.env_steps, {name: value.view(len(seeds), -1).numpy() for name, value in policies.items()})
