"""The errors every round logs, against the definition written out row by row."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.test_contract import ACT, OBS, context, small
from tom.core.context import build
from tom.core.replay import Replay
from tom.core.streams import streams
from tom.dynamics.base import Dynamics
from tom.dynamics.diagnostics import NEWEST, ROWS, errors_on, model_errors

CPU = torch.device("cpu")
COUNT = 20


def replay_of(capacity: int, pushed: int) -> Replay:
    """Random rows, a later one larger; the ring has wrapped where more were pushed than it holds."""
    replay, draws = Replay(2, capacity, OBS, ACT, CPU), streams([0, 1], CPU)["env"]
    for step, row in enumerate(draws.normal(pushed, 2 * OBS + ACT + 3).unbind(1)):
        replay.push(row * (1.0 + step / pushed), step, 0)
    return replay


def model_of(name: str, replay: Replay) -> Dynamics:
    """A model that has settled its units, of arbitrary parameters."""
    model = build("dynamics", small("dynamics", name), context())
    model.normalise(replay.all())
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


@torch.no_grad()
def by_hand(model: Dynamics, replay: Replay) -> tuple[Tensor, Tensor]:
    """The mean prediction's error [R, N, 1 + O] and -log p [R, N] of each stored row, in normalised units."""
    data = replay.data[:, : len(replay)]
    obs, next_obs, reward = data[..., :OBS], data[..., OBS + ACT : -3], data[..., -3:-2]
    inputs = (data[..., : OBS + ACT] - model.inputs.mean) / model.inputs.std
    targets = (torch.cat([reward, next_obs - obs], -1) - model.targets.mean) / model.targets.std
    if len(model.lead) == 1:
        return model.mean(inputs) - targets, -model.log_density(inputs, targets).sum(-1)
    inputs, targets = (part[:, None].expand(-1, model.lead[1], -1, -1) for part in (inputs, targets))
    return (model.mean(inputs) - targets).mean(1), -model.log_density(inputs, targets).sum(-1).mean(1)


def errors(model: Dynamics, replay: Replay, weights: Tensor) -> dict[str, Tensor]:
    return model_errors(model, replay, weights, streams([0, 1], CPU)["model"])


@pytest.mark.parametrize("name", ["linear", "mdn", "ensemble"])
def test_errors_of_one_row_are_those_of_the_definition(name: str) -> None:
    """All the weight on one row of twenty: 2,000 draws do not miss it."""
    replay = replay_of(COUNT, COUNT)
    model = model_of(name, replay)
    error, nll = by_hand(model, replay)
    for row in (0, 7, COUNT - 1):
        numbers = errors(model, replay, COUNT * torch.eye(COUNT)[row].expand(2, COUNT))
        torch.testing.assert_close(numbers["nll_weighted"], nll[:, row], atol=1e-4, rtol=1e-4)
        expected = error[:, row].square().mean(-1).sqrt()
        torch.testing.assert_close(numbers["rmse_weighted"], expected, atol=1e-4, rtol=1e-4)
        assert all(value.shape == (2,) and not value.requires_grad for value in numbers.values())


@pytest.mark.parametrize("name", ["linear", "mdn", "ensemble"])
def test_unweighted_errors_are_means_over_the_stored_rows(name: str) -> None:
    """Within five standard deviations of a mean over as many draws."""
    replay = replay_of(COUNT, COUNT)
    model = model_of(name, replay)
    error, nll = by_hand(model, replay)
    numbers, squared = errors(model, replay, torch.rand(2, COUNT)), error.square().mean(-1)
    for found, values in ((numbers["nll"], nll), (numbers["rmse"].square(), squared)):
        assert ((found - values.mean(-1)).abs() < 5.0 * values.std(-1) / math.sqrt(ROWS)).all()


def test_errors_in_closed_form() -> None:
    """A standard normal that ignores its inputs, and rows two standard deviations from its mean."""
    replay = replay_of(COUNT, COUNT)
    model = build("dynamics", small("dynamics", "linear"), context())
    model.normalise(replay.all())
    raw = model.targets.mean + 2.0 * model.targets.std
    replay.data[..., :OBS], replay.data[..., OBS + ACT : -3], replay.data[..., -3] = 0.0, raw[..., 1:], raw[..., 0]
    numbers = errors(model, replay, torch.ones(2, COUNT))
    known = {
        "rmse": 2.0,
        "bias_newest": 2.0,
        "rmse_newest": 2.0,
        "nll": (1 + OBS) * (2.0 + 0.5 * math.log(2.0 * math.pi)),
    }
    for key, value in known.items():
        torch.testing.assert_close(numbers[key], torch.full((2,), value), atol=1e-4, rtol=0.0)


@pytest.mark.parametrize("name", ["linear", "ensemble"])
def test_weights_of_one_change_nothing(name: str) -> None:
    replay = replay_of(COUNT, COUNT)
    numbers = errors(model_of(name, replay), replay, torch.ones(2, COUNT))
    assert torch.equal(numbers["nll"], numbers["nll_weighted"])
    assert torch.equal(numbers["rmse"], numbers["rmse_weighted"])
    weights = torch.linspace(0.0, 2.0, COUNT).expand(2, COUNT)
    tilted: Any = errors(model_of(name, replay), replay, weights)
    assert torch.equal(tilted["nll"], numbers["nll"])
    assert not torch.isclose(tilted["nll_weighted"], numbers["nll"]).any()


@pytest.mark.parametrize("name", ["linear", "ensemble"])
def test_the_bias_is_that_of_the_newest_rows_wherever_they_lie(name: str) -> None:
    """1,500 rows in a ring of 1,200: slots 300 to 499 hold the 200 oldest."""
    replay = replay_of(1_200, 1_500)
    model = model_of(name, replay)
    error, _ = by_hand(model, replay)
    newest = torch.cat([error[:, :300], error[:, 500:]], 1)
    assert newest.shape[1] == NEWEST
    expected = newest.mean(1).square().mean(-1).sqrt()
    numbers = errors(model, replay, torch.ones(2, 1_200))
    torch.testing.assert_close(numbers["bias_newest"], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(numbers["rmse_newest"], newest.square().mean((1, 2)).sqrt(), atol=1e-5, rtol=1e-4)
    assert list(numbers)[-1] == "rmse_newest"  # a column that is new comes last
    assert not torch.isclose(expected, error.mean(1).square().mean(-1).sqrt(), rtol=1e-3).any()


@pytest.mark.parametrize("name", ["linear", "mdn", "ensemble"])
def test_errors_on_any_rows_are_those_of_the_definition(name: str) -> None:
    replay = replay_of(COUNT, COUNT)
    model = model_of(name, replay)
    error, nll = by_hand(model, replay)
    bias, rmse = error.mean(1).square().mean(-1).sqrt(), error.square().mean((1, 2)).sqrt()
    for key, expected in {"bias": bias, "rmse": rmse, "nll": nll.mean(-1)}.items():
        torch.testing.assert_close(errors_on(model, replay.all())[key], expected, atol=1e-4, rtol=1e-4)


def test_the_stream_moves_alike_whatever_the_buffer() -> None:
    after = []
    for count in (COUNT, 2 * COUNT):
        replay, draws = replay_of(count, count), streams([0, 1], CPU)["model"]
        model_errors(model_of("linear", replay), replay, torch.ones(2, count), draws)
        after.append(draws.uniform(3))
    assert torch.equal(*after)
