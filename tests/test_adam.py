"""Adam with a state per replica: torch's own numbers, replicas that rest, and fits that do not notice one another."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tom.core.adam import ReplicaAdam
from tom.core.context import Context, build
from tom.core.networks import descend
from tom.core.replay import Transitions
from tom.core.streams import streams
from tom.dynamics.base import Dynamics
from tom.dynamics.fit import fit
from tom.settings.dynamics.ensemble import Settings as EnsembleSettings
from tom.settings.dynamics.mdn import Settings as MdnSettings
from tom.settings.losses.nll import Settings as NllSettings

CPU = torch.device("cpu")


def bowl(parameters: list[nn.Parameter]) -> Tensor:
    """A smooth loss without symmetries, of each replica apart."""
    return sum(((p * torch.arange(1.0, 1.0 + p.shape[-1])).sin() + p.square()).flatten(1).sum(1) for p in parameters)  # type: ignore[return-value]


def fresh(replicas: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(2, width, generator=generator)[:replicas].clone()) for width in (33, 7)]


def run(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], steps: int) -> None:
    for _ in range(steps):
        descend(optimizer, bowl(parameters), parameters)


def test_one_replica_moves_as_with_torch_s_adam_to_the_bit() -> None:
    ours, theirs = fresh(1), fresh(1)
    run(ReplicaAdam(ours, 1, 1e-2), ours, 50)
    run(torch.optim.Adam(theirs, lr=1e-2, fused=True), theirs, 50)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_replica_that_rested_goes_on_as_if_no_time_had_passed() -> None:
    together, alone = fresh(2), fresh(1)
    both, single = ReplicaAdam(together, 2, 1e-2), ReplicaAdam(alone, 1, 1e-2)
    run(both, together, 10)
    both.awake = [1]
    before = [p[0].clone() for p in together]
    run(both, together, 25)
    assert all(torch.equal(p[0], old) for p, old in zip(together, before, strict=True))
    assert both.state[together[0]]["step"].tolist() == [10.0, 35.0]
    both.awake = range(2)
    run(both, together, 10)
    run(single, alone, 20)
    assert all(torch.equal(p[0], q[0]) for p, q in zip(together, alone, strict=True))
    assert both.state[together[1]]["step"].tolist() == [20.0, 45.0]


def test_its_state_can_be_kept() -> None:
    original, restored = fresh(2), fresh(2)
    first, second = ReplicaAdam(original, 2, 1e-2), ReplicaAdam(restored, 2, 1e-2)
    first.awake = [0]
    run(first, original, 5)
    first.awake = range(2)
    run(first, original, 5)
    with torch.no_grad():
        for target, source in zip(restored, original, strict=True):
            target.copy_(source)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    run(first, original, 5)
    run(second, restored, 5)
    assert all(torch.equal(a, b) for a, b in zip(original, restored, strict=True))


MODELS = [
    MdnSettings(hidden=16, layers=2, components=2, batch=32, batches_per_epoch=20, patience=1, learning_rate=1e-2),
    EnsembleSettings(
        members=3, elites=2, hidden=16, layers=2, batch=64, max_epochs=20, patience=0, holdout_by="loss", averages=False
    ),
]


def rows_of(seeds: tuple[int, ...]) -> Transitions:
    """Rewards and steps with a bend, other ones for each seed: one observation, one action."""
    x = torch.stack([torch.randn(1_000, 2, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    bend = (3.0 * x).sin()
    return Transitions(torch.cat([x, x[..., :1] + 0.1 * bend[..., :1], bend[..., 1:], 0.0 * x], -1), 1, 1)


def three_rounds(settings: Any, seeds: tuple[int, ...]) -> tuple[list[dict[str, Tensor]], Dynamics]:
    draws = streams(seeds, CPU)
    model: Dynamics = build("dynamics", replace(settings), Context(len(seeds), 1, 1, 0.99, CPU, draws["init"]))
    loss, rows = build("loss", NllSettings(), None), rows_of(seeds)
    weights = torch.ones(rows.data.shape[:2])
    return [fit(model, rows, weights, rows.data[..., :0], loss, draws["model"]) for _ in range(3)], model


@pytest.mark.parametrize("settings", MODELS, ids=lambda settings: settings.name)
def test_replicas_that_are_fitted_together_end_as_they_would_alone(settings: Any) -> None:
    """Three rounds in which they stop at different epochs: parameters, numbers and optimiser agree to the bit."""
    numbers, together = three_rounds(settings, (0, 1))
    assert any(each["epochs"][0] != each["epochs"][1] for each in numbers[:2])
    for replica in (0, 1):
        own, alone = three_rounds(settings, (replica,))
        for both, single in zip(numbers, own, strict=True):
            assert {name: float(value[replica]) for name, value in both.items()} == {
                n: float(v) for n, v in single.items()
            }
        for p, q in zip(together.parameters(), alone.parameters(), strict=True):
            assert torch.equal(p.chunk(2)[replica], q)
            states = together.optimizer.state[p], alone.optimizer.state[q]
            assert all(torch.equal(states[0][name].chunk(2)[replica], states[1][name]) for name in states[1])
