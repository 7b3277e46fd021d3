"""What the benchmark compares a part with: the matrix products it names, counted and done; and what a report says."""

import copy
import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.checks.bench import report
from pipeline.checks.bench.measure import Part, Timing, measure, step_ms
from pipeline.checks.bench.parts import agent, update_part
from pipeline.checks.bench.parts import parts as parts_of
from pipeline.checks.bench.products import Counted, Product, runner
from pipeline.config.compose import compose_cell
from tests.commands import complaint, typed

MODEL, CRITIC, POLICY = (14, 200, 200, 200, 200, 360), (14, 256, 256, 1), (11, 256, 256, 6)  # on Hopper


def mlp(sizes: Sequence[int], stack: int = 1, rows: int = 256) -> float:
    """GFLOP of an MLP's layers on so many rows: 2 * rows * fan-in * fan-out each."""
    return 2e-9 * stack * rows * sum(fan_in * fan_out for fan_in, fan_out in pairwise(sizes))


def trained(sizes: Sequence[int], stack: int = 1, rows: int = 256) -> float:
    """Forward, the weights' gradients, and those of the inner layers' inputs on the way."""
    return 2 * mlp(sizes, stack, rows) + mlp(sizes[1:], stack, rows)


def update_gflop(method: str, *changes: str) -> float:
    """GFLOP of an update at the published sizes on Hopper, as they are counted while it is done."""
    part = update_part(agent(compose_cell(method, "hopper", "paper", changes), 300))
    return sum(product.gflop * count for product, count in part.counts().items()) / part.units


def test_an_mlp_s_products_are_counted() -> None:
    """Forward, backward to the weights and the inner layers; of a stack, and with what is added to the products."""
    for stack, sizes in ((1, CRITIC), (2, POLICY)):
        weights = [torch.randn(stack, *pair, requires_grad=True) for pair in pairwise(sizes)]
        with Counted() as seen:
            x = torch.randn(stack, 256, sizes[0])
            for weight in weights:
                x = torch.baddbmm(torch.zeros(stack, 1, weight.shape[-1]), x, weight)
            x.sum().backward()
        assert sum(p.gflop * count for p, count in seen.products.items()) == pytest.approx(trained(sizes, stack))
    with Counted() as seen:
        torch.nn.Sequential(torch.nn.Linear(14, 8), torch.nn.Linear(8, 1))(torch.randn(5, 14))
    assert {(p.rows, p.inner, p.columns, p.turned) for p in seen.products} == {(5, 14, 8, "right"), (5, 8, 1, "")}


def test_the_products_of_a_sac_update_on_hopper_are_the_known_floor() -> None:
    """0.57 GFLOP: the critics' weight gradients are not computed in the actor's step."""
    learn = mlp(POLICY) + mlp(CRITIC, 2) + trained(CRITIC, 2)
    act = trained(POLICY) + 2 * mlp(CRITIC, 2)
    assert update_gflop("sac") == pytest.approx(learn + act)
    assert learn + act == pytest.approx(0.565, abs=0.005)


def test_a_path_s_products_are_those_of_its_steps() -> None:
    """Beside SAC's: a step forward and backward through policy and model.

    Of an ensemble each member has its chunk; where the critics' targets follow paths too, a step forward more.
    """
    step = 2 * mlp(MODEL) + trained(POLICY) + mlp((11, 256))
    assert update_gflop("maac") == pytest.approx(update_gflop("mbpo") + 4 * step)
    ensemble = 3 * mlp((*MODEL[:-1], 24), 8, rows=32) + trained(POLICY) + mlp((11, 256)) + mlp(POLICY)
    shorter = update_gflop("dhmbpo", "backbone.path_length=4")
    assert update_gflop("dhmbpo", "backbone.path_length=5") == pytest.approx(shorter + ensemble)


def test_an_expanded_value_s_products_are_those_of_its_steps() -> None:
    """A step more: policy and both critics once more, the model's seven members forward and back to their inputs."""
    step = 2 * mlp((*MODEL[:-1], 24), 7) + trained(POLICY) + mlp((11, 256)) + 3 * mlp(CRITIC, 2)
    critics = trained(CRITIC, 2, rows=6 * 256) - trained(CRITIC, 2, rows=5 * 256)
    short, long = (update_gflop("moto", f"backbone.horizon={steps}") for steps in (5, 6))
    assert long == pytest.approx(short + step + critics)


NAMES = {"sac": "SAC update", "maac": "update, paths of 4", "moto": "update, values expanded over 5"}


@pytest.mark.parametrize("method", NAMES)
def test_an_update_is_called_by_what_it_does(method: str) -> None:
    part = update_part(agent(compose_cell(method, "hopper", "paper"), 300))
    assert (part.name, part.per_env_step) == (NAMES[method], 5.0)


@pytest.mark.parametrize("turned", ["", "left", "right"])
def test_products_are_done_at_their_shapes(turned: str) -> None:
    wanted = {Product(2, 5, 3, 4, turned): 3, Product(1, 5, 4, 2, turned): 1}
    with Counted() as seen:
        runner(wanted)()
    assert seen.products == wanted


@pytest.mark.parametrize(
    ("method", "weighs"),
    [
        ("mbpo", []),
        ("tom", ["dual on 400 rows, a round"]),
        ("tom_mlp", ["dual-Q step", "weights of 400 rows, a round"]),
        ("ampl", ["weights of 400 rows, a round"]),
        ("rama", ["weights of 400 rows, a round"]),
        ("vagram_ensemble", []),
        ("sac", []),
        ("maac", []),
        ("dhmbpo", []),
        ("moto", []),
        ("planner", []),
    ],
)
def test_every_part_of_a_method_runs_and_is_timed(method: str, weighs: list[str]) -> None:
    made = agent(compose_cell(method, "hopper", "smoke"), 400, (0, 1))
    timings = [measure(part, repeats=1) for part in parts_of(made, epochs_per_round=2)]
    assert all(t.ms > 0.0 and math.isfinite(t.ms) for t in timings)
    assert [t.part for t in timings if not t.counted][-1].startswith("evaluation of 2 episodes")
    assert [t.part for t in timings if t.part.startswith(("dual", "weights"))] == weighs
    assert step_ms(timings) == pytest.approx(sum(t.ms * t.per_env_step for t in timings if t.counted))


def test_the_clock_sees_what_a_part_does() -> None:
    """Three hundred products of 256 x 256 against their own: the ratio is near 3 when the part does them thrice."""
    square = torch.randn(1, 256, 256)
    run = lambda: [torch.bmm(square, square) for _ in range(300)]  # noqa: E731
    part = Part("thrice", run, 1, 1.0, [Product(1, 256, 256, 256)] * 100)
    timing = measure(part)
    assert 1.5 < timing.ms / timing.products_ms < 6.0
    assert timing.gflop == pytest.approx(100 * 2e-9 * 256**3)


def timing(part: str, ms: float, gflop: float = 1.0, counted: bool = True) -> dict[str, Any]:
    return dict(vars(Timing(part, 2.0, gflop, 100.0, 5.0, 10.0, ms, counted)))


def found(ms: float = 15.0) -> dict[str, Any]:
    parts = {"hopper": [timing("SAC update", ms), timing("step", 3.0, gflop=0.0), timing("pass", 7.0, counted=False)]}
    row = {"protocol": "paper", "env": "hopper", "method": "tom", "env_steps": 125_000}
    return {
        "machine": {**report.machine("cpu"), "cpu": "Some (R) CPU @ 2"},
        "parts": parts,
        "replay": {"rows": 10, "rows_grown": 300, "ms": 100.0, "ms_grown": 103.0, "ratio": 1.03},
        "seeds": [{"seeds": 1, "ms_per_seed": 100.0, "ratio": 1.0}],
        "hours": [{**row, "ms_per_env_step": 100.0, "hours": 3.5}],
    }


def test_a_report_is_written_whole_and_read_back(tmp_path: Path) -> None:
    path = report.write(found(), tmp_path)
    assert path.name == "some-r-cpu-2.json"
    assert report.read(path) == found()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["some-r-cpu-2.json", "some-r-cpu-2.md"]
    table = (tmp_path / "some-r-cpu-2.md").read_text()
    assert "| SAC update | 2.000 | 1.000 | 5.00 | 10.00 | 15.00 | 1.50 | 30.00 |" in table
    assert "| **sum** |  |  | 20.0 | 40.0 | 36.0 | 0.90 | 27.8 env steps/s |" in table
    assert "× 1.030" in table
    assert "| paper | hopper | tom | 125,000 | 100 | 3.5 |" in table


@pytest.mark.parametrize(("after", "code", "word"), [(15.1, 0, ""), (18.0, 1, "slower"), (12.0, 0, "faster")])
def test_a_regression_is_named_and_is_an_exit_code(after: float, code: int, word: str, tmp_path: Path) -> None:
    paths = [report.write(found(ms), tmp_path / str(ms)) for ms in (15.0, after)]
    result = typed("check", "bench", "--compare", *paths)
    assert result.exit_code == code
    sac, step, whole = result.stdout.splitlines()[1:]
    assert sac.endswith(word or f"{after / 15.0 - 1.0:+.0%}")
    assert step.endswith("+0%")
    assert whole.startswith("hopper, pass")


def test_a_busy_processor_is_no_regression(tmp_path: Path) -> None:
    slow = copy.deepcopy(found())
    for t in slow["parts"]["hopper"]:
        t["ms"], t["products_ms"] = 2 * t["ms"], 2 * t["products_ms"]
    lines, slower = report.compare(found(), {**slow, "parts": {"hopper": slow["parts"]["hopper"][:1]}})
    assert not slower, lines


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"parts": {"hopper": [{"part": "SAC update"}]}}), "[1]"])
def test_what_is_no_report_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    result = typed("check", "bench", "--compare", tmp_path / "a.json", tmp_path / "missing.json")
    assert "a.json is not a report of" in complaint(result)
