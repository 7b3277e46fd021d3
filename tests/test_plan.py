"""The plan before the work: which cells, how long, how much disk."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import launch, plan
from pipeline.checks.bench import measure
from pipeline.claims.needed import needed_by
from pipeline.config.params import Grid, Params, load_params
from pipeline.engines import estimate
from pipeline.engines.local import Local
from pipeline.files import ROOT
from pipeline.runs.folder import FILES, PROVENANCE, Cell
from pipeline.runs.provenance import cpu_model, names_of
from pipeline.suites.returns.cells import cell_of
from pipeline.suites.suite import kinds
from tests.commands import complaint, typed

STEPS = 600


def record(root: Path, cell: Cell, cpu_s: float, cpu: str, **more: object) -> None:
    """A recorded run of this cell that took so long on that processor."""
    folder = root / "reports/results" / cell.scale / cell.method / cell.env / str(cell.seed)
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text("")
    steps = {"env_steps": STEPS, "total_env_steps": STEPS}
    (folder / PROVENANCE).write_text(json.dumps({"cpu": cpu, **names_of(cell), **steps, "cpu_s": cpu_s, **more}))


def test_a_cell_takes_as_long_as_those_like_it_did_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tom, ant, mbpo = (cell_of(m, e, 0, "smoke") for m, e in (("tom", "hopper"), ("tom", "ant"), ("mbpo", "hopper")))
    record(tmp_path, tom, 60.0, cpu_model())
    record(tmp_path, mbpo, 30.0, cpu_model())
    record(tmp_path, cell_of("tom", "hopper", 1, "smoke"), 1e9, "another processor")
    assert estimate.seconds_of([[tom], [mbpo]], Local(), tmp_path) == pytest.approx([60.0, 30.0])
    assert estimate.seconds_of([[ant]], Local(), tmp_path) == pytest.approx([60.0]), (
        "the same method on another environment"
    )
    monkeypatch.setattr(estimate, "timed", lambda config: 7.0)
    assert estimate.seconds_of([[cell_of("tom", "hopper", 0, "quick")]], Local(), tmp_path) == pytest.approx([7.0])


def test_the_evidence_tells_how_long_its_protocol_takes(tmp_path: Path) -> None:
    """800 of 1,800 env steps without the 300 of the warm-up took 50 s: 0.1 s each, for 1,500 of the whole run."""
    cell = cell_of("tom", "hopper", 0, "smoke")
    record(tmp_path, cell, 50.0, cpu_model(), env_steps=800, total_env_steps=1_800)
    was = tmp_path / "reports/results" / cell.scale / cell.method
    (was / cell.env / "0/config.yaml").write_text("train: {warmup_env_steps: 300}")
    was.rename((tmp_path / "reports/evidence").mkdir() or tmp_path / "reports/evidence" / cell.method)
    total = float(cell.config["train"]["total_env_steps"])
    assert estimate.seconds_of([[cell]], Local(), tmp_path) == pytest.approx([0.1 * 1_500 / 1_800 * total])


def test_the_parts_of_a_run_are_timed_once_where_none_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [[cell_of("tom", "hopper", seed, "smoke")] for seed in (0, 1)]
    first, second = estimate.seconds_of(cells, Local(), tmp_path)
    assert 0.1 < first == second < 300.0
    assert capsys.readouterr().err.count("no run like tom on hopper at scale smoke is recorded") == 1
    monkeypatch.setattr(estimate, "timed", lambda config: 0.0)
    assert estimate.seconds_of(cells, Local(), tmp_path) == [first, second], "kept"
    other = [[replace(cells[0][0], source_digest="other code")]]
    assert estimate.seconds_of(other, Local(), tmp_path) == [0.0]


def test_a_calibration_is_that_of_one_processor_and_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells, timed = [[cell_of("tom", "hopper", 0, "smoke")]], list[float]()
    monkeypatch.setattr(estimate, "timed", lambda config: timed.append(1.0 + len(timed)) or timed[-1])
    here = {"cpu_model": lambda: "one processor", "version": lambda name: "1.0"}
    for changed in ({}, {"cpu_model": lambda: "another"}, {"version": lambda name: "2.0"}, {}):
        for name, value in (here | changed).items():
            monkeypatch.setattr(estimate, name, value)
        estimate.seconds_of(cells, Local(), tmp_path)
    assert estimate.seconds_of(cells, Local(), tmp_path) == [1.0] and timed == [1.0, 2.0, 3.0]
    said = [line for line in capsys.readouterr().err.splitlines() if "busy" not in line]
    assert len(said) == 3, "nothing is said where nothing is timed"
    assert all(line.endswith("timing the parts of one, up to a minute, once") for line in said)
    kept = [json.loads(path.read_text()) for path in (tmp_path / "runs/.calibration").iterdir()]
    assert {(each["on"], each["torch"]) for each in kept} == {
        ("one processor", "1.0"),
        ("another", "1.0"),
        ("one processor", "2.0"),
    }


def test_on_a_gpu_seeds_together_are_timed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded runs of as many seeds on such a GPU count, by the clock; tasks that share a GPU take turns."""

    class OnGpu(Local):
        gpus, batch = 0.5, 2

        def gpu(self) -> str:
            return "Some GPU"

    tom = [cell_of("tom", "hopper", seed, "smoke") for seed in (0, 1)]
    record(tmp_path, tom[0], 60.0, cpu_model())
    asked: list[Mapping[str, object]] = []
    monkeypatch.setattr(estimate, "timed", lambda each: asked.append(each) or 5.0)
    assert estimate.seconds_of([tom], OnGpu(), tmp_path) == pytest.approx([5.0 + 5.0])
    assert asked == [{"config": tom[0].config, "seeds": 2, "device": "cuda"}]
    gpu = {"gpu": "Some GPU", "replicas": 2, "wall_s": 3.0}
    record(tmp_path, cell_of("tom", "hopper", 2, "smoke"), 60.0, "any", **gpu)
    record(tmp_path, cell_of("tom", "hopper", 3, "smoke"), 60.0, "any", **gpu | {"replicas": 1, "wall_s": 9.0})
    assert estimate.seconds_of([tom, tom[:1]], OnGpu(), tmp_path) == pytest.approx([3.0 + 3.0, 9.0])
    assert len(asked) == 1
    assert estimate.seconds_of([tom], Local(), tmp_path) == pytest.approx([60.0 + 60.0])
    assert [estimate.lanes(slots, OnGpu()) for slots in (1, 2, 4)] == [1, 1, 2]
    monkeypatch.setattr(plan, "seconds_of", lambda batches, _: [3600.0 for _ in batches])
    four = [cell_of(method, "hopper", 0, "smoke") for method in ("tom", "mbpo", "sac", "tom_kl")]
    assert plan.described(four, 4, 2, OnGpu())[5].endswith(": 4.0 h of one Some GPU, about 4.0 h with 2 at a time")


def test_the_parts_of_seeds_together_are_a_share_of_each() -> None:
    config = cell_of("tom", "hopper", 0, "smoke").config
    assert estimate.timed({"config": config, "seeds": 2, "device": "cpu"}) > 0.1


def test_a_calibration_counts_the_processor_s_time_alone() -> None:
    assert measure.seconds(lambda: time.sleep(0.3)) < 0.1


@pytest.mark.parametrize(("load", "told"), [(1.4, False), (1.6, True)])
def test_a_busy_machine_is_told(
    load: float, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path, cell := cell_of("tom", "hopper", 0, "smoke"), 60.0, cpu_model())
    monkeypatch.setattr(estimate.os, "cpu_count", lambda: 10)
    monkeypatch.setattr(estimate.os, "getloadavg", lambda: (10 * load, 0.0, 0.0))
    assert estimate.seconds_of([[cell]], Local(), tmp_path) == pytest.approx([60.0]), "in the processor's time"
    assert (f"this machine is busy (load {10 * load:.0f} on 10 cores)" in capsys.readouterr().err) is told


@pytest.mark.parametrize(
    ("seconds", "slots", "begun", "end"),
    [
        ([], 2, (), 0.0),
        ([3.0, 2.0, 2.0], 2, (), 4.0),
        ([2.0, 2.0, 3.0], 2, (), 5.0),  # the longest last
        ([4.0, 1.0], 2, (5.0,), 5.0),
        ([4.0, 4.0], 2, (5.0, 1.0), 9.0),
    ],
)
def test_each_takes_the_slot_that_is_free_first(
    seconds: list[float], slots: int, begun: tuple[float, ...], end: float
) -> None:
    assert estimate.makespan(seconds, slots, begun) == end


@pytest.mark.parametrize("slots", [8, 16, 24])
def test_a_paper_grid_with_the_longest_first_is_within_5_percent_of_the_bound(slots: int) -> None:
    """40 cells: mbpo and tom on the five environments with four seeds, by the hours of the recorded benchmark."""
    report = json.loads((ROOT / "reports/benchmarks/intel-r-xeon-r-processor.json").read_text(encoding="utf-8"))
    hours = [row["hours"] for row in report["hours"] if row["protocol"] == "paper"]
    cells = sorted(4 * hours, reverse=True)
    assert len(cells) == 40
    bound = max(*cells, sum(cells) / slots)
    assert estimate.makespan(cells, slots) <= 1.05 * bound


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "1 s"), (59.4, "59 s"), (61, "1 min"), (600, "10 min"), (3600, "1.0 h"), (9000, "2.5 h")]
)
def test_time_in_words(seconds: float, words: str) -> None:
    assert estimate.in_words(seconds) == words


def test_a_plan_lists_what_is_stale_and_sums_up(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [cell_of(m, "hopper", seed, "paper") for m in ("mbpo", "tom") for seed in (0, 1)]
    hours = {"mbpo": 2.0, "tom": 3.0}
    monkeypatch.setattr(plan, "seconds_of", lambda batches, _: [3600 * hours[batch[0].method] for batch in batches])
    lines = plan.described(cells, 7, 2, Local())
    assert [line.split() for line in lines[1:3]] == [
        ["mbpo", "hopper", "0,1", "125,000", "2.0", "h"],
        ["tom", "hopper", "0,1", "125,000", "3.0", "h"],
    ]
    assert lines[3] == "4 of 7 cells at scale paper to train: 10.0 h of one core, about 5.0 h with 2 at a time"
    assert lines[5] == "with more machines like this: 3.0 h on 2"
    assert plan.described([], 7, 2, Local()) == ["7 cells, all of them trained: nothing to do"]
    one = plan.described(cells[2:], 7, 9, Local())
    assert one[2].endswith("6.0 h of one core, about 3.0 h with 2 at a time")


def test_a_claim_is_planned_from_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "seconds_of", lambda batches, _: [3600.0 for _ in batches])
    said = typed("plan", "--claim", "humanoid_60", "--jobs", "8").stdout.splitlines()
    assert said[0] == "needs 8 runs: TOM, MBPO on Humanoid, seeds 0 to 3, scale paper"
    assert [line.split()[:4] for line in said[2:4]] == [
        [method, "humanoid", "0,1,2,3", "300,000"] for method in ("tom", "mbpo")
    ]
    assert said[4].startswith("8 of 8 cells at scale paper to train: 8.0 h of one core, about 1.0 h with 8")
    of_suite = typed("plan", "--claim", "weights_rise", "--jobs", "1").stdout.splitlines()
    assert of_suite[2].split()[:4] == ["sac", "hopper", "0,1,2,3", "1,000,000"]
    assert of_suite[6].startswith("16 of 16 cells")
    assert of_suite[-1] == "with more machines like this: 8.0 h on 2, 4.0 h on 4, 2.0 h on 8, 1.0 h on 16"


@pytest.mark.parametrize("claim", ["dmpo_decentralised", "pacoh_error", "planner_distilled"])
def test_a_claim_of_another_paper_is_planned_too(claim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A suite that has no agents' runs is planned without hours; one keeps the methods that it compares."""
    monkeypatch.setattr(plan, "seconds_of", lambda batches, _: [60.0 for _ in batches])
    needs, *lines = plan.plan([claim], None, None, None, Local()).splitlines()
    assert needs.startswith("needs ") and any(" cells" in line for line in lines)


@pytest.mark.parametrize("suite", kinds())
def test_a_suite_is_planned(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "seconds_of", lambda batches, _: [60.0 for _ in batches])
    section = load_params().suites[suite]
    monkeypatch.setattr(plan, "load_params", lambda: with_one_seed(suite))
    lines = plan.plan((), suite, None, None, Local()).splitlines()
    runs = len(section.grid.methods) if kinds()[suite].trains_runs else 1
    assert f" of {runs * len(section.grid.envs)} cells" in "\n".join(lines), lines


def with_one_seed(suite: str) -> Params:
    """Parameters whose suite has a seed that is not recorded."""
    params = load_params()
    section = params.suites[suite]
    return replace(params, suites={**params.suites, suite: replace(section, grid=replace(section.grid, seeds=(901,)))})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("plan --suite wheights", "suite=wheights does not exist; nearest valid choice: weights"),
        ("plan --claim humanoid_6", "nearest valid choice: humanoid_60"),
        ("plan --claim humanoid_60 --scale quick", "scale=quick beside --claim, which says it; leave --scale out"),
        ("repro --claim humanoid_60 --suite weights", "leave --suite out"),
    ],
)
def test_a_claim_says_its_scale_itself(words: str, said: str) -> None:
    assert said in complaint(typed(*words.split()))


def test_what_a_claim_needs_is_written_into_params(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("tom", "pipeline"):
        (tmp_path / name).symlink_to(ROOT / name)
    given = (ROOT / "params.yaml").read_text(encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_text(given.replace("  methods:\n", "  until: 2000\n  methods:\n", 1))
    seen: list[Params] = []
    monkeypatch.setattr(launch, "ROOT", tmp_path)
    monkeypatch.setattr(launch, "launch", lambda kind, params, *others: seen.append(params) or 0)
    for name in ("humanoid_60", "weights_rise"):
        assert launch.decide(needed_by([name], ROOT), Local(jobs=1), wait=True, cancel=False) == 0
    grid, weights = seen[1].grid, seen[1].suites["weights"]
    assert (seen[1].scale, grid) == ("paper", Grid(("tom", "mbpo"), ("humanoid",), (0, 1, 2, 3)))
    assert (weights.scale, weights.grid.seeds) == ("paper", (0, 1, 2, 3))
    assert weights.grid.methods == load_params().suites["weights"].grid.methods, "a suite compares what it compared"
    assert "grid.methods is now [tom, mbpo]" in capsys.readouterr().out
    before, after = (re.search(r"(?ms)^weights:.*?^  seeds:", text) for text in (given, path.read_text("utf-8")))
    assert before and after and after[0] == before[0].replace("scale: quick", "scale: paper"), "what is so stays"
    assert seen[1].methods == load_params().methods, "all else stays"


def test_disk_is_rows_of_floats() -> None:
    """(125,000 real + 400,000 model rows) of 28 floats on hopper."""
    assert plan.checkpoint_bytes(cell_of("tom", "hopper", 0, "paper")) == 4 * 28 * 525_000
    assert plan.checkpoint_bytes(cell_of("sac", "hopper", 0, "paper")) == 4 * 28 * 125_000
    assert plan.in_bytes(58_800_000) == "59 MB"


def test_bad_input_is_one_sentence() -> None:
    assert "nearest valid choice: paper" in complaint(typed("plan", "--scale", "papr"))
