"""Model advantage: what the gap in value bounds, which model each form of it likes best, and its gradients."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tabular import Array, golden_mdp, occupancy
from tests.test_contract import ACT, OBS, context, situation, small
from tom.core.context import View, build
from tom.dynamics.base import Dynamics
from tom.losses.model_advantage import ModelAdvantage
from tom.settings.agent import agent_settings
from tom.settings.fields import SettingsError
from tom.settings.losses.model_advantage import Settings
from tom.train import Trainer

CPU = torch.device("cpu")
PURE = {"value_weight": 1.0, "anchor": 0.0, "anchor_env_steps": 0}
WORLD = golden_mdp()
NU, NU2 = WORLD.nu / WORLD.nu.sum(), golden_mdp(concentrated=True).nu
STATES = np.arange(4)
s, a, x = np.indices((4, 2, 4))
COUNTS = {"world": 1 + (3 * s + 5 * a + 7 * x) % 11, "other": 1 + (s + 4 * a + 6 * x) % 7}
OTHER = COUNTS["other"] / COUNTS["other"].sum(-1, keepdims=True)
MODEL = (WORLD.T + OTHER) / 2.0
# The model's next states as often as it is to draw them, in whole numbers.
COUNTS["model"] = COUNTS["world"] * COUNTS["other"].sum(-1, keepdims=True)
COUNTS["model"] = COUNTS["model"] + COUNTS["other"] * COUNTS["world"].sum(-1, keepdims=True)


class Given(Dynamics):
    """Normals of given moments [*lead, B, 1 + O], normalised units, whatever the inputs are."""

    def __init__(self, mean: Tensor, std: Tensor, action_dim: int = 1):
        super().__init__(len(mean), mean.shape[-1] - 1, action_dim, CPU, members=tuple(mean.shape[1:-2]))
        self.double()
        self.given = mean, std

    def moments(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return self.given


class ValueOfState:
    """A policy that stands still, and a critic whose value is linear in the state alone."""

    def __init__(self, *slopes: float):
        self.slopes = torch.tensor(slopes, dtype=torch.float64)

    def sample(self, obs: Tensor, noise: Tensor) -> Tensor:
        return torch.zeros_like(noise)

    def __call__(self, obs_action: Tensor) -> Tensor:
        value = (obs_action[..., : len(self.slopes)] * self.slopes).sum(-1)
        return torch.stack([value, torch.full_like(value, torch.nan)], 1)  # the second head has no part in it


def loss_of(value: ValueOfState | None = None, **changes: Any) -> ModelAdvantage:
    loss: ModelAdvantage = build("loss", Settings(**changes), context())
    if value:
        loss.critic = loss.policy = value  # type: ignore[assignment]
    return loss


def columns_of(value: Tensor, noise: Tensor, follows: float = 1.0) -> Tensor:
    """Columns of rows with these values [*lead, B] and this noise of the draws, one action dimension, no anchor."""
    known = torch.stack([torch.zeros_like(value), torch.full_like(value, follows), value], -1)
    return torch.cat([known, torch.zeros_like(known[..., :1]), noise], -1)


def values(T: Array) -> Array:
    """V of the policy in a world with these dynamics, reward s / 3."""
    step = np.einsum("sa,sax->sx", WORLD.pi, T)
    solved: Array = np.linalg.solve(np.eye(4) - WORLD.gamma * step, STATES / 3.0)
    return solved


def visits(T: Array) -> Array:
    """d^pi(s, a)."""
    reached = occupancy(T, WORLD.pi, WORLD.mu0, WORLD.gamma, "none", np.zeros(4, dtype=bool)).sum(-1)
    return reached


def mean_loss(data: Array, counts: Array, value: Array, **changes: Any) -> float:
    """The expected loss over (s, a) ~ data and the world's next states, of a model that draws by these counts."""
    total = 0.0
    for state, action in np.ndindex(4, 2):
        drawn = torch.tensor(np.repeat(value, counts[state, action]), dtype=torch.float64)
        loss = loss_of(ValueOfState(1.0), **PURE, samples=len(drawn), **changes)
        noise = torch.stack([torch.zeros_like(drawn), drawn], -1).flatten().expand(1, 4, -1)
        zeros = torch.zeros(1, 4, 2, dtype=torch.float64)
        columns = columns_of(torch.as_tensor(value)[None], noise)
        sizes = loss(Given(zeros, torch.ones_like(zeros)), zeros, zeros, columns)[0].numpy()
        total += data[state, action] * float(WORLD.T[state, action] @ sizes)
    return total


def expected(data: Array, T: Array, value: Array) -> float:
    """The gap in expected values under the data, absolute."""
    return float((data * np.abs((WORLD.T - T) @ value)).sum())


# The tabular world


def test_the_two_identities_and_what_a_stale_value_makes_of_one() -> None:
    returns = [float(WORLD.mu0 @ values(T)) for T in (WORLD.T, MODEL)]
    assert returns == pytest.approx([4.948410, 5.040356], abs=1e-6)
    horizon = WORLD.gamma / (1.0 - WORLD.gamma)

    def gap(data: Array, value: Array) -> float:
        return horizon * float((data * ((WORLD.T - MODEL) @ value)).sum())

    assert returns[0] - returns[1] == pytest.approx(-0.091946, abs=1e-6)
    assert gap(visits(WORLD.T), values(MODEL)) == pytest.approx(returns[0] - returns[1], abs=1e-12)
    assert gap(visits(MODEL), values(WORLD.T)) == pytest.approx(returns[0] - returns[1], abs=1e-12)
    assert gap(visits(WORLD.T), values(OTHER)) == pytest.approx(-0.084831, abs=1e-6)


def test_the_loss_bounds_the_gap_in_returns_where_the_data_are_the_policy_s() -> None:
    horizon, value = WORLD.gamma / (1.0 - WORLD.gamma), values(MODEL)
    bounds = []
    for data in (visits(WORLD.T), NU, NU2 / NU2.sum()):
        bounds += [horizon * expected(data, MODEL, value), horizon * mean_loss(data, COUNTS["model"], value)]
    assert bounds == pytest.approx([0.688725, 3.551178, 0.773602, 3.509271, 0.402941, 3.513367], abs=1e-6)
    assert abs(float(WORLD.mu0 @ (values(WORLD.T) - value))) <= bounds[0] <= bounds[1]


def test_only_with_the_weights_of_tom_is_the_mean_over_a_buffer_a_bound() -> None:
    """A model that is wrong where the buffer hardly looks."""
    horizon, wrong, data = WORLD.gamma / (1.0 - WORLD.gamma), WORLD.T.copy(), NU2 / NU2.sum()
    worst = np.eye(4)[np.argmin(values(WORLD.T))]
    wrong[0, 1] = wrong[1, 0] = worst
    lost = float(WORLD.mu0 @ (values(WORLD.T) - values(wrong)))
    assert lost == pytest.approx(2.716846, abs=1e-6)
    assert horizon * expected(data, wrong, values(wrong)) == pytest.approx(0.165993, abs=1e-6)
    weights = visits(WORLD.T) / data
    assert horizon * expected(weights * data, wrong, values(wrong)) == pytest.approx(2.716846, abs=1e-6)


def test_draws_outside_favour_a_model_without_noise_and_inside_the_truth() -> None:
    value = values(MODEL)
    median = np.zeros((4, 2, 4), dtype=np.int64)
    nearest = (WORLD.T @ np.abs(value[:, None] - value)).argmin(-1)
    np.put_along_axis(median, nearest[..., None], 1, -1)
    models = {"truth": COUNTS["world"], "median": median, "model": COUNTS["model"]}
    l1 = [mean_loss(NU, counts, value) for counts in models.values()]
    assert l1 == pytest.approx([0.365635, 0.276450, 0.389919], abs=1e-6)
    l2 = [mean_loss(NU, models[name], value, norm="l2") for name in ("truth", "median")]
    assert l2 == pytest.approx([0.234219, 0.131227], abs=1e-6)
    together = {name: 2 * counts if name == "median" else counts for name, counts in models.items()}
    calibrated = [mean_loss(NU, counts, value, norm="l2", expectation="mean") for counts in together.values()]
    assert calibrated == pytest.approx([0.117109, 0.131227, 0.125662], abs=1e-6)


def test_a_squared_gap_is_two_variances_and_the_square_of_the_expected_one() -> None:
    value = values(MODEL)
    variances = [float((NU * (T @ value**2 - (T @ value) ** 2)).sum()) for T in (WORLD.T, MODEL)]
    square = float((NU * ((WORLD.T - MODEL) @ value) ** 2).sum())
    assert mean_loss(NU, COUNTS["model"], value, norm="l2") == pytest.approx(sum(variances) + square, abs=1e-12)


# One dimension: a critic of slope 2, s' = .3, a normal prediction


def folded(std: float) -> tuple[float, float, float]:
    """E|2 (.3 - y)|, y ~ N(0, std^2), and its derivatives by mean and log-variance, by the midpoint rule over noise."""
    step = 1e-3
    noise = (torch.arange(-8_000, 8_000, dtype=torch.float64) + 0.5) * step
    mass = step * torch.exp(-0.5 * noise.square()) / math.sqrt(2.0 * math.pi)
    moments = torch.zeros(2, dtype=torch.float64).requires_grad_()  # of the mean, and the logarithm of the variance
    zeros = torch.zeros(1, len(noise), 1, dtype=torch.float64)
    mean, spread = (torch.cat([zeros, moment + zeros], -1) for moment in (moments[0], std * (0.5 * moments[1]).exp()))
    draws = torch.stack([torch.zeros_like(noise), noise], -1)[None]
    columns = columns_of(torch.full((1, len(noise)), 2.0 * 0.3, dtype=torch.float64), draws)
    targets = torch.cat([zeros, zeros + 0.3], -1)
    sizes = loss_of(ValueOfState(2.0), **PURE)(Given(mean, spread), torch.cat([zeros, zeros], -1), targets, columns)
    value = (mass * sizes[0]).sum()
    (slope,) = torch.autograd.grad(value, moments)
    return value.item(), *slope.tolist()


def test_the_loss_of_a_normal_prediction_and_its_derivatives() -> None:
    assert folded(0.4) == pytest.approx((0.809867, -1.093491, 0.240910), abs=1e-6)


@pytest.mark.parametrize("std", [0.1, 0.4, 3.0])
def test_one_draw_makes_the_spread_smaller_at_every_scale(std: float) -> None:
    density = math.exp(-0.5 * (0.3 / std) ** 2) / math.sqrt(2.0 * math.pi)
    assert folded(std)[2] == pytest.approx(2.0 * std * density, rel=1e-4)


# Several dimensions


def row(prediction: Tensor, slopes: tuple[float, ...] = (1.0, -1.0), follows: float = 1.0, **changes: Any) -> Tensor:
    """The loss of one row whose target is 0 in every output, of a prediction without spread [1 + O]."""
    zeros = torch.zeros(1, 1, 3, dtype=torch.float64)
    model = Given(prediction.view(1, 1, 3), zeros)
    loss = loss_of(ValueOfState(*slopes), **{**PURE, "samples": 0, **changes})
    columns = columns_of(zeros[..., 0], zeros[..., :0], follows)
    return loss(model, torch.zeros(1, 1, 3, dtype=torch.float64), zeros, columns)[0, 0]


def test_the_gradient_has_the_critic_s_direction() -> None:
    prediction = torch.tensor([0.0, 0.5, 0.2], dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(row(prediction), prediction)
    assert slope.tolist() == [0.0, 1.0, -1.0]  # the gap V(s') - V(prediction) is negative
    differences = [
        (row(prediction.detach() + move) - row(prediction.detach() - move)).item() / 2e-6
        for move in 1e-6 * torch.eye(3, dtype=torch.float64)
    ]
    assert slope.tolist() == pytest.approx(differences, abs=1e-5)


def test_an_error_that_the_value_does_not_see_costs_nothing() -> None:
    for norm in ("l1", "l2"):
        assert row(torch.tensor([0.0, 5.0, 5.0]).double(), norm=norm).item() == 0.0
    assert row(torch.tensor([0.0, 5.0, 4.0]).double()).item() == 1.0


def test_nothing_follows_a_terminal_row_but_its_reward() -> None:
    assert row(torch.tensor([0.5, 5.0, 4.0]).double()).item() == 1.25
    assert row(torch.tensor([0.5, 5.0, 4.0]).double(), follows=0.0).item() == 0.25


# With the agent's own networks


@pytest.mark.parametrize("changes", [{}, {"norm": "l2"}, {"samples": 3}, {"samples": 3, "expectation": "mean"}])
def test_the_loss_by_hand(changes: dict[str, Any]) -> None:
    """Members of an ensemble, units of their own, one noise of the action for what happened and what is predicted."""
    view, settings = situation(), Settings(value_weight=0.3, anchor=2.0, **changes)
    model = build("dynamics", small("dynamics", "ensemble", normalise_targets=True), context())
    rows, loss = view.replay.all(), build("loss", settings, context())
    model.normalise(rows)
    columns = loss.columns(view)
    noise = columns[..., 3 : 3 + ACT]
    draws = columns[..., 3 + ACT :].split(1 + OBS, -1)
    assert len(draws) == settings.samples
    targets = torch.cat([rows.reward[..., None], rows.next_obs - rows.obs], -1)
    spread = [model.spread(part) for part in (model.inputs(rows.obs_action), model.targets(targets), columns)]
    found = loss(model, *spread)
    assert view.critic is not None

    def value(obs: Tensor) -> Tensor:
        assert view.critic is not None
        return view.critic(torch.cat([obs, view.policy.sample(obs, noise)], -1))[:, 0]

    for member in range(3):
        mean, std = (part[:, member] for part in model.moments(spread[0]))
        raw = [model.targets.inverse(mean + std * draw) for draw in draws]
        gaps = torch.stack([value(rows.next_obs) - value(rows.obs + each[..., 1:]) for each in raw])
        gaps, errors = gaps * (1.0 - rows.terminated), torch.stack([each[..., 0] for each in raw]) - rows.reward
        if settings.expectation == "mean":
            gaps, errors = gaps.mean(0)[None], errors.mean(0)[None]
        size = gaps.abs() if settings.norm == "l1" else gaps.square()
        likelihood = model.log_density(*spread[:2])[:, member].sum(-1)
        by_hand = (0.3 * size + errors.square()).mean(0) - 2.0 * likelihood
        torch.testing.assert_close(found[:, member], by_hand)


def test_no_gradient_goes_through_the_action_and_none_to_the_agent() -> None:
    view, loss = situation(), loss_of(**PURE)
    loss.columns(view)
    obs, noise = view.replay.all().next_obs.clone().requires_grad_(), torch.zeros(2, 400, ACT)
    held = view.policy.sample(obs, noise).detach()
    assert view.critic is not None
    expected = torch.autograd.grad(view.critic(torch.cat([obs, held], -1))[:, 0].sum(), obs)
    torch.testing.assert_close(torch.autograd.grad(loss.value(obs, noise).sum(), obs), expected)
    assert not loss.columns(view).requires_grad


def test_columns_are_those_of_each_chunk_s_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = loss_of().columns(situation())
    monkeypatch.setattr("tom.losses.model_advantage.ROWS_PER_CHUNK", 7)
    torch.testing.assert_close(loss_of().columns(situation()), whole)


def test_the_likelihood_is_added_in_the_first_rounds_or_always() -> None:
    for anchor, factors in ((0.0, [1.0, 1.0, 0.0]), (0.2, [1.0, 1.0, 0.2]), (3.0, [3.0, 3.0, 3.0])):
        loss, view = loss_of(anchor=anchor, anchor_env_steps=50), situation()
        for steps, factor in zip((0, 49, 50), factors, strict=True):
            columns = loss.columns(replace(view, env_step=view.warmup_env_steps + steps))
            assert torch.equal(columns[..., 0], torch.full((2, 400), factor))


REFUSED: list[tuple[dict[str, Any], dict[str, str], str]] = [
    ({"value_weight": 0.0, "anchor": 0.0}, {}, "value_weight=0 with anchor=0 fits the reward alone; .*=0.01$"),
    ({"expectation": "mean"}, {}, "expectation=mean of samples=1 .*; nearest valid value: samples=4"),
    ({"expectation": "mean", "samples": 0}, {}, "expectation=mean of samples=0 .*; nearest valid value: samples=4"),
    ({"anchor": 0.0, "samples": 0}, {}, "anchor=0 with samples=0 leaves the variance of mdn as it .*=true$"),
    ({}, {"dynamics": "linear"}, "linear cannot be fitted to loss=model_advantage; nearest valid choice: loss=nll"),
    ({}, {"backbone": "sac"}, "loss=model_advantage has no model to fit with backbone=sac; nearest .*: loss=nll"),
]


@pytest.mark.parametrize(("changes", "parts", "sentence"), REFUSED)
def test_what_has_no_meaning_is_refused(changes: dict[str, Any], parts: dict[str, str], sentence: str) -> None:
    named = {"weighting": "uniform", "dynamics": "mdn", "backbone": "mbpo"} | parts
    config = {"env": "hopper", "loss": {"name": "model_advantage", **changes}}
    with pytest.raises(SettingsError, match=sentence):
        agent_settings(config | {kind: {"name": name} for kind, name in named.items()})


def test_the_mean_prediction_is_fitted_to_a_model_that_samples_no_noise() -> None:
    loss = {"name": "model_advantage", "anchor": 0.0, "samples": 0}
    named = {"weighting": {"name": "uniform"}, "backbone": {"name": "mbpo"}}
    assert agent_settings(
        {"env": "hopper", "loss": loss, **named, "dynamics": {"name": "ensemble", "deterministic": True}}
    )


def test_a_round_fits_the_model_again_to_the_values_that_it_led_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The critics alone learn in between, whole bursts of them: the policy and its count of updates stay."""
    few = {
        "hidden": 8,
        "batch": 16,
        "updates_per_env_step": 0.5,
        "updates_per_burst": 5,
        "rollout_starts": 20,
        "real_fraction": 0.5,
    }
    config = {
        "env": "inverted_pendulum",
        "train": {"total_env_steps": 60, "warmup_env_steps": 40, "eval_episodes": 1},
        "weighting": {"name": "uniform"},
        "loss": {"name": "model_advantage", "refits": 2, "refit_updates": 8},
        "dynamics": {"name": "mdn", "hidden": 4, "layers": 1, "components": 1, "batches_per_epoch": 2, "batch": 16},
        "backbone": {"name": "mbpo", **few},
    }
    trainer, seen, columns = Trainer(agent_settings(config), [0, 1], CPU), [], ModelAdvantage.columns
    backbone = trainer.backbone

    def noted(self: ModelAdvantage, view: View) -> Tensor:
        assert view.critic is not None
        seen.append((len(backbone.model_buffer), view.critic.net.weights.detach().clone()))
        return columns(self, view)

    monkeypatch.setattr(ModelAdvantage, "columns", noted)
    for _ in range(40):
        trainer.step(explore=True)
    before, critics = (
        [part.detach().clone() for part in each.parameters()] for each in (backbone.policy, backbone.critic)
    )
    trainer.round()
    assert [rows for rows, _ in seen] == [0, 20, 40]
    assert torch.equal(seen[0][1], critics[0])
    assert all(not torch.equal(seen[i][1], seen[i + 1][1]) for i in (0, 1))
    assert all(torch.equal(old, new) for old, new in zip(before, backbone.policy.parameters(), strict=True))
    assert backbone.updates == 0
    steps = backbone.sac.critic_optimizer.state_dict()["state"][0]["step"]
    assert float(steps) == 2 * 10
