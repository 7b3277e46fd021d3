"""The switches that bring the released code of TOM back: each does what it says, alone, and one preset has them all."""

import copy
import dataclasses
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config.compose import compose_cell
from tests.tabular import dual_weights, golden_mdp, minimise
from tests.test_contract import ACT, OBS, ROWS, WARMUP, context, situation, small
from tests.test_discriminator import gaussian_task
from tests.test_dual import buffer_of, flow_of
from tom.core.context import Context, build
from tom.core.networks import descend
from tom.core.replay import Replay, Transitions
from tom.core.streams import Stream, streams
from tom.occupancy.discriminator import Discriminator, cross_entropy
from tom.occupancy.dual import best_constant, dual_loss
from tom.occupancy.network_q import NetworkQ
from tom.occupancy.projection import project
from tom.occupancy.released import bootstrap, multiplicity, recency_log_ratio
from tom.settings.agent import agent_settings
from tom.settings.weightings.tom import Settings
from tom.train import Trainer
from tom.weightings.base import clip, normalised

CPU = torch.device("cpu")
TINY = Settings(
    discriminator_hidden=8, discriminator_updates=5, discriminator_batch=16, q_hidden=8, q_updates=5, q_batch=16
)
SWITCHES: dict[str, Any] = {
    "q": "network",
    "action_samples": 1,
    "divergence": "chi2_free",
    "termination": "mask",
    "exact_constant": False,
    "project": True,
    "log_ratio": "recency",
    "discriminator_trains": "trunk",
    "discriminator_initialisation": "torch",
    "discriminator_normalises": False,
    "negative_label": 0.1,
    "gradient_penalty": 10.0,
    "penalty_slope": 1.0,
    "q_normalises": False,
    "q_decays_biases": True,
    "buffer_view": "bootstrap",
    "clip_raw": True,
    "rollout_starts": "always_weighted",
}
# What the released code does otherwise than the corrected preset, part by part.
OFFICIAL: dict[str, dict[str, Any]] = {
    "train": {"time_limits": "terminal", "warmup_actions": "policy"},
    "weighting": {name: value for name, value in SWITCHES.items() if name not in {"project", "log_ratio"}}
    | {"discriminator_holdout": 0.0},
    "loss": {},
    "dynamics": {
        "initialisation": "torch",
        "fit_rows": "bootstrap",
        "weights_by": "resample",
        "restore_best": False,
        "averages": False,
    },
    "backbone": {"critic_loss_cap": 1000.0},
}
# And what the released code does otherwise than `mbpo` in each of its baselines, beside the loop and the critics.
BASELINES: dict[str, dict[str, dict[str, Any]]] = {
    "mbpo": {},
    "pmac": {
        "weighting": {"decay_every": "burst", "rollout_starts": "weighted"},
        "dynamics": {"weights_by": "resample"},
    },
    "vagram_mdn": {
        "loss": {
            "gradient": "signed",
            "alignment": "shifted",
            "units": "normalised",
            "heads": "accumulated",
            "clip_quantile": 1.0,
            "mean_over_dimensions": True,
        },
        "dynamics": {"epoch_passes": True},
        "backbone": {
            "model_batch_probability_first": 0.0,
            "model_batch_probability_last": 0.95,
            "model_batch_probability_step_env_steps": 1_000,
            "batch_without_model": "share",
        },
    },
}


def stream(*seeds: int) -> Stream:
    return streams(seeds, CPU)["weighting"]


def tom(**changes: Any) -> Any:
    """With Q as a network, which some of the switches are about."""
    return build("weighting", small("weighting", "tom", **{"q": "network", **changes}), context())


# The whole


@pytest.mark.parametrize("env", ["hopper", "ant", "humanoid"])
def test_the_preset_sets_every_switch_and_nothing_else(env: str) -> None:
    official, corrected = (compose_cell(method, env, "paper") for method in ("tom_official", "tom"))
    for kind, switches in OFFICIAL.items():
        expected = {name: value for name, value in switches.items() if name != "time_limits" or env == "hopper"}
        differing = {name: value for name, value in official[kind].items() if value != corrected[kind][name]}
        assert differing == expected, kind
    assert official["weighting"]["pool_env_steps"] == 1_000
    assert official["weighting"]["clip"] == 10.0
    assert official["backbone"]["updates_per_env_step"] == 5.0


def test_without_its_discriminator_the_preset_differs_in_its_log_ratio() -> None:
    official, recency = (compose_cell(name, "hopper", "paper") for name in ("tom_official", "tom_recency"))
    differing = {name for name, value in recency["weighting"].items() if value != official["weighting"][name]}
    assert differing == {"log_ratio"}
    assert recency["weighting"]["log_ratio"] == "recency"
    assert all(recency[kind] == official[kind] for kind in ("train", "loss", "dynamics", "backbone"))


@pytest.mark.parametrize("env", ["halfcheetah", "ant"])
@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_has_the_protocol_of_the_released_code(name: str, env: str) -> None:
    """One loop, one initialisation, one bootstrap and one critic for all, a fifth held out; then what is its own."""
    official, corrected = (compose_cell(method, env, "paper") for method in (f"{name}_official", name))
    assert official["train"] == compose_cell("tom_official", env, "paper")["train"]
    shared = OFFICIAL | {"train": {}, "weighting": {}}
    shared["dynamics"] = {**OFFICIAL["dynamics"], "holdout_fraction": 0.2}
    del shared["dynamics"]["weights_by"]
    for kind in ("weighting", "loss", "dynamics", "backbone"):
        expected = shared[kind] | BASELINES[name].get(kind, {})
        assert {key: value for key, value in official[kind].items() if value != corrected[kind][key]} == expected


def test_every_choice_and_yes_or_no_of_tom_is_tested_here() -> None:
    fields = [field for field in dataclasses.fields(Settings) if "low" not in field.metadata and field.name != "name"]
    assert {field.name for field in fields} <= SWITCHES.keys()


@pytest.mark.parametrize("q", ["quadratic", "network"])
@pytest.mark.parametrize("name", sorted(SWITCHES.keys() - {"q"}))
def test_each_switch_alone_gives_weights(name: str, q: str) -> None:
    assert getattr(Settings(), name) != SWITCHES[name]
    view, weighting = situation(), tom(q=q, **{name: SWITCHES[name]})
    for step in (ROWS, ROWS + 50):  # the second round starts where the first one left Q
        weighting.prepare(replace(view, env_step=step))
        weights = weighting.weights(view)
        assert weights.shape == (2, ROWS)
        assert weights.isfinite().all()
        assert (weights >= 0.0).all()
        torch.testing.assert_close(weights.mean(-1), torch.ones(2), atol=1e-4, rtol=0.0)
        assert (weights.std(-1) > 0.0).all()  # not the fallback


# The dual


def test_the_released_conjugate_breaks_flow_and_mass_by_known_amounts() -> None:
    mdp = golden_mdp(concentrated=True)
    weights, table = dual_weights(*mdp, "chi2_free", "none")
    mass = buffer_of(mdp) * weights
    flow = (1.0 - mdp.gamma) * mdp.mu0[:, None] * mdp.pi + mdp.gamma * mdp.pi * mass.sum((0, 1))[:, None]
    assert mass.sum() == pytest.approx(1.108, abs=5e-4)
    assert np.abs(mass.sum(-1) - flow).max() == pytest.approx(5.3e-2, abs=5e-4)
    log_ratio = np.log(flow_of(mdp) / buffer_of(mdp))
    free = 1.0 + log_ratio + mdp.gamma * (mdp.pi * table).sum(1) - table[..., None]
    assert free.min() == pytest.approx(-0.672, abs=5e-4)
    assert (free < 0.0).mean() == pytest.approx(0.12, abs=6e-3)  # 4 of 32
    assert (buffer_of(mdp) * free).sum() == pytest.approx(1.0, abs=1e-9)  # uncut, the mass is there
    np.testing.assert_allclose(weights, np.maximum(free, 0.0), atol=1e-9)


def test_the_mask_stops_the_flow_at_terminal_transitions() -> None:
    """Where Q is 7 everywhere, e = r + 0.9 (1 - terminated) 7 - 7."""
    rows = Transitions(torch.zeros(2, 2, 2 * OBS + ACT + 3), OBS, ACT)
    rows.data[:, 1, -2] = 1.0  # terminated
    expected = {"none": [-0.7, -0.7], "mask": [-0.7, -7.0], "restart": [-0.7, -0.7]}
    seven, log_ratio = torch.full((2, 2), 7.0), torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    for termination, values in expected.items():
        q = NetworkQ(replace(TINY, termination=termination), Context(2, OBS, ACT, 0.9, CPU, stream(0, 1)))
        error = q.error(rows, log_ratio, seven, seven, seven[:, :1])
        torch.testing.assert_close(error, torch.tensor([values, [1.0 + value for value in values]]))


def test_one_action_within_the_conjugate_penalises_q_s_variance_over_actions() -> None:
    """E f*(mean of K) - f*(E) = g^2 / 2 Var Q(s', .) / K for the quadratic: 1 - 1/16 of it between K = 1 and 16."""
    draws, count = stream(0, 1), 20_000
    values = 3.0 * draws.normal(16, count)  # Q(s', a') of a policy over whose actions Q has a variance of 9
    rows = Transitions(torch.zeros(2, count, 2 * OBS + ACT + 3), OBS, ACT)
    q = NetworkQ(replace(TINY, divergence="chi2_free", termination="none"), Context(2, OBS, ACT, 0.9, CPU, draws))
    zero, probability, losses = torch.zeros(2, count), torch.full((2, count), 1.0 / count), []
    for samples in (1, 16):
        error = q.error(rows, zero, zero, values[:, :samples].flatten(1), zero[:, :1])
        losses.append(dual_loss(error, zero[:, :1], probability, 0.9, "chi2_free"))
    bias = 0.81 / 2.0 * 9.0
    spread = bias * math.sqrt(2.0 / count) + 0.9 * 3.0 / math.sqrt(count)  # of y^2 / 2 and of y
    assert (losses[0] - losses[1] - bias * (1.0 - 1.0 / 16.0)).abs().max() < 5.0 * spread


def test_without_the_exact_constant_the_mass_is_what_the_descent_left() -> None:
    solved, left = (tom(exact_constant=exact).prepare(situation()) for exact in (True, False))
    torch.testing.assert_close(solved["raw_mean"], torch.ones(2), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(left["raw_mean"], 1.0 + left["mass_residual"])
    assert (left["mass_residual"].abs() > 1e-2).all()


def test_the_best_constant_minimises_the_released_dual() -> None:
    error = torch.randn(1, 2_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2.0
    probability, direction = torch.full_like(error, 1.0 / 2_000), torch.ones_like(error)
    constant = best_constant(error, direction, "chi2_free")
    torch.testing.assert_close(constant, -(error * probability).sum(-1, keepdim=True), atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("decays", [False, True])
def test_weight_decay_touches_biases_if_asked(decays: bool) -> None:
    """Adam's first step on a gradient of decay alone is a whole learning rate towards zero."""
    settings = replace(TINY, q_decays_biases=decays, q_learning_rate=0.1, q_weight_decay=1e-2)
    q = NetworkQ(settings, Context(2, OBS, ACT, 0.9, CPU, stream(0, 1)))
    with torch.no_grad():
        q.net.biases.fill_(1.0)
    before = q.net.weights.detach().clone()
    descend(q.optimizer, torch.zeros(2, requires_grad=True) * 1.0, [q.net.weights, q.net.biases])
    torch.testing.assert_close(q.net.biases, torch.full_like(q.net.biases, 0.9 if decays else 1.0))
    large = before.abs() > 0.2
    assert (q.net.weights.abs() < before.abs())[large].all()


@pytest.mark.parametrize("normalises", [False, True])
def test_raw_inputs_leave_the_normalisers_at_identity(normalises: bool) -> None:
    view = situation()
    view.replay.data[..., :OBS] = 5.0 + 3.0 * view.replay.data[..., :OBS]
    weighting = tom(q_normalises=normalises)
    weighting.prepare(view)
    rows = view.replay.all()
    discriminator = Discriminator(replace(TINY, discriminator_normalises=normalises), 2, OBS, ACT, view.stream)
    discriminator.fit(rows.like(rows.data[:, -100:]), rows, view.stream)
    for normalise in (weighting.q.normalise, discriminator.normalise):
        mean, std = (5.0, 3.0) if normalises else (0.0, 1.0)
        tolerance = 1.0 if normalises else 0.0
        torch.testing.assert_close(normalise.mean[..., :OBS], torch.full((2, 1, OBS), mean), atol=tolerance, rtol=0.0)
        torch.testing.assert_close(normalise.std[..., :OBS], torch.full((2, 1, OBS), std), atol=tolerance, rtol=0.0)


# The discriminator


@pytest.mark.parametrize(("label", "ratio", "logit"), [
    (0.1, 0.0, -2.20), (0.1, 1.0, 0.20), (0.1, 10.0, 2.42), (0.0, 1.0, 0.0), (0.0, 10.0, 2.30),
])  # fmt: skip
def test_a_label_above_zero_bounds_the_logit_from_below(label: float, ratio: float, logit: float) -> None:
    """The minimiser of the cross-entropy where positives are `ratio` times as dense as negatives: log of the ratio
    without a label, log((ratio + 0.1) / 0.9) with the released one."""
    zero = torch.zeros(1, 1, dtype=torch.float64)

    def loss(point: Tensor) -> Tensor:
        return (ratio * cross_entropy(point[None], zero) + cross_entropy(zero, point[None], label)).sum()

    assert float(minimise(loss, zero[0])) == pytest.approx(logit, abs=5e-3)


def test_the_penalty_draws_the_slope_to_the_norm_that_is_set() -> None:
    """(|slope| - 1)^2 against |slope|^2, the slopes by finite differences."""
    draws = stream(0, 1)
    current, buffer, mixture = torch.randn(3, 2, 7, 5, dtype=torch.float64).unbind()
    mixture = mixture[..., :1].sigmoid()
    zero, one = (Discriminator(replace(TINY, penalty_slope=norm), 2, 2, 1, draws).double() for norm in (0.0, 1.0))
    one.load_state_dict(zero.state_dict())
    between, step = mixture * current + (1.0 - mixture) * buffer, 1e-5
    with torch.no_grad():
        axes = step * torch.eye(5, dtype=torch.float64)
        slopes = torch.stack([(zero(between + axis) - zero(between - axis)) / (2.0 * step) for axis in axes])
    square = slopes.square().sum(0)
    expected = TINY.gradient_penalty * ((square.sqrt() - 1.0).square() - square).mean(-1)
    difference = one.loss(current, buffer, mixture) - zero.loss(current, buffer, mixture)
    torch.testing.assert_close(difference.detach(), expected)


def test_a_slope_of_one_makes_weights_out_of_nothing() -> None:
    """No policy has changed: the weights' spread is .16 with the default penalty, 1.08 with the released one."""
    current, buffer, _, draws = gaussian_task(0.0, seed=1)
    discriminator = Discriminator(Settings(penalty_slope=1.0, gradient_penalty=10.0), 1, 11, 3, draws)
    discriminator.fit(current, buffer, draws)
    assert float(normalised(discriminator.log_ratio(buffer).exp()).std()) > 0.7


def test_a_flat_logit_does_not_spoil_the_discriminator() -> None:
    discriminator = Discriminator(replace(TINY, penalty_slope=1.0), 1, OBS, ACT, stream(0))
    with torch.no_grad():
        discriminator.trunk.weights.zero_()
    rows = torch.randn(3, 1, 16, 2 * OBS + ACT)
    loss = discriminator.loss(rows[0], rows[1], rows[2, ..., :1].sigmoid()).sum()
    for gradient in torch.autograd.grad(loss, list(discriminator.parameters()), materialize_grads=True):
        assert gradient.isfinite().all()


def test_training_the_trunk_alone_leaves_the_encoders_as_they_were() -> None:
    rows = situation().replay.all()
    discriminator = Discriminator(replace(TINY, discriminator_trains="trunk"), 2, OBS, ACT, stream(0, 1))
    before = {name: value.detach().clone() for name, value in discriminator.named_parameters()}
    discriminator.fit(rows.like(rows.data[:, -100:]), rows, stream(0, 1))
    moved = {name for name, value in discriminator.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {"trunk.weights", "trunk.biases"}


# The rows


def test_a_bootstrap_sees_63_percent_of_the_rows() -> None:
    """The number of distinct slots has mean N (1 - 1/e) and variance N (1/e - 2/e^2), up to terms of order 1."""
    count = 10_000
    replay = Replay(2, 20_000, OBS, ACT, CPU)
    replay.add(torch.zeros(2, count, 2 * OBS + ACT + 3))
    seen = bootstrap(replay, stream(0, 1))
    assert seen.shape == (2, count)
    times = multiplicity(seen)
    spread = math.sqrt(count * (math.exp(-1.0) - 2.0 * math.exp(-2.0)))
    assert ((times > 0).sum(-1) - count * (1.0 - math.exp(-1.0))).abs().max() < 5.0 * spread + 1.0
    assert times.sum(-1).tolist() == [count, count]
    assert not torch.equal(times[0], times[1])
    assert torch.equal(times[1, :50], torch.bincount(seen[1], minlength=count)[:50].float())


def test_rollouts_start_from_a_bootstrap_by_weight() -> None:
    """A row's chance is its weight times how often it was drawn."""
    view, weighting = situation(), tom(buffer_view="bootstrap", divergence="kl", rollout_starts="weighted")
    weighting.prepare(view)
    times = weighting.rollout_weights(view) / weighting.raw
    times = times * ROWS / times.sum(-1, keepdim=True)
    torch.testing.assert_close(times, times.round(), atol=1e-3, rtol=0.0)
    spread = math.sqrt(ROWS * (math.exp(-1.0) - 2.0 * math.exp(-2.0)))
    assert ((times.round() == 0.0).sum(-1) - ROWS * math.exp(-1.0)).abs().max() < 5.0 * spread + 1.0
    assert times.max() > 1.5


def test_recency_is_one_for_the_newest_rows_wherever_they_lie() -> None:
    replay = Replay(2, 8, OBS, ACT, CPU)
    for step in range(11):  # slots 0 to 2 hold steps 8 to 10
        replay.push(torch.zeros(2, 2 * OBS + ACT + 3), step, 0)
    assert recency_log_ratio(replay, 5).tolist() == [[1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0]] * 2
    assert recency_log_ratio(replay, 100).tolist() == [[1.0] * 8] * 2
    view = situation()
    log_ratio, held_out = tom(log_ratio="recency").log_ratio(view, None, view.stream)
    assert torch.equal(log_ratio, recency_log_ratio(view.replay, 100))
    assert log_ratio.sum(-1).tolist() == [100.0, 100.0]
    assert held_out.isnan().all()


def test_the_cut_is_in_raw_units_if_asked() -> None:
    """A ratio of 3, and 30 in the first row: all above 2 in raw units, the first alone in units of the mean."""
    raw = torch.tensor([[1.0, 1.0, 1.0, 17.0], [4.0, 4.0, 4.0, 4.0], [1.0, math.inf, 1.0, 1.0]])
    cut, share = clip(raw, 2.0, in_raw_units=True)
    assert cut.tolist() == [[1.0, 1.0, 1.0, 2.0], [2.0] * 4, [1.0, 2.0, 1.0, 1.0]]
    assert share.tolist() == [0.25, 1.0, 0.25]
    ratio = torch.full((2, ROWS), 3.0)
    ratio[:, 0] = 30.0
    capped = 2.0 * ROWS / (2.0 + (ROWS - 1.0) * ROWS / (ROWS + 9.0))  # the other rows have ROWS / (ROWS + 9)
    for in_raw_units, first, clipped in ((True, 1.0, 1.0), (False, capped, 1.0 / ROWS)):
        weighting, view = tom(clip_raw=in_raw_units, clip=2.0), situation()
        weighting.q.ratio = lambda error: ratio
        numbers = weighting.prepare(view)
        weights = weighting.weights(view)
        torch.testing.assert_close(weights[:, 0], torch.full((2,), first))
        torch.testing.assert_close(numbers["clipped"], torch.full((2,), clipped))


def test_rollouts_start_by_the_weights_if_asked() -> None:
    """By d / d^D itself: the released code does not cut what rollouts start from."""
    view = situation()
    for starts in ("uniform", "weighted"):
        weighting = tom(rollout_starts=starts, clip=1.0)
        weighting.prepare(replace(view, env_step=WARMUP + 99))  # the pool is not yet the policy's
        assert weighting.rollout_weights(view) is None
        weighting.prepare(view)
        weights = weighting.rollout_weights(view)
        if starts == "uniform":
            assert weights is None
        else:
            torch.testing.assert_close(weights * weighting.raw.mean(-1, keepdim=True), weighting.raw)
            assert (weights.amax(-1) > 1.1 * weighting.weights(view).amax(-1)).all()


@pytest.mark.parametrize("log_ratio", ["discriminator", "recency", "zero"])
def test_rollouts_start_by_untrained_weights_while_the_pool_fills_if_asked(log_ratio: str) -> None:
    """The fit stays plain; the Q that weighs is the one that training begins from, and stays it."""
    view = replace(situation(), env_step=WARMUP + 99)
    weighting = tom(rollout_starts="always_weighted", divergence="kl", exact_constant=False, log_ratio=log_ratio)
    before = copy.deepcopy(weighting.q.net.state_dict())
    numbers = weighting.prepare(view)
    assert all(value.isnan().all() for value in numbers.values())
    assert torch.equal(weighting.weights(view), torch.ones(2, ROWS))
    assert all(torch.equal(value, before[name]) for name, value in weighting.q.net.state_dict().items())
    starts = weighting.rollout_weights(view)
    torch.testing.assert_close(starts.mean(-1), torch.ones(2))
    assert (starts.std(-1) > 1e-3).all()
    with torch.no_grad():
        for parameter in weighting.q.net.parameters():
            parameter.zero_()
    weighting.prepare(view)
    recent = recency_log_ratio(view.replay, 100)
    if log_ratio == "recency":  # e is the log-ratio where Q is zero
        torch.testing.assert_close(weighting.raw, recent.exp())


def test_without_usable_weights_rows_are_fitted_and_rollouts_start_evenly() -> None:
    view, weighting = situation(), tom(rollout_starts="weighted")
    weighting.q.ratio = torch.zeros_like
    weighting.prepare(view)
    assert torch.equal(weighting.weights(view), torch.ones(2, ROWS))
    assert torch.equal(weighting.rollout_weights(view), torch.ones(2, ROWS))


# Weights that do not tilt the dynamics


def noisy_rows(count: int = 2_000) -> tuple[Transitions, Stream]:
    """s, a and s' independent normals."""
    draws = stream(0, 1)
    return Transitions(torch.cat([draws.normal(count, 3), torch.zeros(2, count, 3)], -1), 1, 1), draws


def test_projected_weights_forget_what_only_the_noise_decides() -> None:
    rows, draws = noisy_rows()
    by_noise = torch.where(rows.next_obs[..., 0] > 0.0, 1.5, 0.5)
    projected = project(by_noise, rows, draws)
    assert projected.min() >= 0.0
    torch.testing.assert_close(projected.mean(-1), by_noise.mean(-1), atol=0.05, rtol=0.0)
    assert (projected.std(-1) < 0.1).all()  # .5 before; measured: .042
    by_state = torch.where(rows.obs[..., 0] > 0.0, 1.5, 0.5)
    kept = project(by_noise * by_state, rows, draws)
    assert ((kept - by_state).square().mean(-1).sqrt() < 0.25).all()  # .5 for a constant; measured: .15


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_the_scale_of_the_weights_does_not_matter_to_their_projection(scale: float) -> None:
    rows, draws = noisy_rows()
    by_state = torch.where(rows.obs[..., 0] > 0.0, 1.5, 0.5)
    kept = normalised(project(scale * by_state, rows, draws))
    assert ((kept - by_state).square().mean(-1).sqrt() < 0.25).all()


# The loop


def trainer(**train: Any) -> Trainer:
    """HalfCheetah, where nothing is terminal, in episodes of five steps."""
    parts = {
        "weighting": {"name": "uniform"},
        "loss": {"name": "nll"},
        "dynamics": {"name": "mdn", "hidden": 4, "layers": 1, "components": 1},
        "backbone": {"name": "sac", "hidden": 4},
    }
    loop = {"total_env_steps": 20, "warmup_env_steps": 10, "episode_env_steps": 5, "eval_episodes": 1} | train
    return Trainer(agent_settings({"env": "halfcheetah", "train": loop, **parts}), (0, 1), CPU)


@pytest.mark.parametrize(("time_limits", "terminated"), [("bootstrap", 0.0), ("terminal", 1.0)])
def test_an_episode_that_is_cut_is_stored_as_ended_if_asked(time_limits: str, terminated: float) -> None:
    loop = trainer(time_limits=time_limits)
    for _ in range(12):
        loop.step(explore=True)
    rows = loop.replay.all()
    last = torch.tensor([4, 9])
    assert torch.equal(rows.truncated.nonzero()[:, 1], last.repeat(2))
    assert (rows.terminated[:, last] == terminated).all()
    assert rows.terminated.sum() == 4.0 * terminated
    assert loop.replay.reset_count == [3, 3]
    starts = rows.obs[:, [0, 5, 10]]
    assert torch.equal(loop.replay.resets[:, :3], starts)


@pytest.mark.parametrize("warmup_actions", ["uniform", "policy"])
def test_warm_up_acts_by_the_untrained_policy_if_asked(warmup_actions: str) -> None:
    """A policy without spread acts by its mode; a uniform one does not."""
    loop = trainer(warmup_actions=warmup_actions)
    policy = loop.backbone.sac.policy
    with torch.no_grad():
        policy.net.layers()[-1][1][..., loop.spec.action_dim :] = -100.0
    for _ in range(8):
        loop.step(explore=True)
    rows = loop.replay.all()
    actions = rows.data[..., loop.spec.observation_dim : loop.spec.observation_dim + loop.spec.action_dim]
    with torch.no_grad():
        equal = torch.isclose(actions, policy.mode(rows.obs), atol=1e-6)
    assert equal.all() if warmup_actions == "policy" else not equal.any()
