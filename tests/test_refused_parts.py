"""A part that does not keep its contract is refused by the round that uses it, by name."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import tom.envs.hopper
from pipeline.train import main
from tests.test_train import settings_of
from tom.core.finite import Diverged
from tom.losses.base import Loss
from tom.settings.fields import SettingsError
from tom.train import Trainer
from tom.weightings.base import uniform_weights
from tom.weightings.uniform import Uniform

CPU = torch.device("cpu")


@pytest.fixture
def trainer() -> Trainer:
    """Two replicas with forty rows each, before their first round."""
    made = Trainer(settings_of({"name": "uniform"}), (0, 1), CPU)
    for _ in range(40):
        made.step(explore=True)
    return made


def ones(trainer: Trainer) -> Tensor:
    return torch.ones(2, len(trainer.replay))


WEIGHTS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "no tensor": (lambda w: w.numpy(), r"weights: a ndarray and no tensor; nearest valid choice: \[2, 40\]"),
    "rows alone": (lambda w: w[0], r"weights: the shape is \[40\]; nearest valid choice: \[2, 40\]"),
    "one of all": (lambda w: w[:, :1], r"weights: the shape is \[2, 1\]; nearest valid choice: \[2, 40\]"),
    "another type": (lambda w: w.double(), r"weights: the type is torch.float64; .* torch.float32"),
    "mean 5": (lambda w: 5.0 * w, "weights have mean 5; nearest valid value: 1"),
    "mean of the second": (lambda w: w * torch.tensor([[1.0], [0.9]]), "weights have mean 0.9; nearest valid value: 1"),
    "negative": (lambda w: w + torch.linspace(-2.0, 2.0, 40), "weights are as low as -1; nearest valid value: 0"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_are_refused_by_the_round_and_the_weighting_is_named(trainer: Trainer, case: str) -> None:
    change, said = WEIGHTS[case]
    trainer.weighting.weights = lambda view: change(ones(trainer))
    with pytest.raises(SettingsError, match=rf"^weighting=uniform: {said}$"):
        trainer.round()


def test_a_run_ends_in_its_first_round_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Uniform, "weights", lambda self, view: 5.0 * uniform_weights(view.replay))
    with pytest.raises(SystemExit, match="1"):
        main(["method=mbpo", "env=hopper", "scale=smoke", "device=cpu", "tracking=off", f"run_dir={tmp_path}/run"])
    assert capsys.readouterr() == ("", "weighting=uniform: weights have mean 5; nearest valid value: 1\n")
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "run.partial/train.csv").read_text() == "env_steps\n"


STARTS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "rows alone": (lambda w: w[0], r"rollout_weights: the shape is \[40\]; nearest valid choice: \[2, 40\]"),
    "negative": (lambda w: w - 3.0, "rollout_weights are as low as -2; nearest valid value: 0"),
    "nothing": (lambda w: 0.0 * w, "rollout_weights are all 0; nearest valid choice: None, .*"),
}


@pytest.mark.parametrize("case", STARTS)
def test_rollout_weights_too_but_for_their_mean(trainer: Trainer, case: str) -> None:
    change, said = STARTS[case]
    trainer.weighting.rollout_weights = lambda view: 7.0 * ones(trainer)
    trainer.round()
    trainer.weighting.rollout_weights = lambda view: change(ones(trainer))
    with pytest.raises(SettingsError, match=rf"^weighting=uniform: {said}$"):
        trainer.round()


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("what", ["weights", "rollout_weights"])
def test_weights_that_are_not_finite_end_their_replica_by_name(trainer: Trainer, what: str, value: float) -> None:
    weights = ones(trainer)
    weights[1, 3] = value
    setattr(trainer.weighting, what, lambda view: weights)
    with pytest.raises(Diverged, match=rf"^diverged: (.*, )?{what} of weighting=uniform(, .*)? not finite") as caught:
        trainer.round()
    assert caught.value.replicas == [1]


def test_what_a_weighting_reports_is_a_number_per_replica(trainer: Trainer) -> None:
    trainer.weighting.prepare = lambda view: {"gap": torch.tensor(0.5)}
    with pytest.raises(
        SettingsError, match=r"^weighting=uniform: gap: the shape is \[\]; nearest valid choice: \[2\]$"
    ):
        trainer.round()


LOSSES: dict[str, tuple[Callable[..., Any], str]] = {
    "a mean": (lambda model, inputs, targets, columns: (model.mean(inputs) - targets).square().mean(), r"\[\]"),
    "by output": (lambda model, inputs, targets, columns: -model.log_density(inputs, targets), r"\[2, 3, 12\]"),
    "kept axis": (lambda model, inputs, targets, columns: -model.log_density(inputs, targets)[..., :1], r"\[2, 3, 1\]"),
}


@pytest.mark.parametrize("case", LOSSES)
def test_a_loss_is_a_number_per_sample(trainer: Trainer, case: str) -> None:
    """The last one would broadcast to every pair of samples, and train."""
    loss, found = LOSSES[case]
    columns = trainer.loss.columns
    trainer.loss = type("Theirs", (Loss,), {"columns": staticmethod(columns), "__call__": staticmethod(loss)})()
    with pytest.raises(SettingsError, match=rf"^loss=nll: the loss per sample: the shape is {found}; .* \[2, 3\]$"):
        trainer.round()


def test_a_loss_s_columns_belong_to_the_rows(trainer: Trainer) -> None:
    trainer.loss.columns = lambda view: torch.ones(2, 40)
    with pytest.raises(SettingsError, match=r"^loss=nll: columns: the shape is \[2, 40\]; .* \[2, 40, 1\]$"):
        trainer.round()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (lambda next_obs: next_obs[..., 0] > 0.7, None),
        (lambda next_obs: (next_obs > 0.7).any(), r"the shape is \[\]; nearest valid choice: \[2, 3\]"),
        (lambda next_obs: next_obs > 0.7, r"the shape is \[2, 3, 11\]; nearest valid choice: \[2, 3\]"),
        (lambda next_obs: next_obs[..., 0], r"the type is torch.float32; nearest valid choice: torch.bool"),
        (lambda next_obs: False, r"a bool and no tensor; nearest valid choice: \[2, 3\]"),
    ],
)
def test_a_termination_rule_is_tried_before_any_step(
    rule: Callable[[Tensor], Any], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tom.envs.hopper, "SPEC", dataclasses.replace(tom.envs.hopper.SPEC, terminated=rule))
    if said is None:
        Trainer(settings_of({"name": "uniform"}), (0, 1), CPU)
        return
    with pytest.raises(SettingsError, match=rf"^env=hopper: terminated\(next_obs\): {said}$"):
        Trainer(settings_of({"name": "uniform"}), (0, 1), CPU)


def test_a_reward_is_one_number(trainer: Trainer) -> None:
    world: Any = trainer.episodes.envs.envs[0]
    step = world.step
    world.step = lambda action: (step(action)[0], np.array([1.0]), *step(action)[2:])
    trainer.episodes.envs.envs[1] = world
    with pytest.raises(SettingsError, match=r"^Hopper-v4: reward=\[1\.\], terminated=False, .*: one number each$"):
        trainer.step(explore=True)


@pytest.mark.parametrize(("part", "named"), [(0, "next observations"), (1, "rewards of env=hopper")])
def test_what_an_environment_gives_is_finite_or_ends_its_replica(trainer: Trainer, part: int, named: str) -> None:
    """In the middle of an episode too, of which the present observation knows nothing any more."""
    world: Any = trainer.episodes.envs.envs[1]
    step = world.step

    def broken(action: Any) -> tuple[Any, ...]:
        found = list(step(action))
        found[part] = found[part] * math.nan
        return tuple(found)

    world.step = broken
    trainer.step(explore=True)
    world.step = step
    trainer.episodes._reset(1)
    trainer.step(explore=True)
    with pytest.raises(Diverged, match=named) as caught:
        trainer.round()
    assert caught.value.replicas == [1]
