"""What every weighting, loss, dynamics model and setting owes the rest, whichever there are."""

import copy
import dataclasses
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tom.backbones.sac import SoftActorCritic
from tom.core.context import Context, View, build
from tom.core.replay import Replay
from tom.core.streams import streams
from tom.dynamics.base import Dynamics, targets_of
from tom.dynamics.fit import fit
from tom.envs.spec import never
from tom.experiments.offline import Task
from tom.settings import KINDS, names, settings_class
from tom.settings import train as train_settings
from tom.settings.backbones.mbpo import Settings as BackboneSettings
from tom.settings.fields import problems
from tom.weightings.base import AGE_BINS, clip, normalised, summary, uniform_weights

CPU = torch.device("cpu")
OBS, ACT, ROWS, WARMUP = 3, 2, 400, 100
SMALL = {
    "hidden": 8,
    "layers": 1,
    "members": 3,
    "elites": 2,
    "components": 2,
    "batch": 16,
    "batches_per_epoch": 2,
    "max_epochs": 1,
    "pool_env_steps": 100,
    "min_rows": 100,
    "states": 50,
    "discriminator_hidden": 8,
    "discriminator_updates": 5,
    "discriminator_batch": 16,
    "q_hidden": 8,
    "q_updates": 5,
    "q_batch": 16,
    "ratio_hidden": 8,
    "ratio_updates": 5,
    "ratio_rows": 16,
    "segment_env_steps": 10,
    "address_updates": 5,
    "rollout_starts": 20,
    "path_length": 2,
    "horizon": 2,
    "plan_samples": 8,
    "plan_elites": 3,
    "plan_horizon": 2,
}
CLASSES = [train_settings.Settings, *(settings_class(kind, name) for kind in KINDS for name in names(kind))]


def small(kind: str, name: str, **changes: Any) -> Any:
    """The settings of a part, with whatever of SMALL it has."""
    cls = settings_class(kind, name)
    known = {field.name for field in dataclasses.fields(cls)}
    return cls(**{key: value for key, value in (SMALL | changes).items() if key in known})


def context() -> Context:
    return Context(2, OBS, ACT, 0.9, CPU, streams([0, 1], CPU)["init"])


def situation(rows: int = ROWS) -> View:
    """An agent in the middle of a run: rows of two replicas, some terminal, and networks fresh from their start."""
    draws, replay = streams([0, 1], CPU), Replay(2, rows, OBS, ACT, CPU)
    data = draws["env"].normal(rows, 2 * OBS + ACT + 3)
    data[..., -2:] = (data[..., -2:] > 1.5).float()
    for step in range(rows):
        replay.push(data[:, step], step, step // 100)
    for replica in range(2):
        for obs in data[replica, :20, :OBS]:
            replay.push_reset(replica, obs)
    sac = SoftActorCritic(BackboneSettings(hidden=8), context())
    return View(replay, sac.policy, sac.critic, rows, WARMUP, draws["weighting"])


WEIGHTINGS = [small("weighting", name) for name in names("weighting")]
WEIGHTINGS += [
    small("weighting", "tom", divergence=divergence, termination=termination)
    for divergence in ("chi2", "kl", "kl_simplex")
    for termination in ("none", "mask", "restart")
    if (divergence, termination) not in {("kl_simplex", "mask"), ("chi2", "restart")}
]
FORMS = (("tom", "log_ratio", "zero"), ("ampl", "test", "critic"), ("rama", "address", "learned"))
WEIGHTINGS += [small("weighting", name, **{key: word}) for name, key, word in FORMS]


def label(settings: Any) -> str:
    keys = ("name", *(key for _, key, _ in FORMS), "divergence", "termination")
    return "-".join(word for word in (getattr(settings, key, "") for key in keys) if word)


@pytest.mark.parametrize("settings", WEIGHTINGS, ids=label)
def test_weights_are_weights(settings: Any) -> None:
    view, weighting = situation(), build("weighting", settings, context())
    others = [*view.policy.parameters(), view.replay.data, view.replay.resets]
    before, keys = [tensor.detach().clone() for tensor in others], []
    for env_step in (WARMUP, ROWS, ROWS + 50):
        numbers = weighting.prepare(replace(view, env_step=env_step))
        weights = weighting.weights(view)
        keys.append(list(numbers))
        assert all(number.shape == (2,) for number in numbers.values())
        assert weights.shape == (2, ROWS)
        assert weights.isfinite().all()
        assert weights.min() >= 0.0
        torch.testing.assert_close(weights.mean(-1), torch.ones(2), atol=1e-4, rtol=0.0)
        assert not weights.requires_grad
    assert keys[0] == keys[1] == keys[2]
    assert all(torch.equal(old, new) for old, new in zip(before, others, strict=True))


@pytest.mark.parametrize("settings", WEIGHTINGS, ids=label)
def test_a_restored_weighting_goes_on_as_the_one_it_was_saved_from(settings: Any) -> None:
    original, restored = (build("weighting", settings, context()) for _ in range(2))
    view = situation()
    original.prepare(view)
    restored.load_state_dict(copy.deepcopy(original.state_dict()))
    outcomes = []
    for weighting in (original, restored):
        again = situation()
        numbers = weighting.prepare(again)
        outcomes.append([*numbers.values(), weighting.weights(again)])
    for a, b in zip(*outcomes, strict=True):
        torch.testing.assert_close(a, b, rtol=0.0, atol=0.0, equal_nan=True)


def test_tom_weights_are_ones_until_the_pool_is_the_policy_s() -> None:
    weighting = build("weighting", small("weighting", "tom"), context())
    for steps, uniform in ((99, True), (100, False)):
        view = replace(situation(), env_step=WARMUP + steps)
        numbers = weighting.prepare(view)
        assert torch.equal(weighting.weights(view), torch.ones(2, ROWS)) is uniform
        assert all(bool(number.isnan().all()) is uniform for number in numbers.values())


def test_tom_asks_for_the_newest_rows_whatever_their_slot() -> None:
    """The newest rows stand out; after the ring has wrapped they lie in the middle, and still weigh the most."""
    view = situation()
    for step in range(ROWS, ROWS + 150):
        row = view.replay.data[:, step % ROWS].clone()
        row[:, 0] = 3.0
        view.replay.push(row, step, 9)
    alone = 1e6  # the price of Q at which the discriminator decides
    settings = small("weighting", "tom", discriminator_updates=200, discriminator_learning_rate=1e-2, q_ridge=alone)
    weighting = build("weighting", settings, context())
    weighting.prepare(replace(view, env_step=ROWS + 150))
    weights = weighting.weights(view)
    assert (weights[:, 50:150].mean(-1) > 1.5 * weights[:, 150:].mean(-1)).all()


def test_normalising_and_clipping_by_hand() -> None:
    raw = torch.tensor(
        [[1.0, 1.0, 1.0, 17.0], [0.0, 0.0, 0.0, 0.0], [1.0, 2.0, math.nan, 1.0], [1.0, 1.0, math.inf, 1.0]]
    )
    cut, clipped = clip(raw, 2.0, in_raw_units=False)
    weights = normalised(cut)
    assert weights[0].tolist() == pytest.approx([v / 0.65 for v in (0.2, 0.2, 0.2, 2.0)])
    assert weights[1].tolist() == [1.0] * 4
    assert weights[2:].isnan().all(), "what is not finite is not made to look as if it were"
    assert clipped.tolist() == [0.25, 0.0, 0.0, 0.0]
    scaled, _ = clip(8.0 * raw, 2.0, in_raw_units=False)
    torch.testing.assert_close(normalised(scaled), weights, rtol=0.0, atol=0.0, equal_nan=True)
    assert normalised(torch.full((1, 4), 3e38)).isnan().all(), "a mean that is beyond float32"


def test_summary_by_hand() -> None:
    """Twenty rows in a ring of sixteen: slots 4 to 15 hold the older rows, 0 to 3 the newest."""
    replay = Replay(1, 16, OBS, ACT, CPU)
    for step in range(20):
        replay.push(torch.zeros(1, 2 * OBS + ACT + 3), step, 0)
    weights = replay.env_step.float()[None]  # 4 .. 19
    numbers = summary(weights, replay)
    assert float(numbers["ess"]) == pytest.approx(184.0**2 / sum(n * n for n in range(4, 20)) / 16.0)
    assert (float(numbers["min"]), float(numbers["max"])) == (4.0, 19.0)
    ages = [float(numbers[f"age_{index}"]) for index in range(AGE_BINS)]
    assert ages == sorted(ages)
    assert (ages[0], ages[-1]) == (4.5, 19.0)
    assert torch.equal(summary(uniform_weights(replay), replay)["ess"], torch.ones(1))


@pytest.mark.parametrize("loss_name", names("loss"))
@pytest.mark.parametrize("dynamics_name", names("dynamics"))
def test_a_loss_is_a_number_per_sample_and_replicas_are_apart(loss_name: str, dynamics_name: str) -> None:
    view, model = situation(), build("dynamics", small("dynamics", dynamics_name), context())
    loss, rows = build("loss", small("loss", loss_name), context()), view.replay.all()
    assert isinstance(model, Dynamics)
    model.normalise(rows)  # a loss may depend on the units, which a fit settles
    columns = loss.columns(view)
    assert columns.shape[:2] == (2, ROWS)

    def read() -> list[Tensor]:
        return [
            model.spread(part) for part in (model.inputs(rows.obs_action), model.targets(targets_of(rows)), columns)
        ]

    inputs, targets, spread_columns = read()
    values = loss(model, inputs, targets, spread_columns)
    assert values.shape == (*model.lead, ROWS)
    assert values.isfinite().all()
    parameters = list(model.parameters())
    slopes = torch.autograd.grad(values[0].sum(), parameters, materialize_grads=True)
    for parameter, slope in zip(parameters, slopes, strict=True):
        share = parameter.shape[0] // 2
        assert not slope[share:].any()  # the first replica's loss knows nothing of the second's model
    some = [part[..., :7, :] for part in (inputs, targets, spread_columns)]
    torch.testing.assert_close(loss(model, *some), values[..., :7])
    before = values.mean().item()
    numbers = [fit(model, rows, torch.ones(2, ROWS), columns, loss, view.stream) for _ in range(2)]
    assert list(numbers[0]) == list(numbers[1])
    assert all(number.shape == (2,) for number in numbers[0].values())
    model.settings.batches_per_epoch = 100
    fit(model, rows, torch.ones(2, ROWS), columns, loss, view.stream)
    assert loss(model, *read()).mean().item() < before


@pytest.mark.parametrize("name", names("dynamics"))
def test_a_model_samples_what_its_density_says(name: str) -> None:
    """Shapes, raw units and the mean: a model whose outputs are scaled and shifted samples scaled and shifted."""
    model, draws, count = build("dynamics", small("dynamics", name), context()), streams([0, 1], CPU)["model"], 4_000
    x = torch.zeros(2, count, OBS + ACT)
    uniform, normal = draws.uniform(count, 1 + OBS), draws.normal(count, 1 + OBS)
    normalised = model.sample_normalised(model.inputs(x), uniform, normal)
    model.targets.mean.fill_(5.0)
    model.targets.std.fill_(0.5)
    reward, next_obs = model.sample(x + 1.0, uniform, normal)
    assert reward.shape == (2, count)
    assert next_obs.shape == (2, count, OBS)
    shifted = model.sample_normalised(model.inputs(x + 1.0), uniform, normal).detach()
    torch.testing.assert_close(reward, 5.0 + 0.5 * shifted[..., 0])
    torch.testing.assert_close(next_obs, 1.0 + 5.0 + 0.5 * shifted[..., 1:])
    inputs, draw = model.spread(model.inputs(x)), model.spread(normalised.detach())
    shuffled = draw[..., torch.randperm(count), :] + 3.0
    assert model.log_density(inputs, draw).mean() > model.log_density(inputs, shuffled).mean()
    assert model.mean(inputs).shape == (*model.lead, count, 1 + OBS)


@pytest.mark.parametrize("name", names("dynamics"))
def test_a_model_s_moments_are_those_of_its_density(name: str) -> None:
    """By quadrature over each output, whose density is told one by one."""
    model = build("dynamics", small("dynamics", name), context()).double()
    width, steps = 12.0, 4_001
    grid = torch.linspace(-width, width, steps, dtype=torch.float64)
    inputs = torch.full((*model.lead, steps, OBS + ACT), 0.3, dtype=torch.float64)
    density = model.log_density(inputs, grid[:, None].expand(*model.lead, steps, 1 + OBS)).exp()
    mass = 2.0 * width / (steps - 1) * density
    mean = (mass * grid[:, None]).sum(-2)
    variance = (mass * (grid[:, None] - mean[..., None, :]).square()).sum(-2)
    for found, expected in zip(model.moments(inputs), (mean, variance.sqrt()), strict=True):
        assert found.shape == (*model.lead, steps, 1 + OBS)
        torch.testing.assert_close(found, expected[..., None, :].expand_as(found), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(model.moments(inputs)[0], model.mean(inputs))


@pytest.mark.parametrize("name", names("dynamics"))
def test_a_model_s_samples_are_differentiable(name: str) -> None:
    """In every input of their own row, and in no other row."""
    model, draws = build("dynamics", small("dynamics", name), context()), streams([0, 1], CPU)["model"]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)  # one that begins as a constant depends on its inputs too
    obs_action = draws.normal(8, OBS + ACT).requires_grad_()
    reward, next_obs = model.sample(obs_action, draws.uniform(8, 1 + OBS), draws.normal(8, 1 + OBS))
    (slopes,) = torch.autograd.grad(reward[:, 3].sum() + next_obs[:, 3].sum(), obs_action)
    assert slopes.isfinite().all() and slopes[:, 3].all()
    assert not slopes[:, :3].any() and not slopes[:, 4:].any()


@pytest.mark.parametrize("name", names("backbone"))
def test_a_backbone_goes_on_from_its_state(name: str) -> None:
    """Told of its model where it is built, it needs no rollout to go on; its reports have the same names every time."""
    view, model = situation(), build("dynamics", small("dynamics", "ensemble"), context())
    task = Task(OBS, ACT, sum, never)
    backbones = [build("backbone", small("backbone", name, updates_per_burst=3), context()) for _ in range(2)]
    for backbone in backbones:
        backbone.bind(model, task)
    original, restored = backbones
    if original.uses_model:
        original.rollout(model, view.replay, task, view.stream)
    original.burst(view.replay, view.stream)
    reports = [original.report()]
    restored.load_state_dict(copy.deepcopy(original.state_dict()))
    assert restored.updates == 3
    for backbone in backbones:
        backbone.burst(view.replay, streams([0, 1], CPU)["replay"])
        reports.append(backbone.report())
    assert reports[0].keys() == reports[1].keys() == reports[2].keys()
    for key, number in reports[1].items():
        assert number.shape == (2,)
        torch.testing.assert_close(number, reports[2][key], rtol=0.0, atol=0.0, equal_nan=True)
    for ours, theirs in zip(original.policy.parameters(), restored.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__module__.removeprefix("tom.settings."))
def test_every_setting_says_what_it_is_and_refuses_what_it_cannot_be(cls: Any) -> None:
    assert list(problems(cls(), "x")) == []
    for field in dataclasses.fields(cls):
        rule = field.metadata
        assert rule["origin"], field.name
        assert rule["help"], field.name
        assert "unit" in rule, field.name
        refused: list[Any] = ["no such word", None]
        if "low" in rule:
            assert rule["low"] <= field.default <= rule["high"], field.name
            refused += [rule["low"] - 1, math.nan, True]
            if math.isfinite(rule["high"]):
                refused.append(rule["high"] * 2 + 1)
            if isinstance(field.default, int):
                refused.append(field.default + 0.5)
        else:
            refused.append(3)
        for value in refused:
            (sentence,) = problems(replace(cls(), **{field.name: value}), "part")
            assert sentence.startswith(f"part.{field.name}={value} is ")
            assert "valid" in sentence


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_s_name_is_its_file_s(kind: str) -> None:
    for name in names(kind):
        assert settings_class(kind, name)().name == name
        assert [sentence for sentence in problems(settings_class(kind, name)(name="other"), kind)]
