"""The verdicts of `pipeline.checks.fidelity`: what is inside a bound, and what a missed one does to the exit code."""

import math
import statistics
from itertools import combinations

import pytest
import torch

from pipeline.checks import fidelity, learns
from pipeline.checks.calibration import gaussian_rows
from pipeline.checks.fidelity import SPREADS, SPREADS_OF_ACTIONS, Check
from pipeline.checks.learns import PENDULUM, RUNNER, overrides_of
from pipeline.config.params import load_params
from pipeline.files import ROOT


@pytest.mark.parametrize(("value", "met"), [(0.5, True), (0.7, True), (0.71, False), (0.49, False), (math.nan, False)])
def test_a_bound_belongs_to_its_range(value: float, met: bool) -> None:
    check = Check("correlation", value, 0.5, 0.7)
    assert check.met is met
    assert str(check).endswith("MISSED") is not met


# Of the authors' own discriminator, loader and loop (TOM@4d196c3) on these rows, seeds 0 to 5.
AUTHORS = {
    0.0: (0.452, 0.417, 0.414, 0.402, 0.469, 0.429),
    0.5: (0.334, 0.354, 0.366, 0.276, 0.327, 0.329),
    1.0: (0.496, 0.501, 0.519, 0.427, 0.482, 0.563),
}


@pytest.mark.parametrize("shift", AUTHORS)
def test_the_authors_own_discriminator_is_not_refused(shift: float) -> None:
    """Whichever three of their seeds; and `tom`, which is another thing, is."""
    assert fidelity.RELEASED[shift] == pytest.approx(statistics.mean(AUTHORS[shift]), abs=1e-3)
    bounds = fidelity.RANGES["tom_official"][shift]
    assert all(Check("", statistics.mean(three), *bounds).met for three in combinations(AUTHORS[shift], 3))
    assert not Check("", {0.0: 0.187, 0.5: 0.955, 1.0: 0.978}[shift], *bounds).met


@pytest.mark.parametrize(("capacity", "pendulum", "code"), [(1.0, 1000.0, 0), (3.0, 1000.0, 1), (1.0, 20.0, 1)])
def test_a_missed_bound_is_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capacity: float, pendulum: float, code: int
) -> None:
    monkeypatch.setattr(fidelity, "capacity_checks", lambda: iter([Check("small", capacity, high=2.0)]))
    for slow in ("steadiness_checks", "discriminator_checks"):
        monkeypatch.setattr(fidelity, slow, lambda: iter([]))
    monkeypatch.setattr(learns, "train_missing", lambda *arguments: None)
    returns = iter([pendulum, 1000.0, pendulum])
    monkeypatch.setattr(learns, "score", lambda cell: next(returns))
    assert fidelity.fidelity(jobs=1) == code


def test_the_log_ratio_is_that_of_the_two_densities() -> None:
    """E_q exp(r) = 1, and r is below log 10: a tenth of the buffer cannot be denser than ten times the buffer."""
    spreads = torch.tensor([*SPREADS, *SPREADS_OF_ACTIONS, *SPREADS])
    rows, log_ratio = gaussian_rows(0.5, 0, spreads)
    assert rows.shape == (10_000, 28)
    assert float(log_ratio.exp().mean()) == pytest.approx(1.0, abs=0.02)
    assert float(log_ratio.max()) < math.log(10.0)
    old = rows[:9_000, :25]
    torch.testing.assert_close(old.std(0), spreads, rtol=0.05, atol=0.0)
    moved = (rows[-1_000:, 0].mean() - old[:, 0].mean()) / spreads[0]
    assert float(moved) == pytest.approx(0.5, abs=0.1)


def test_learns_asks_for_the_runs_that_the_suite_has() -> None:
    """On HalfCheetah those of `crossings`, tried on fresh rows; on InvertedPendulum, which it has not, its own."""
    params = load_params(ROOT)
    every = params.suites["crossings"].scales["quick"]["train"]["probe_every_env_steps"]
    assert overrides_of(params, RUNNER) == [f"train.probe_every_env_steps={every}"]
    assert overrides_of(params, PENDULUM) == ["train.total_env_steps=10000"]
