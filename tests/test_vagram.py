"""VaGraM: the value's gradients, what the loss makes of them, in which units, and what the released code does."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.checks.capacity import fitted
from tom.backbones.sac import SoftActorCritic
from tom.core.context import Context, View, build
from tom.core.networks import Policy, TwinCritic
from tom.core.replay import Replay
from tom.core.streams import streams
from tom.dynamics.base import Dynamics
from tom.losses.vagram import ValueGradientWeighted, clipped, first_order, value_gradients
from tom.settings.agent import agent_settings
from tom.settings.backbones.mbpo import Settings as BackboneSettings
from tom.settings.dynamics.ensemble import Settings as EnsembleSettings
from tom.settings.fields import SettingsError, problems
from tom.settings.losses.vagram import Settings
from tom.train import Trainer, train

CPU = torch.device("cpu")
OBS, ACT, ROWS, WARMUP = 4, 1, 300, 100
TAYLOR = {"error": "squared", "form": "taylor"}
RELEASED = {
    "gradient": "signed",
    "alignment": "shifted",
    "units": "normalised",
    "heads": "accumulated",
    "clip_quantile": 1.0,
    "mean_over_dimensions": True,
}


def context() -> Context:
    return Context(2, OBS, ACT, 0.9, CPU, streams([0, 1], CPU)["init"])


def normals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def networks() -> tuple[Policy, TwinCritic, TwinCritic]:
    """A policy and two pairs of critics with gradients that matter, in double precision."""
    init = context().init
    critics = [TwinCritic(2, OBS, ACT, 16, init).double() for _ in range(2)]
    return Policy(2, OBS, ACT, 8, init).double(), critics[0], critics[1]


def view_of(*nets: Any, env_step: int = 10_000) -> View:
    replay = Replay(2, ROWS, OBS, ACT, CPU)
    replay.data = replay.data.double()
    replay.add(normals(2, ROWS, 2 * OBS + ACT + 3))
    policy, critic, target = nets or networks()
    return View(replay, policy, critic, env_step, WARMUP, streams([0, 1], CPU)["weighting"], target)


def loss_of(**changes: Any) -> ValueGradientWeighted:
    settings = Settings(**changes)
    assert not list(problems(settings, "loss"))
    loss: ValueGradientWeighted = build("loss", settings, context())
    return loss


class Given(Dynamics):
    """A unit-variance Gaussian around given predictions [R, B, 1 + O] in normalised units."""

    def __init__(self, prediction: Tensor):
        super().__init__(prediction.shape[0], OBS, ACT, CPU)
        self.prediction = prediction
        self.targets.mean = normals(prediction.shape[0], 1, 1 + OBS, seed=5)
        self.targets.std = normals(prediction.shape[0], 1, 1 + OBS, seed=6).exp()

    def mean(self, inputs: Tensor) -> Tensor:
        return self.prediction

    def log_density(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return torch.distributions.Normal(self.prediction, torch.ones(())).log_prob(targets)


def prediction_and_targets() -> tuple[Given, Tensor, Tensor]:
    """A model with errors, its targets, and the errors in raw units."""
    targets = normals(2, ROWS, 1 + OBS, seed=2)
    model = Given(targets + normals(2, ROWS, 1 + OBS, seed=3))
    return model, targets, model.targets.inverse(model.prediction) - model.targets.inverse(targets)


def value(loss: ValueGradientWeighted, view: View, model: Dynamics, targets: Tensor) -> Tensor:
    return loss(model, targets, targets, loss.columns(view))


class LinearCritic(nn.Module):
    """Two heads that are linear in observation and action."""

    def __init__(self, slopes: Tensor):
        super().__init__()
        self.slopes = slopes  # [R, 2, O + A]

    def net(self, obs_action: Tensor) -> Tensor:
        return (obs_action * self.slopes[:, :, None]).sum(-1, keepdim=True)


def test_the_gradient_of_each_head_is_its_finite_difference() -> None:
    policy, critic, _ = networks()
    obs, step = normals(2, 50, OBS), 1e-6
    with torch.no_grad():
        action, differences = policy.mode(obs), []
        for moved in torch.eye(OBS, dtype=torch.float64):
            ends = [critic(torch.cat([obs + sign * step * moved, action], -1)) for sign in (1.0, -1.0)]
            differences.append((ends[0] - ends[1]) / (2.0 * step))
    gradients = value_gradients(critic, policy, obs)
    assert gradients.shape == (2, 2, 50, OBS)
    torch.testing.assert_close(gradients, torch.stack(differences, -1), rtol=1e-4, atol=1e-8)
    assert not torch.allclose(gradients[:, 0], gradients[:, 1], rtol=0.1)
    assert all(parameter.grad is None for parameter in critic.parameters())


def test_gradients_are_those_of_each_chunk_s_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, critic, _ = networks()
    whole = value_gradients(critic, policy, normals(2, 50, OBS))
    monkeypatch.setattr("tom.losses.vagram.ROWS_PER_CHUNK", 7)
    torch.testing.assert_close(value_gradients(critic, policy, normals(2, 50, OBS)), whole)


@pytest.mark.parametrize("four", [True, False])
def test_a_linear_value_s_error_is_exact(four: bool) -> None:
    """The first-order loss is then the squared error of the value, mean over heads; the bounded one is a bound."""
    slopes = [normals(2, 2, OBS + ACT, seed=seed) for seed in (7, 8)]
    policy, target = networks()[0], LinearCritic(slopes[1]) if four else None
    view = view_of(policy, LinearCritic(slopes[0]), target)
    model, targets, error = prediction_and_targets()
    heads = torch.cat(slopes if four else slopes[:1], 1)[..., :OBS]
    in_value = torch.einsum("rho,rbo->rhb", heads, error[..., 1:]).square().mean(1)
    exact = in_value + error[..., 0].square()
    first_order_loss = value(loss_of(**TAYLOR, clip_quantile=1.0), view, model, targets)
    torch.testing.assert_close(first_order_loss, exact, rtol=1e-10, atol=1e-10)
    bounded = value(loss_of(error="squared", clip_quantile=1.0), view, model, targets) - error[..., 0].square()
    assert (OBS * bounded >= in_value - 1e-10).all()
    by_hand = (heads[:, :, None] * error[:, None, :, 1:]).square().sum(-1).mean(1)
    torch.testing.assert_close(bounded, by_hand, rtol=1e-10, atol=1e-10)


def test_the_nll_of_a_fixed_variance_is_half_the_squared_loss() -> None:
    """Up to a constant: what matters is the difference between two predictions, whatever the units of the targets."""
    view, (model, targets, _) = view_of(), prediction_and_targets()
    perfect = Given(targets)
    halves = []
    for error in ("nll", "squared"):
        loss = loss_of(error=error)
        halves.append(value(loss, view, model, targets) - value(loss, view, perfect, targets))
    torch.testing.assert_close(halves[0], halves[1] / 2.0, rtol=1e-10, atol=1e-10)


def test_no_gradient_is_longer_than_the_quantile() -> None:
    gradients = normals(2, 4, ROWS, OBS) * normals(1, 1, ROWS, 1, seed=1).exp()
    lengths, cut = gradients.norm(dim=-1), clipped(gradients, 0.95)
    bound = torch.quantile(lengths, 0.95, dim=-1, keepdim=True)
    assert (cut.norm(dim=-1) <= bound * (1.0 + 1e-12)).all()
    kept = lengths <= cut.norm(dim=-1).amax(-1, keepdim=True)
    assert torch.equal(cut[kept], gradients[kept])
    assert 0.94 < float(kept.double().mean()) < 0.96
    torch.testing.assert_close(nn.functional.cosine_similarity(cut, gradients, dim=-1), torch.ones_like(lengths))
    assert torch.equal(clipped(gradients, 1.0), gradients)
    assert not clipped(torch.zeros(1, 1, 5, OBS), 0.5).any()


def test_the_plain_loss_is_added_in_the_first_rounds() -> None:
    model, targets, error = prediction_and_targets()
    nets = networks()
    for kind, plain in (("nll", -model.log_density(targets, targets).mean(-1)), ("squared", error.square().mean(-1))):
        loss = loss_of(error=kind, anchor_env_steps=500)
        values = [value(loss, view_of(*nets, env_step=WARMUP + steps), model, targets) for steps in (0, 499, 500)]
        torch.testing.assert_close(values[0], values[2] + plain)
        assert torch.equal(values[0], values[1])


def test_the_released_loss_by_hand() -> None:
    """vaml.py:229-300: weights one output too early, signed, summed up over heads, errors normalised."""
    policy, critic, target = networks()
    view, (model, targets, _) = view_of(policy, critic, target), prediction_and_targets()
    next_obs = view.replay.all().next_obs.clone().requires_grad_()
    obs_action = torch.cat([next_obs, policy.mode(next_obs).detach()], -1)
    heads = [head for pair in (critic, target) for head in pair(obs_action).unbind(1)]
    slopes = [torch.autograd.grad(head.sum(), next_obs, retain_graph=True)[0] for head in heads]
    nll, running, expected = -model.log_density(targets, targets), torch.zeros(2, ROWS, OBS), torch.zeros(2, ROWS)
    for slope in slopes:
        running = running + slope  # next_obs.grad is never set back to zero
        expected = expected + (running * nll[..., :-1]).mean(-1) / 4.0
    torch.testing.assert_close(value(loss_of(**RELEASED), view, model, targets), expected + nll[..., -1])
    torch.testing.assert_close(
        value(loss_of(**RELEASED), replace(view, env_step=WARMUP), model, targets),
        expected + nll[..., -1] + nll.mean(-1),
    )


@pytest.mark.parametrize("switch", RELEASED)
def test_each_switch_changes_the_loss_by_itself(switch: str) -> None:
    view, (model, targets, _) = view_of(), prediction_and_targets()
    plain = value(loss_of(), view, model, targets)
    assert not torch.allclose(value(loss_of(**{switch: RELEASED[switch]}), view, model, targets), plain, rtol=0.01)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"error": "squared", "gradient": "signed"}, "gradient=squared"),
        ({"form": "taylor"}, "form=bounded"),
        ({**TAYLOR, "alignment": "shifted"}, "alignment=aligned"),
    ],
)
def test_what_has_no_meaning_is_refused(changes: dict[str, Any], word: str) -> None:
    (sentence,) = problems(Settings(**changes), "loss")
    assert word in sentence


def test_a_backbone_without_a_critic_is_refused_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    config: dict[str, Any] = {"env": "hopper", "train": {"total_env_steps": 20, "warmup_env_steps": 10}}
    parts = {"weighting": "uniform", "loss": "vagram", "dynamics": "mdn", "backbone": "mbpo"}
    settings = agent_settings(config | {kind: {"name": name} for kind, name in parts.items()})
    view = Trainer.view
    monkeypatch.setattr(Trainer, "view", lambda trainer: replace(view(trainer), critic=None))
    monkeypatch.setattr(Trainer, "step", lambda *arguments: pytest.fail("a step was taken"))
    with pytest.raises(SettingsError, match=r"^vagram needs a critic; mbpo has none$"):
        next(train(settings, [0], "cpu"))


@pytest.mark.parametrize("error", ["squared", "nll"])
def test_scarce_capacity_goes_where_the_value_is(error: str) -> None:
    """One of four dimensions can be learned: the widest, by squared error, or the one that the value depends on."""
    plain, by_value = fitted(error, by_value=False), fitted(error, by_value=True)
    assert (plain.value, plain.squared) == pytest.approx((100.18, 4.75), rel=0.02)
    assert (by_value.value, by_value.squared) == pytest.approx((0.27, 6.75), rel=0.02)


def test_first_order_by_hand() -> None:
    gradients, errors = torch.tensor([[1.0, 2.0, 3.0, -1.0]]), torch.tensor([[0.5, 1.0, -1.0]])
    assert first_order(gradients, errors).item() == pytest.approx((1.0 + 16.0) / 2.0 + 0.25)


def test_the_critics_of_the_agent_are_the_heads() -> None:
    sac = SoftActorCritic(BackboneSettings(hidden=8), context())
    view = view_of(sac.policy, sac.critic, sac.target)
    view.replay.data = view.replay.data.float()
    with torch.no_grad():
        sac.target.net.weights.mul_(0.5)
    gradients = [value_gradients(critic, sac.policy, view.replay.all().next_obs) for critic in (sac.critic, sac.target)]
    columns = loss_of(clip_quantile=1.0).columns(view)
    assert columns.shape == (2, ROWS, 2 + OBS)
    torch.testing.assert_close(columns[..., 2:], torch.cat(gradients, 1).square().mean(1))
    taylor = loss_of(**TAYLOR, clip_quantile=1.0).columns(view)
    assert torch.equal(taylor[..., 1:], torch.cat(gradients, 1).transpose(1, 2).flatten(2))


def test_a_squared_error_asks_for_a_model_without_noise() -> None:
    kinds = {"weighting": {"name": "uniform"}, "loss": {"name": "vagram", "error": "squared"}}
    config: dict[str, Any] = {"env": "hopper", **kinds, "backbone": {"name": "mbpo"}}
    for dynamics in ({"name": "mdn"}, {"name": "ensemble"}):
        with pytest.raises(SettingsError, match=r"^loss: error=squared leaves .* dynamics.deterministic=true$"):
            agent_settings(config | {"dynamics": dynamics})
    assert agent_settings(config | {"dynamics": {"name": "ensemble", "deterministic": True}})


def test_a_deterministic_ensemble_samples_its_mean_and_takes_the_loss() -> None:
    """Weights come per member [R, E, B]; without noise two samples of one member are the same."""
    settings = EnsembleSettings(members=3, elites=1, hidden=8, layers=1, deterministic=True)
    model, draws = build("dynamics", settings, context()).double(), streams([0, 1], CPU)["model"]
    x = normals(2, 20, OBS + ACT)
    uniform = draws.uniform(20, 1 + OBS).double()
    samples = [model.sample_normalised(x, uniform, normals(2, 20, 1 + OBS, seed=seed)) for seed in (1, 2)]
    assert torch.equal(*samples)
    torch.testing.assert_close(samples[0], model.mean(model.spread(x))[:, 0])
    view, targets = view_of(), normals(2, ROWS, 1 + OBS, seed=2)
    loss, inputs = loss_of(error="squared"), normals(2, ROWS, OBS + ACT, seed=3)
    columns = loss.columns(view)
    losses = loss(model, *(model.spread(part) for part in (inputs, targets, columns)))
    assert losses.shape == (2, 3, ROWS)
    errors = model.mean(model.spread(inputs))[:, 1] - targets
    torch.testing.assert_close(losses[:, 1], (columns[..., 1:] * errors.square()).sum(-1))
