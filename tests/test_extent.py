"""Where runs stop for now in params.yaml and on command lines, and what tables, figures and checks make of it."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from pipeline import compare, launch, plan
from pipeline.analysis.extent import extents, is_short, so_far, stops
from pipeline.analysis.results import ResultsError, read_grid, read_results
from pipeline.config.edit import edit_params
from pipeline.config.params import load_params, parse_params
from pipeline.config.refusals import check_until
from pipeline.engines.local import Local
from pipeline.files import ROOT
from pipeline.runs.folder import Cell
from pipeline.suites import recorded
from pipeline.suites.ablation import tables as ablation_tables
from pipeline.suites.ablation.cells import ABLATION
from pipeline.suites.age import figure as age_plot
from pipeline.suites.age import tables as age
from pipeline.suites.configure import cell_files
from pipeline.suites.returns.cells import cell_of
from pipeline.suites.returns.figure import draw, read
from pipeline.suites.returns.tables import make as aggregate
from tests.commands import complaint, typed
from tests.results_on_disk import write_results
from tom.settings.fields import SettingsError

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
PARAMS = load_params()
LOOP = {"total_env_steps": 6500, "eval_every_env_steps": 1000}


def with_until(value: str, section: str = "grid") -> str:
    return re.sub(rf"(?m)^({section}:[^\n]*\n)", rf"\g<1>  until: {value}\n", TEXT, count=1)


# What can be asked for.


@pytest.mark.parametrize(("asked", "stop"), [(1000, 1000), (6000, 6000), (6500, None), (300_000, None)])
def test_a_run_stops_at_an_evaluation_that_it_has_anyway(asked: int, stop: int | None) -> None:
    assert check_until("until", asked, LOOP) == stop


@pytest.mark.parametrize(
    ("asked", "way_out"),
    [
        (999, "nearest valid value: 1000"),
        (1001, "nearest valid value: 1000 or 2000"),
        (6499, "nearest valid value: 6000 or 6500"),
        (0, "whole number of env steps from 1 on; valid example: 40000"),
        (-1, "valid example: 40000"),
        (1.5, "valid example: 40000"),
        (True, "valid example: 40000"),
        ("all", "valid example: 40000"),
    ],
)
def test_elsewhere_is_refused_with_a_way_out(asked: object, way_out: str) -> None:
    with pytest.raises(SettingsError, match=rf"until={asked} is not a .*{way_out}$"):
        check_until("until", asked, LOOP)


def test_every_grid_and_environment_has_its_own() -> None:
    assert PARAMS.grid.until_on("hopper") is None
    assert parse_params(with_until("3000")).grid.until_on("hopper") == 3000
    some = parse_params(with_until("{hopper: 2000, ant: 1000}"))
    assert [some.grid.until_on(env) for env in ("hopper", "ant", "halfcheetah")] == [2000, 1000, None]
    suite = parse_params(with_until("4000", "ablation")).suites["ablation"]
    assert suite.grid.until_on("halfcheetah") == 4000


@pytest.mark.parametrize(
    ("value", "section", "complaint"),
    [
        ("soon", "grid", "grid.until=soon is not a whole number of env steps"),
        ("[1000]", "grid", "grid.until="),
        ("{hoper: 1000}", "grid", "grid.until=hoper does not exist; nearest valid choice: hopper"),
        ("{hopper: -1}", "grid", "grid.until.hopper=-1 is not a whole number of env steps"),
        ("1.5", "ablation", "ablation.until=1.5 is not a whole number of env steps"),
        ("1000", "weights", "weights.until=1000 cannot be, since a cell of this suite is made in one piece"),
    ],
)
def test_rubbish_in_params_is_one_sentence(value: str, section: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=f"^params.yaml: {re.escape(complaint)}"):
        parse_params(with_until(value, section))


def test_it_is_in_the_file_of_a_cell_only_where_there_is_one() -> None:
    grid = replace(PARAMS.grid, methods=("mbpo",), envs=("hopper", "halfcheetah"))
    plain, stopping = (
        cell_files(replace(PARAMS, grid=replace(grid, until=until)), ROOT) for until in (None, {"hopper": 3000})
    )
    hopper, other = plain
    assert plain[other] == stopping[other]
    assert json.loads(stopping[hopper]) == {**json.loads(plain[hopper]), "until": 3000}
    beyond = cell_files(replace(PARAMS, grid=replace(grid, until=6500)), ROOT)
    assert beyond == plain
    with pytest.raises(SettingsError, match=r"grid\.until=3100 .* \(method mbpo, env hopper, scale quick\)"):
        cell_files(replace(PARAMS, grid=replace(grid, until=3100)), ROOT)


def test_a_suite_s_cells_have_it_too_and_need_a_round() -> None:
    suite = PARAMS.suites["ablation"]
    assert suite is not None
    suite = replace(suite, grid=replace(suite.grid, methods=suite.grid.methods[:2]))
    config = {"methods": {"tom": cell_of("tom", "halfcheetah", 0, "quick").config}}
    for until, found in ((None, None), (2000, 2000), (7000, None)):
        params = replace(PARAMS, suites={"ablation": replace(suite, grid=replace(suite.grid, until=until))})
        assert ABLATION.stop(params, "halfcheetah", config) == found
    with pytest.raises(SettingsError, match=r"ablation.until=1000 is not above train.warmup_env_steps=1000"):
        ABLATION.stop(
            replace(PARAMS, suites={"ablation": replace(suite, grid=replace(suite.grid, until=1000))}),
            "halfcheetah",
            config,
        )


def test_it_is_no_part_of_the_fingerprint() -> None:
    cell = Cell("tom", "hopper", 0, "smoke", {"env": "hopper"}, "code")
    assert replace(cell, until=100).fingerprint == cell.fingerprint


# What a launcher writes.


@pytest.mark.parametrize("suite", ["", "ablation"])
def test_it_is_written_where_it_belongs_and_taken_out_to_the_byte(suite: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT)
    for step in ("3000", "4000"):
        params = edit_params(tmp_path, until=step, suite=suite)
        grid = params.suites["ablation"].grid if suite else params.grid
        assert grid.until == int(step)
        assert len(path.read_text().splitlines()) == len(TEXT.splitlines()) + 1
    edit_params(tmp_path, scale="smoke", until="none", suite=suite)
    assert path.read_text() != TEXT
    edit_params(tmp_path, scale="quick", suite=suite)
    assert path.read_text() == TEXT


def test_one_by_environment_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(with_until("\n    hopper: 2000\n    halfcheetah: 3000"))
    assert edit_params(tmp_path, until="1000").grid.until == 1000
    edit_params(tmp_path, until="none")
    assert path.read_text() == TEXT


def test_params_are_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*paths: Path) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "params.yaml").write_text(TEXT)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        edit_params(tmp_path, scale="smoke")
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
    assert (tmp_path / "params.yaml").read_text() == TEXT


@pytest.mark.parametrize("word", ["3100", "soon", "0", ""])
def test_what_cannot_be_is_not_written(word: str) -> None:
    assert complaint(typed("repro", f"--until={word}"))
    assert (ROOT / "params.yaml").read_text(encoding="utf-8") == TEXT


def test_the_ablation_s_runs_are_told() -> None:
    cell = replace(CELLS[0], until=3000)
    assert ABLATION.command([cell])[-1] == "until=3000"
    assert "until" not in " ".join(ABLATION.command([CELLS[0]]))
    assert launch.stops([cell, CELLS[1]]) == ", as far as hopper 3,000 of 6,500 env steps"
    assert launch.stops(CELLS) == ""


CELLS = [cell_of("tom", "hopper", seed, "quick") for seed in (0, 1)]


def test_a_plan_is_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "begun", lambda cell: 1000 * cell.seed)
    monkeypatch.setattr("pipeline.engines.estimate.begun", lambda cell, root: 1000 * cell.seed)
    monkeypatch.setattr("pipeline.engines.estimate._speed", lambda *_: 1.8)
    lines = plan.described([replace(cell, until=3000) for cell in CELLS], 2, 1, Local())
    assert [line.split()[2:] for line in lines[1:3]] == [
        ["0", "3,000", "of", "6,500", "1.5", "h"],
        ["1", "1,000", "to", "3,000", "of", "6,500", "1.0", "h"],
    ]
    assert "2 of 2 cells at scale quick to train: 2.5 h of one core" in lines[3]
    assert "in runs/ to go on from" in lines[4]
    assert "grid.until=3100 is not a multiple" in complaint(typed("plan", "--until", 3100))


# What is recorded.


def test_how_far_in_words_and_numbers() -> None:
    assert so_far(40_000, 300_000) == "40,000 of 300,000"
    assert so_far(6_500, 6_500) == "6,500"
    part = {"env_steps": 200, "total_env_steps": 600}
    assert [is_short(part, until) for until in (100, 200, 300, None)] == [False, False, True, True]
    assert not is_short({**part, "env_steps": 600}, 10_000) and not is_short({}, 100)
    runs = pd.DataFrame({"env": ["ant", "hopper"], "env_steps": [5, 4000], "total_env_steps": [5, 9000]})
    assert extents(runs) == {"ant": "5", "hopper": "4,000 of 9,000"}
    assert stops(runs) == {"hopper": "4,000 of 9,000"} and stops(runs.drop(columns="total_env_steps")) == {}


def partial(root: Path, env: str, env_steps: int, total: int) -> None:
    for folder in root.glob(f"reports/results/quick/*/{env}/*"):
        (folder / "provenance.json").write_text(json.dumps({"env_steps": env_steps, "total_env_steps": total}))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Hopper as far as 200 of 900, HalfCheetah whole; each evaluated at 0, 100, 200."""
    write_results(tmp_path)
    partial(tmp_path, "hopper", 200, 900)
    return tmp_path


def ask(root: Path, until: str) -> None:
    text = re.sub(r"  until:.*\n", "", (root / "params.yaml").read_text())
    (root / "params.yaml").write_text(text + (f"  until: {until}\n" if until else ""))


def test_without_until_whole_runs_are_demanded(results: Path) -> None:
    with pytest.raises(ResultsError) as refusal:
        aggregate(results)
    assert str(refusal.value).endswith(
        "hopper/0/evals.csv goes as far as 200 of 900 env steps, and there is no grid.until: "
        "go on with `make repro`, or write `until: 200` below `grid:` in params.yaml"
    )
    ask(results, "300")
    with pytest.raises(ResultsError, match=r"200 of 900 env steps, and grid.until is 300"):
        aggregate(results)


def test_tables_are_cut_to_it_and_say_so(results: Path) -> None:
    ask(results, "{hopper: 100}")
    folder = aggregate(results)
    seeds = pd.read_csv(folder / "seeds.csv").groupby("env")[["env_steps", "total_env_steps"]].max()
    assert seeds.to_dict("index") == {
        "hopper": {"env_steps": 100, "total_env_steps": 900},
        "halfcheetah": {"env_steps": 200, "total_env_steps": 200},
    }
    assert "environment steps: Hopper 100 of 900, HalfCheetah 200." in (folder / "returns.md").read_text()
    curves = pd.read_csv(folder / "curves.csv")
    assert curves[curves["env"] == "hopper"]["env_steps"].max() == 100
    figure = draw(read(results), "plain", "return", "final")
    assert {ax.get_title(): ax.get_xlabel() for ax in figure.axes[:2]} == {
        "Hopper": "environment steps, 100 of 900",
        "HalfCheetah": "environment steps",
    }


def test_whole_runs_give_the_bytes_they_gave_before(tmp_path: Path) -> None:
    """What a record says of its length leaves no trace where the run is whole."""
    write_results(tmp_path)
    before = {path.name: path.read_bytes() for path in aggregate(tmp_path).iterdir()}
    for env in ("hopper", "halfcheetah"):
        partial(tmp_path, env, 200, 200)
    ask(tmp_path, "1000")
    assert {path.name: path.read_bytes() for path in aggregate(tmp_path).iterdir()} == before
    assert "total_env_steps" not in read_results(tmp_path / "reports/results", read_grid(tmp_path / "params.yaml"))


def test_weights_by_age_are_cut_too(results: Path) -> None:
    ask(results, "100")
    for number, path in enumerate(sorted(results.glob("reports/results/quick/*/*/*"))):
        rows = [",".join(["env_steps", *age.COLUMNS])]
        rows += [",".join([str(step), *(str(d + number) for d in range(10))]) for step in (50, 100, 150)]
        (path / "train.csv").write_text("\n".join(rows) + "\n")
    heatmap = pd.read_csv(age.make(results) / "heatmap.csv")
    assert set(heatmap["env_steps"]) == {50}, "the round at 100 comes before the step after 100"
    assert set(heatmap["so_far"]) == {"100 of 900", "100 of 200"}
    figure = age_plot.draw(heatmap, pd.read_csv(results / "reports/tables/age/older.csv"))
    assert [ax.get_xlabel() for ax in figure.axes[2:4]] == [
        f"environment steps at the refit, 100 of {total}" for total in (900, 200)
    ]


def test_a_comparison_is_of_equal_parts(results: Path) -> None:
    ask(results, "100")
    said = compare.compared(["mbpo", "tom"], "final", None, results / "out", results)
    assert "A: method mbpo, scale quick, so far halfcheetah 100 of 200, hopper 100 of 900" in said
    assert re.search(r"hopper +105\.0 +205\.0", said)
    for word in ("200", "none"):
        said = compare.compared(["mbpo", "tom"], "cumulative_max", word, results / "out", results)
        assert "so far hopper 200 of 900" in said
    with pytest.raises(SettingsError, match="until=soon is not a whole number of env steps from 1 on"):
        compare.compared(["mbpo", "tom"], "cumulative_max", "soon", None, results)


def test_the_ablation_says_how_far_it_goes(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("ablation: {scale: smoke, envs: [hopper], seeds: [0, 1]}")
    folders = [tmp_path / "reports/ablation/smoke/hopper" / str(seed) for seed in (0, 1)]
    made = {"scale": "smoke", "env": "hopper", "settings": "s", "origins": {}, "switches": {}, "runs": {}}
    for seed, folder in enumerate(folders):
        folder.mkdir(parents=True)
        record = made | {"seed": seed, "env_steps": 300, "total_env_steps": 600}
        (folder / "provenance.json").write_text(json.dumps(record))
    records = recorded.read_records(tmp_path, "ablation", ablation_tables.MEASURED)
    assert [recorded.extent(record) for record in records.values()] == ["300 of 600"] * 2
    (folders[1] / "provenance.json").write_text(json.dumps(made | {"seed": 1}))
    with pytest.raises(ResultsError, match="1 goes as far as all env steps, the first seed 300 of 600"):
        recorded.read_records(tmp_path, "ablation", ablation_tables.MEASURED)


def test_line_ends_and_an_anchor_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(TEXT.replace("scale: quick ", "scale: &mine quick ", 1).replace("\n", "\r\n").encode())
    assert edit_params(tmp_path, scale="smoke", until="300").scale == "smoke"
    written = path.read_bytes()
    assert b"\nscale: smoke " in written and written.count(b"\n") == written.count(b"\r\n")
    edit_params(tmp_path, scale="quick", until="none")
    assert path.read_bytes().replace(b"\r\n", b"\n").decode() == TEXT
