"""What the benchmark compares a part with: the matrix products it names, counted and done; and what a report says."""

import copy
import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.checks.bench import report
from pipeline.checks.bench.measure import Timing, measure, step_ms
from pipeline.checks.bench.part import Part, rows_each
from pipeline.checks.bench.parts import agent, parts
from pipeline.checks.bench.products import Product, forward, input_gradients, runner, training, weight_gradients
from pipeline.config.compose import compose_cell
from tests.commands import complaint, typed

SIZES = (14, 256, 256, 1)


def gflop(products: list[Product]) -> float:
    return sum(product.gflop for product in products)


def test_an_mlp_s_products_are_counted() -> None:
    """2 * 256 rows * (14 * 256 + 256 * 256 + 256) multiplications and additions, for each network of the stack."""
    once = 2e-9 * 256 * (14 * 256 + 256 * 256 + 256)
    assert gflop(forward(256, SIZES)) == pytest.approx(once)
    assert gflop(forward(256, SIZES, stack=2)) == pytest.approx(2 * once)
    assert gflop(weight_gradients(256, SIZES)) == pytest.approx(once)
    assert gflop(input_gradients(256, SIZES)) == pytest.approx(once)
    inner = 2e-9 * 256 * (256 * 256 + 256)
    assert gflop(training(256, SIZES)) == pytest.approx(2 * once + inner)


def test_the_products_of_a_sac_update_on_hopper_are_the_known_floor() -> None:
    """0.57 GFLOP: the critics' weight gradients are not computed in the actor's step."""
    made = agent(compose_cell("sac", "hopper", "paper"), 300)
    update = next(part for part in parts(made) if part.name == "SAC update")
    assert gflop(update.products) == pytest.approx(0.565, abs=0.005)
    assert update.per_env_step == 5.0


def test_a_path_s_products_are_those_of_its_steps() -> None:
    """Beside SAC's: a step forward and backward through policy and model; of an ensemble each member has its chunk."""
    mine, sac = (agent(compose_cell(method, "hopper", "paper"), 300) for method in ("maac", "mbpo"))
    update, plain = (list(itertools.islice(parts(made), 2))[1] for made in (mine, sac))
    assert (update.name, plain.name) == ("update, paths of 4", "SAC update")
    step = forward(256, (14, 200, 200, 200, 200, 360)) + input_gradients(256, (14, 200, 200, 200, 200, 360))
    step += training(256, (11, 256, 256, 6)) + input_gradients(256, (11, 256))
    assert gflop(update.products) == pytest.approx(gflop(plain.products) + 4 * gflop(step))
    chunked = agent(compose_cell("dhmbpo", "hopper", "paper"), 300)
    assert rows_each(chunked, 256) == 32 and rows_each(mine, 256) == 256


def test_an_expanded_value_s_products_are_those_of_its_steps() -> None:
    """A step more: policy and both critics once more, the model's seven members forward and back to their inputs."""
    short, long = (
        agent(compose_cell("moto", "hopper", "paper", [f"backbone.horizon={steps}"]), 300) for steps in (5, 6)
    )
    one, other = (list(itertools.islice(parts(made), 2))[1] for made in (short, long))
    assert one.name == "update, values expanded over 5"
    model, critic, policy = (14, 200, 200, 200, 200, 24), (14, 256, 256, 1), (11, 256, 256, 6)
    step = (
        forward(256, model, 7)
        + input_gradients(256, model, 7)
        + training(256, policy)
        + input_gradients(256, (11, 256))
    )
    step += 2 * forward(256, critic, 2) + input_gradients(256, critic, 2)
    critics = gflop(training(6 * 256, critic, 2)) - gflop(training(5 * 256, critic, 2))
    assert gflop(other.products) == pytest.approx(gflop(one.products) + gflop(step) + critics)


@pytest.mark.parametrize(
    "product", [*forward(5, (3, 4), 2), *weight_gradients(5, (3, 4), 2), *input_gradients(5, (3, 4))]
)
def test_products_are_done_at_their_shapes(product: Product) -> None:
    (found,) = runner([product])()  # type: ignore[misc]
    assert found.shape == (product.stack, product.rows, product.columns)


@pytest.mark.parametrize(
    ("method", "weighs"),
    [
        ("mbpo", []),
        ("tom", ["dual on 400 rows, a round"]),
        ("tom_mlp", ["dual-Q step", "weights of 400 rows, a round"]),
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
    timings = [measure(part, repeats=1) for part in parts(made, epochs_per_round=2)]
    assert all(t.ms > 0.0 and math.isfinite(t.ms) for t in timings)
    assert [t.part for t in timings if not t.counted][-1].startswith("evaluation of 2 episodes")
    assert [t.part for t in timings if t.part.startswith(("dual", "weights"))] == weighs
    assert step_ms(timings) == pytest.approx(sum(t.ms * t.per_env_step for t in timings if t.counted))


def test_the_clock_sees_what_a_part_does() -> None:
    """Three hundred products of 256 x 256 against their own: the ratio is near 3 when the part does them thrice."""
    square = torch.randn(1, 256, 256)
    part = Part(
        "thrice", lambda: [torch.bmm(square, square) for _ in range(300)], 1, [Product(1, 256, 256, 256)], 1.0, 100
    )
    timing = measure(part)
    assert 1.5 < timing.ms / timing.products_ms < 6.0
    assert timing.gflop == pytest.approx(100 * 2e-9 * 256**3)


def timing(part: str, ms: float, gflop: float = 1.0, counted: bool = True) -> dict[str, Any]:
    return dict(vars(Timing(part, 2.0, gflop, 100.0, 5.0, 10.0, ms, counted)))


def found(ms: float = 15.0) -> dict[str, Any]:
    parts = {"hopper": [timing("SAC update", ms), timing("step", 3.0, gflop=0.0), timing("pass", 7.0, counted=False)]}
    row = {"protocol": "paper", "env": "hopper", "method": "tom", "env_steps": 125_000}
    return {
        "machine": {**report.machine(), "cpu": "Some (R) CPU @ 2"},
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
