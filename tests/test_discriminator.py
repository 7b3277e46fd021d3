"""The discriminator on data whose density ratio is known, its loss by hand, its penalty by finite differences."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.checks.calibration import ACT, CPU, CURRENT, OBS, gaussian_rows
from tom.core.replay import Transitions
from tom.core.streams import Stream, streams
from tom.occupancy.discriminator import Discriminator, cross_entropy, features
from tom.settings.weightings.tom import Settings

WIDTH = 2 * OBS + ACT
SPREADS = torch.logspace(-2.0, 1.0, WIDTH)  # radians beside velocities


def gaussian_task(shift: float, seed: int) -> tuple[Transitions, Transitions, Tensor, Stream]:
    """The newest rows, the buffer they are the last tenth of, and log p / q of every row of the buffer."""
    rows, log_ratio = gaussian_rows(shift, seed, SPREADS)
    buffer = Transitions(rows[None], OBS, ACT)
    return buffer.like(rows[None, -CURRENT:]), buffer, log_ratio[None], streams([seed], CPU)["weighting"]


def test_the_logit_is_the_log_ratio() -> None:
    """With the published budget; measured on two seeds: correlation .95 and .96, error of w 40 % of that of w = 1."""
    current, buffer, truth, stream = gaussian_task(0.5, seed=0)
    discriminator = Discriminator(Settings(), 1, OBS, ACT, stream)
    held_out = discriminator.fit(current, buffer, stream)
    logit = discriminator.log_ratio(buffer)
    assert float(torch.corrcoef(torch.stack([logit[0], truth[0]]))[0, 1]) > 0.92
    weights, true_weights = (values.exp() / values.exp().mean() for values in (logit, truth))
    assert (weights - true_weights).square().mean() < 0.25 * (1.0 - true_weights).square().mean()
    assert float(held_out) < 2.0 * math.log(2.0) - 0.05


def test_nothing_to_find_gives_nearly_equal_weights() -> None:
    current, buffer, _, stream = gaussian_task(0.0, seed=1)
    discriminator = Discriminator(Settings(), 1, OBS, ACT, stream)
    held_out = discriminator.fit(current, buffer, stream)
    weights = discriminator.log_ratio(buffer).exp()
    assert float((weights / weights.mean()).std()) < 0.25
    # Chance is 2 log 2; what is learned by heart costs a little on rows that were held out.
    assert float(held_out) == pytest.approx(2.0 * math.log(2.0), abs=0.05)


SMALL = Settings(discriminator_hidden=16, discriminator_updates=20, discriminator_batch=32)


def test_the_scale_of_the_inputs_does_not_matter() -> None:
    logits = []
    for scale in (1.0, 64.0):  # a power of two: nothing is rounded
        current, buffer, _, stream = gaussian_task(0.5, seed=0)
        rows = buffer.like(buffer.data * scale), current.like(current.data * scale)
        discriminator = Discriminator(SMALL, 1, OBS, ACT, stream)
        discriminator.fit(rows[1], rows[0], stream)
        logits.append(discriminator.log_ratio(rows[0]))
    torch.testing.assert_close(*logits, atol=1e-4, rtol=1e-4)


def test_replicas_learn_from_their_own_rows() -> None:
    tasks = [gaussian_task(shift, seed) for seed, shift in enumerate((0.0, 1.0))]
    both = streams([0, 1], CPU)["weighting"]
    discriminator = Discriminator(SMALL, 2, OBS, ACT, both)
    current = tasks[0][0].like(torch.cat([task[0].data for task in tasks]))
    buffer = current.like(torch.cat([task[1].data for task in tasks]))
    held_out = discriminator.fit(current, buffer, both)
    for replica, (current, buffer, _, stream) in enumerate(tasks):
        alone = Discriminator(SMALL, 1, OBS, ACT, stream)
        expected = alone.fit(current, buffer, stream)
        torch.testing.assert_close(held_out[replica], expected[0], atol=1e-4, rtol=1e-4)


def test_penalty_is_the_squared_slope_at_points_between_the_classes() -> None:
    stream = streams([0, 1], CPU)["weighting"]
    discriminator = Discriminator(replace(SMALL, gradient_penalty=3.0), 2, 2, 1, stream).double()
    current, buffer, mixture = torch.randn(3, 2, 7, 5, dtype=torch.float64).unbind()
    mixture = mixture[..., :1].sigmoid()
    between = mixture * current + (1.0 - mixture) * buffer
    step, slopes = 1e-5, []
    with torch.no_grad():
        for axis in torch.eye(5, dtype=torch.float64):
            slopes.append((discriminator(between + step * axis) - discriminator(between - step * axis)) / (2.0 * step))
        penalty = torch.stack(slopes).square().sum(0).mean(-1)
        entropy = cross_entropy(discriminator(current), discriminator(buffer))
    torch.testing.assert_close(discriminator.loss(current, buffer, mixture).detach(), entropy + 3.0 * penalty)
    assert penalty.min() > 1e-4


def test_every_parameter_is_trained() -> None:
    current, buffer, _, stream = gaussian_task(0.5, seed=0)
    discriminator = Discriminator(SMALL, 1, OBS, ACT, stream)
    before = [p.clone() for p in discriminator.parameters()]
    discriminator.fit(current, buffer, stream)
    assert all(not torch.equal(old, new) for old, new in zip(before, discriminator.parameters(), strict=True))


def test_cross_entropy_by_hand() -> None:
    """Positives at logit log 3 (probability 3/4) and 0, negatives at -log 3 (1/4): -log of what was right."""
    positives, negatives = torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[-math.log(3.0), -math.log(3.0)]])
    expected = -(math.log(0.75) + math.log(0.5)) / 2.0 - math.log(0.75)
    assert float(cross_entropy(positives, negatives)) == pytest.approx(expected)
    assert float(cross_entropy(torch.zeros(1, 5), torch.zeros(1, 5))) == pytest.approx(2.0 * math.log(2.0))
    assert float(cross_entropy(torch.tensor([[-200.0]]), torch.tensor([[200.0]]))) == pytest.approx(400.0)


def test_features_are_the_transition_without_its_reward_and_ends() -> None:
    rows = Transitions(torch.arange(float(WIDTH + 3)), OBS, ACT)
    assert torch.equal(features(rows), torch.cat([rows.obs, rows.data[OBS : OBS + ACT], rows.next_obs]))
