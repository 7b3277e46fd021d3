"""MBPO's ensemble: its parts by hand, its members' data, what it learns of noise and ignorance, and its rollouts."""

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.config.compose import compose_cell
from pipeline.config.params import load_params
from tom.core.context import Context, build
from tom.core.replay import Transitions
from tom.core.streams import Stream, streams
from tom.dynamics.descent import epochs
from tom.dynamics.ensemble import Ensemble, soft_clamp
from tom.dynamics.fit import fit, samples_of
from tom.dynamics.patience import Patience
from tom.settings.agent import agent_settings
from tom.settings.dynamics.ensemble import Settings
from tom.settings.fields import problems
from tom.settings.losses.nll import Settings as NllSettings
from tom.train import Trainer

CPU = torch.device("cpu")
PARAMS = load_params()
NLL = build("loss", NllSettings(), None)  # type: ignore[arg-type]
SMALL = Settings(hidden=8, layers=1, members=4, elites=2, max_epochs=1)


def stream(*seeds: int) -> Stream:
    return streams(seeds, CPU)["model"]


def ensemble(settings: Settings = SMALL, replicas: int = 1, outputs: int = 2) -> Ensemble:
    context = Context(replicas, outputs - 1, 1, 0.99, CPU, streams(range(replicas), CPU)["init"])
    made: Ensemble = build("dynamics", replace(settings), context)
    return made


def constant_(model: Ensemble, means: list[float], log_variance: float) -> None:
    """Member e predicts means[e] whatever it is shown, with this log-variance before the clamp."""
    with torch.no_grad():
        model.net.weights.zero_()
        bias = model.net.layers()[-1][1].view(*model.lead, 2, model.outputs)
        bias[:, :, 0], bias[:, :, 1] = torch.tensor(means)[None, :, None], log_variance


def identical_rows(count: int, rewards: Tensor) -> Transitions:
    """Transitions without any input: only the reward differs, [count]."""
    rows = torch.zeros(1, count, 6)
    rows[0, :, 3] = rewards
    return Transitions(rows, 1, 1)


def test_the_soft_clamp_by_hand() -> None:
    """Far inside it changes nothing, far outside it is the bound; at a bound the other far, it is log 2 inside."""
    low, high = torch.tensor(-10.0, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    x = torch.tensor([-4.75, 60.0, -60.0, 0.5, -10.0], dtype=torch.float64)
    expected = torch.tensor([-4.75, 0.5, -10.0, 0.5 - math.log(2.0), -10.0 + math.log(2.0)], dtype=torch.float64)
    torch.testing.assert_close(soft_clamp(x, low, high), expected, atol=6e-3, rtol=0.0)
    x = torch.linspace(-14.0, 4.0, 37, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(soft_clamp, (x, low.requires_grad_(), high.requires_grad_()))
    assert (soft_clamp(x, low, high).diff() > 0).all()


def test_first_weights_are_truncated_normals() -> None:
    """Standard deviation 1 / (2 sqrt(in)) before the cut at two of them, which leaves 0.8796 of it."""
    model = ensemble(Settings(layers=2))
    for weights, biases in (map(Tensor.detach, layer) for layer in model.net.layers()):
        scale = 1.0 / (2.0 * math.sqrt(weights.shape[1]))
        error = 5.0 * scale / math.sqrt(2.0 * weights.numel())
        assert float(weights.std()) == pytest.approx(0.8796 * scale, abs=error)
        assert 1.5 * scale < float(weights.abs().max()) <= 2.0 * scale
        assert not biases.any()


def test_the_objective_is_mbpo_s() -> None:
    """(1 + O) / 2 times the released loss, written out here from bnn.py, up to the constant of the normal density."""
    settings = Settings(hidden=5, layers=4, members=3, elites=3)
    model, outputs = ensemble(settings, outputs=3), 3
    with torch.no_grad():
        model.high += torch.rand_like(model.high)
    x, y = torch.randn(1, 3, 11, 3), torch.randn(1, 3, 11, outputs)
    raw = model.net(x)
    mean, log_variance = raw[..., :outputs], soft_clamp(raw[..., outputs:], model.low, model.high)
    released = (((mean - y) ** 2 * (-log_variance).exp()).mean(-1).mean(-1) + log_variance.mean(-1).mean(-1)).sum()
    for (weights, _), decay in zip(model.net.layers(), (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4), strict=True):
        released = released + decay * 0.5 * weights.square().sum()
    released = released + 0.01 * model.high.sum() - 0.01 * model.low.sum()
    ours = NLL(model, x, y, y[..., :0]).mean(-1).sum() + model.regulariser().sum()
    constant = 3 * outputs * 0.5 * math.log(2.0 * math.pi)
    torch.testing.assert_close(ours, 0.5 * outputs * released + constant)


def test_targets_keep_their_units_unless_asked() -> None:
    rows = identical_rows(400, 5.0 + 3.0 * torch.randn(400))
    for normalise, std in ((False, 1.0), (True, 3.0)):
        model = ensemble(replace(SMALL, normalise_targets=normalise))
        fit(model, rows, torch.ones(1, 400), rows.data[..., :0], NLL, stream(0))
        assert float(model.targets.std[0, 0, 0]) == pytest.approx(std, rel=0.15)


@pytest.mark.parametrize("weights_by", ["multiply", "resample"])
def test_each_member_passes_over_a_bootstrap_of_its_own(weights_by: str) -> None:
    """With replacement, 1 - 1/e of the rows are in; later epochs shuffle the same rows; rows without weight are not."""
    model, count = ensemble(replace(SMALL, weights_by=weights_by), replicas=2), 2_000
    rows, weights = Transitions(torch.randn(2, count, 6), 1, 1), torch.ones(2, count)
    if weights_by == "resample":
        weights[:, : count // 2] = 0.0
    samples = samples_of(model, rows, weights, rows.data[..., :0])
    first, second = itertools.islice(epochs(model, samples, stream(0, 1)), 2)
    assert first.shape == second.shape == (2, 4, count)
    assert torch.equal(first.sort(-1).values, second.sort(-1).values)
    assert not torch.equal(first, second)
    seen = [set(own.tolist()) for own in first.flatten(0, 1)]
    assert len({frozenset(rows) for rows in seen}) == 8
    share = 0.5 * (1.0 - math.exp(-2.0)) if weights_by == "resample" else 1.0 - math.exp(-1.0)
    assert all(len(rows) / count == pytest.approx(share, abs=0.04) for rows in seen)
    assert weights_by == "multiply" or min(map(min, seen)) >= count // 2


def test_elites_are_the_best_on_the_weighted_hold_out() -> None:
    """Rewards and steps are both 1 or both -1, equally often; the weighted mean is 0.9 or -0.9."""
    rewards = torch.where(torch.arange(1_000) % 2 == 0, 1.0, -1.0)
    rows = identical_rows(1_000, rewards)
    rows.data[0, :, 2] = rewards
    for favoured, expected in ((1.0, [1, 3]), (-1.0, [2, 0])):
        model = ensemble(replace(SMALL, learning_rate=1e-8))
        constant_(model, [-0.5, 0.9, -0.9, 0.5], -1.0)
        weights = torch.where(rewards == favoured, 1.9, 0.1)[None]
        fit(model, rows, weights, rows.data[..., :0], NLL, stream(0))
        assert model.elites.tolist() == [expected]


def test_members_keep_their_own_best_epochs_and_stop_together() -> None:
    """By hand: member 0 is best in epoch 1 and member 1 in epoch 3; two epochs without either end it."""
    model = ensemble(replace(SMALL, members=2))
    patience, stops = Patience(model.parameters(), model.lead, patience=1, min_improvement=0.01), []
    for number, losses in enumerate([(5.0, 9.0), (4.0, 8.0), (4.5, 7.0), (4.5, 6.0), (3.99, 6.5), (3.98, 7.0)]):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(float(number))
        stops.append(patience.exhausted(torch.tensor([losses])))
    assert stops == [False] * 5 + [True]
    patience.finish(restore_best=True)
    assert model.net.weights[:, 0].tolist() == model.net.biases[:, 0].tolist() == [1.0, 3.0]
    assert model.high.unique().tolist() == [5.0]  # shared: no member's best epoch is its own


def test_every_row_is_drawn_from_an_elite_of_its_own() -> None:
    count, draws = 30_000, stream(0)
    model = ensemble(replace(SMALL, members=5, elites=3))
    constant_(model, [0.0, 10.0, 20.0, 30.0, 40.0], -3.0)
    model.elites.copy_(torch.tensor([[4, 0, 2]]))
    x = torch.randn(1, count, 2)
    with torch.no_grad():
        drawn = model.sample_normalised(x, draws.uniform(count, 2), draws.normal(count, 2))[0]
        _, log_variance = model.gaussians(model.spread(x))
    std = float((0.5 * log_variance[0, 0, 0, 0]).exp())
    member = (drawn / 10.0).round()
    assert (member[:, 0] == member[:, 1]).all()  # one member for the whole row
    shares = torch.bincount(member[:, 0].long(), minlength=5) / count
    assert shares.tolist() == pytest.approx([1 / 3, 0.0, 1 / 3, 0.0, 1 / 3], abs=5.0 * math.sqrt(2 / 9 / count))
    assert float((drawn - 10.0 * member).std()) == pytest.approx(std, rel=0.03)


def test_elites_that_share_the_rows_take_equal_chunks_and_are_alone_with_them() -> None:
    """Members 0 to 3 say 10, 20, 30, 40; each replica has elites of its own, and who comes first is drawn."""
    model, draws, rows = ensemble(replace(SMALL, elite_by="chunk", deterministic=True), replicas=2), stream(0, 1), 7
    constant_(model, [10.0, 20.0, 30.0, 40.0], -2.0)
    model.elites.copy_(torch.tensor([[3, 1], [0, 2]]))
    seen = set()
    for _ in range(40):
        found = model.sample_normalised(draws.normal(rows, 2), draws.uniform(rows, 2), draws.normal(rows, 2))[..., 0]
        assert [each.unique_consecutive().numel() for each in found] == [2, 2]
        assert [(each == each[0]).sum() for each in found] == [4, 4]
        seen.add(tuple(found[:, 0].tolist()))
    assert seen == {(first, second) for first in (40.0, 20.0) for second in (10.0, 30.0)}


def test_a_row_s_prediction_is_that_of_the_elite_whose_chunk_it_is_in() -> None:
    """With the first slot drawn, by row and by chunk agree on the first chunk; so do the slopes by the inputs."""
    draws, rows = stream(0, 1), 6
    inputs, normal = draws.normal(rows, 2).requires_grad_(), draws.normal(rows, 2)
    outcomes = []
    for word in ("row", "chunk"):
        found = ensemble(replace(SMALL, elite_by=word), 2).sample_normalised(inputs, torch.zeros(2, rows, 2), normal)
        (slopes,) = torch.autograd.grad(found[:, :3].sum(), inputs)
        outcomes.append((found[:, :3], slopes))
    torch.testing.assert_close(*outcomes)
    assert outcomes[0][1][:, :3].all() and not outcomes[1][1][:, 3:].any()


@pytest.mark.parametrize("weights_by", ["multiply", "resample"])
def test_members_fit_the_weighted_mean_and_variance_of_identical_inputs(weights_by: str) -> None:
    """Rewards -1 (three quarters, weight 0.4) and 1 (a quarter, weight 2.8): mean 0.4 and variance 0.84.

    A bootstrap of 4000 rows moves a member's mean by 0.015, and the mean of seven by 0.006.
    """
    groups = torch.arange(5_000) % 4 == 0
    rows, weights = identical_rows(5_000, torch.where(groups, 1.0, -1.0)), torch.where(groups, 2.8, 0.4)[None]
    settings = Settings(hidden=8, layers=1, learning_rate=1e-2, max_epochs=30, patience=30, restore_best=False)
    model = ensemble(replace(settings, weights_by=weights_by))
    for rate in (1e-2, 3e-4):
        model.optimizer.param_groups[0]["lr"] = rate
        fit(model, rows, weights, rows.data[..., :0], NLL, stream(0))
    with torch.no_grad():
        mean, log_variance = model.gaussians(model.spread(model.inputs(rows.obs_action[:, :1])))
    assert float(mean[0, :, 0, 0].mean()) == pytest.approx(0.4, abs=0.03)
    assert float(log_variance[0, :, 0, 0].exp().mean()) == pytest.approx(0.84, rel=0.05)


def noisy_sine(count: int) -> Transitions:
    """x in [-3, 3]; reward and step are sin x + 0.1 (1 + |x|) noise, each with noise of its own."""
    generator = torch.Generator().manual_seed(0)
    x = 6.0 * torch.rand(1, count, 1, generator=generator) - 3.0
    noise = 0.1 * (1.0 + x.abs()) * torch.randn(2, 1, count, 1, generator=generator)
    nothing = torch.zeros_like(x)
    return Transitions(torch.cat([x, nothing, x + x.sin() + noise[0], x.sin() + noise[1], nothing, nothing], -1), 1, 1)


def test_an_ensemble_knows_its_noise_and_its_ignorance() -> None:
    """Fitted std within 15 % on [-2, 2], but for the kink at 0, which is smoothed; members disagree away from data."""
    model, rows = ensemble(Settings(hidden=32, layers=3, learning_rate=3e-3, max_epochs=60)), noisy_sine(8_000)
    fit(model, rows, torch.ones(1, 8_000), rows.data[..., :0], NLL, stream(0))
    grid = torch.linspace(-6.0, 6.0, 241)
    with torch.no_grad():
        x = torch.stack([grid, torch.zeros_like(grid)], -1)[None]
        mean, log_variance = (both[0] for both in model.gaussians(model.spread(model.inputs(x))))
    std, spread, size = log_variance.exp().mean(0).sqrt(), mean.std(0), grid.abs()
    ratio = std / (0.1 * (1.0 + size))[:, None]
    assert (ratio[(size >= 0.24) & (size <= 2.01)] - 1.0).abs().max() < 0.15
    assert (ratio[size < 0.24] - 1.0).abs().max() < 0.45
    assert (mean.mean(0) - grid.sin()[:, None])[size <= 2.0].abs().max() < 0.1
    inside, outside = (spread[where].square().mean(0).sqrt() for where in (size <= 3.0, size > 3.0))
    assert (outside > 3.0 * inside).all()


def small_agent(**changes: Any) -> Any:
    config = compose_cell("mbpo", "hopper", "smoke", ["dynamics=ensemble"])
    config["train"] |= {"total_env_steps": 120, "warmup_env_steps": 60, "round_env_steps": 60}
    config["dynamics"] |= changes
    return agent_settings(config)


def test_rollouts_follow_the_elites() -> None:
    """Each row of the model buffer lies within six standard deviations of what one of the elites predicts."""
    trainer = Trainer(small_agent(members=5, elites=2), [0, 1], CPU)
    for _ in range(60):
        trainer.step(explore=True)
    trainer.round()
    model, rows = trainer.model, trainer.backbone.model_buffer.all()
    assert rows.data.shape[:2] == (2, trainer.settings.backbone.rollout_starts)
    assert rows.data.isfinite().all()
    outcome = torch.cat([rows.reward[..., None], rows.next_obs - rows.obs], -1)[:, None]
    with torch.no_grad():
        mean, log_variance = model.gaussians(model.spread(model.inputs(rows.obs_action)))
        distance = ((outcome - mean) / (0.5 * log_variance).exp()).abs().amax(-1)
    chosen = distance.gather(1, model.elites[..., None].expand(-1, -1, rows.data.shape[1]))
    assert (chosen.amin(1) < 6.0).all()


@pytest.mark.parametrize(("method", "scale"), list(itertools.product(PARAMS.methods, PARAMS.scales)))
def test_it_can_be_chosen_for_every_method(method: str, scale: str) -> None:
    config = compose_cell(method, "hopper", scale, ["dynamics=ensemble"])
    assert config["dynamics"]["name"] == "ensemble"
    assert agent_settings(config).dynamics.elites <= agent_settings(config).dynamics.members


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"members": 3}, "elites=5 is more than members=3; nearest valid value: 3"),
        ({"holdout_fraction": 0.0}, "holdout_fraction=0 leaves no rows to rank members by"),
        ({"initial_min_log_variance": 1.0}, "initial_min_log_variance=1.0 is not below"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], words: str) -> None:
    (sentence,) = problems(Settings(**changes), "dynamics")
    assert words in sentence
