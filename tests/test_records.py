"""The files of a run: their bytes for given numbers."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runs.records import Writer, _text, rows_so_far


def write(folder: Path) -> None:
    ticks = itertools.count(0, 0.5)
    with Writer(folder, clock=lambda: next(ticks)) as writer:
        writer.evaluation(0, np.array([1.0, 3.0]), np.array([10, 20]))
        writer.round(250, {"model/loss": 0.1, "weighting/clipped": float("nan"), "count": 3.0})
        writer.round(500, {"count": 4.0, "model/loss": 1e-9, "weighting/clipped": 1 / 3})
        writer.evaluation(500, np.array([0.1 + 0.2]), np.array([7]))
        writer.policy({"0.weight": np.eye(2, dtype=np.float32)})


def test_the_bytes(tmp_path: Path) -> None:
    write(tmp_path)
    assert (tmp_path / "evals.csv").read_text() == (
        "env_steps,return_mean,return_std,return_min,return_max,length_mean\n"
        "0,2.0,1.0,1.0,3.0,15.0\n"
        "500,0.30000000000000004,0.0,0.30000000000000004,0.30000000000000004,7.0\n"
    )
    assert (tmp_path / "train.csv").read_text() == (
        "env_steps,model/loss,weighting/clipped,count\n250,0.1,,3.0\n500,1e-09,0.3333333333333333,4.0\n"
    )
    assert (tmp_path / "timing.csv").read_text() == "env_steps,wall_s,env_steps_per_s\n0,0.5,0.0\n500,1.0,1000.0\n"
    policy = np.load(tmp_path / "policy.npz", allow_pickle=False)
    assert policy["0.weight"].dtype == np.float32
    assert policy["0.weight"].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    for name in ("evals.csv", "train.csv", "policy.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_killed_run_keeps_its_rows(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.evaluation(0, np.array([1.0]), np.array([1]))
    writer.round(250, {"loss": 1.0})
    assert (tmp_path / "evals.csv").read_text().count("\n") == 2
    assert (tmp_path / "train.csv").read_text().count("\n") == 2
    with writer:
        pass


def test_tables_that_are_there_are_gone_on_with(tmp_path: Path) -> None:
    """Half of it by one process and half by another that begins with 0.5 s on the clock: the bytes of one process."""
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    for folder in (whole, halves):
        folder.mkdir()
    write(whole)
    with Writer(halves, clock=itertools.count(0, 0.5).__next__) as writer:
        writer.evaluation(0, np.array([1.0, 3.0]), np.array([10, 20]))
        writer.round(250, {"model/loss": 0.1, "weighting/clipped": float("nan"), "count": 3.0})
    with Writer(halves, wall_s=0.5, clock=itertools.count(70, 0.5).__next__) as writer:
        assert writer.last_return == 2.0
        writer.round(500, {"count": 4.0, "model/loss": 1e-9, "weighting/clipped": 1 / 3})
        writer.evaluation(500, np.array([0.1 + 0.2]), np.array([7]))
        writer.policy({"0.weight": np.eye(2, dtype=np.float32)})
        assert writer.last_return == 0.1 + 0.2
    for name in ("evals.csv", "train.csv", "timing.csv", "policy.npz"):
        assert (halves / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_run_that_goes_on_before_its_first_round_gets_its_columns_then(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.evaluation(0, np.array([1.0]), np.array([1]))  # killed here
    with Writer(tmp_path) as writer:
        writer.round(250, {"loss": 1.0})
    assert (tmp_path / "train.csv").read_text() == "env_steps,loss\n250,1.0\n"
    assert (tmp_path / "evals.csv").read_text().count("env_steps") == 1


def test_before_the_first_evaluation_the_last_return_is_unknown(tmp_path: Path) -> None:
    for _ in range(2):  # the second time with headers alone
        with Writer(tmp_path) as writer:
            assert np.isnan(writer.last_return)
    assert (tmp_path / "timing.csv").read_text() == "env_steps,wall_s,env_steps_per_s\n"


def test_rows_so_far_are_in_the_order_in_which_they_were_tracked(tmp_path: Path) -> None:
    assert rows_so_far(tmp_path) == []
    with Writer(tmp_path) as writer:
        for env_steps in (0, 500, 1_000):
            told = [writer.evaluation(env_steps, np.array([1.0, env_steps]), np.array([3, 4]))]
            if env_steps:
                writer.round(env_steps, {"loss": 0.1 + 0.2, "clipped": float("nan")})
                writer.round(env_steps + 250, {"loss": 1e-9, "clipped": float("inf")})
    rows = rows_so_far(tmp_path)
    assert [(env_steps, "loss" in numbers) for env_steps, numbers in rows] == [
        (0, False), (500, False), (500, True), (750, True), (1_000, False), (1_000, True), (1_250, True),
    ]  # fmt: skip
    assert rows[4][1] == {f"eval/{name}": value for name, value in told[-1].items()}
    np.testing.assert_equal(rows[2][1], {"loss": 0.1 + 0.2, "clipped": float("nan")})
    assert rows[3][1] == {"loss": 1e-9, "clipped": float("inf")}
    assert all(isinstance(env_steps, int) for env_steps, _ in rows)


def test_a_run_without_a_round_has_an_empty_table(tmp_path: Path) -> None:
    with Writer(tmp_path) as writer:
        writer.evaluation(0, np.array([1.0]), np.array([1]))
    assert (tmp_path / "train.csv").read_text() == "env_steps\n"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_return_that_is_not_finite_ends_the_run(bad: float, tmp_path: Path) -> None:
    with Writer(tmp_path) as writer, pytest.raises(ArithmeticError, match="not finite at env step 10"):
        writer.evaluation(10, np.array([1.0, bad]), np.array([1, 1]))


@given(st.floats(allow_nan=False))
def test_numbers_read_back_as_they_were(value: float) -> None:
    assert float(_text(value)) == value
    assert float(_text(np.float64(value))) == value
