"""What `tom verify` finds: each kind of damage, by the name of its file, and nothing else."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.checks.rerun import compare, drawn, present_cell
from pipeline.engines import local
from pipeline.files import ROOT, sha256
from pipeline.runs.folder import FILES, PROVENANCE
from pipeline.runs.provenance import machine, other_machine
from pipeline.suites.returns.figure import make as plot
from pipeline.suites.returns.tables import make as aggregate
from pipeline.verify import result_problems, verified
from tests.commands import complaint, typed
from tests.results_on_disk import PUBLISHED

RESULT = "reports/results/smoke/mbpo/hopper/0"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cell, trained by the command that people use, and the tables and figures made from it."""
    root = tmp_path_factory.mktemp("recorded")
    words = ("method=mbpo", "env=hopper", "seed=0", "scale=smoke", "tracking=off", "device=cpu")
    command = [sys.executable, "-m", "pipeline.train", *words, f"run_dir='{root / RESULT}'"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
    (root / "params.yaml").write_text("scale: smoke\ngrid: {methods: [mbpo], envs: [hopper], seeds: [0]}\n")
    (root / "reports/paper").mkdir()
    shutil.copy(PUBLISHED, root / "reports/paper")
    aggregate(root)
    plot(root)
    return root


@pytest.fixture
def root(recorded: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(recorded, tmp_path / "root"))


def verify(root: Path, count: int = 0) -> tuple[int, list[str]]:
    """The exit code and the lines; `count` results are trained again."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = verified(count, 1, root)
    return code, said.getvalue().splitlines()


def edit(path: Path, change: Callable[[str], str]) -> None:
    """Changes a file, and the manifest with it, so that the digests do not give it away."""
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before
    record(path.parent, sha256={**provenance(path.parent)["sha256"], path.name: sha256(path)})


def hundred_more(text: str) -> str:
    """The evaluations with the first return, of one episode and with two digits before the point, higher by 100."""
    return re.sub(r"\n0,([\d.]+),0\.0,\1,\1,", r"\n0,1\1,0.0,1\1,1\1,", text, count=1)


def provenance(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / PROVENANCE).read_text()))


def record(folder: Path, **changes: Any) -> None:
    (folder / PROVENANCE).write_text(json.dumps({**provenance(folder), **changes}))


def without_line(number: int) -> Callable[[str], str]:
    return lambda text: "".join(line for at, line in enumerate(text.splitlines(True)) if at != number)


def with_cell(env_steps: int, cell: str) -> Callable[[str], str]:
    """The second cell of a row replaced."""
    return lambda text: re.sub(rf"\n{env_steps},[^,]*", f"\n{env_steps},{cell}", text)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_what_is_whole_passes(root: Path) -> None:
    code, lines = verify(root)
    assert (code, len(lines)) == (0, 1), lines
    assert lines[0] == f"1 results of {len(FILES)} files, 7 files of tables, 4 files of figures: as recorded"


def test_a_problem_is_said_with_its_path(root: Path) -> None:
    flip(root / RESULT / "policy.npz")
    code, lines = verify(root)
    assert (code, len(lines)) == (1, 2), lines
    assert lines[0] == f"{RESULT}/policy.npz: not the file in the manifest of provenance.json"
    assert lines[1].endswith(": problems: 1")


@pytest.mark.parametrize("name", [name for name in FILES if name != PROVENANCE])
def test_a_flipped_byte(root: Path, name: str) -> None:
    flip(root / RESULT / name)
    assert f"{name}: not the file in the manifest of provenance.json" in result_problems(root / RESULT)


# Damage to the result's folder, and how the line about it begins.
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing file": (lambda folder: (folder / "timing.csv").unlink(), "timing.csv: missing"),
    "missing provenance": (lambda folder: (folder / PROVENANCE).unlink(), "provenance.json: missing"),
    "extra file": (lambda folder: (folder / "notes.txt").write_text(""), "notes.txt: not a file of a result"),
    "broken provenance": (lambda folder: (folder / PROVENANCE).write_text("{"), "provenance.json: not the record"),
    "no manifest": (lambda folder: record(folder, sha256=None), "provenance.json: has no SHA-256 manifest"),
    "file not in the manifest": (
        lambda folder: record(
            folder, sha256={k: v for k, v in provenance(folder)["sha256"].items() if k != "evals.csv"}
        ),
        "evals.csv: not the file in the manifest",
    ),
    "other method": (lambda folder: record(folder, method="tom"), "provenance.json: method is tom, not mbpo"),
    "other fingerprint": (lambda folder: record(folder, fingerprint="0"), "provenance.json: the fingerprint"),
    "other setting": (
        lambda folder: edit(folder / "config.yaml", lambda text: text.replace("discount: 0.99", "discount: 0.98")),
        "provenance.json: the fingerprint",
    ),
    "broken settings": (
        lambda folder: edit(folder / "config.yaml", lambda text: "train: [unclosed"),
        "config.yaml: not that of a run",
    ),
    "settings without train": (
        lambda folder: edit(folder / "config.yaml", lambda text: text.replace("\ntrain:", "\ntrained:")),
        "config.yaml: not that of a run",
    ),
    "no evaluation in the middle": (
        lambda folder: edit(folder / "evals.csv", without_line(2)),
        "evals.csv: no row at env_steps 300",
    ),
    "no evaluation at the start": (
        lambda folder: edit(folder / "evals.csv", without_line(1)),
        "evals.csv: no row at env_steps 0",
    ),
    "no evaluation at the end": (
        lambda folder: edit(folder / "evals.csv", without_line(3)),
        "evals.csv: no row at env_steps 600",
    ),
    "an evaluation twice": (
        lambda folder: edit(folder / "evals.csv", lambda text: text + text.splitlines(True)[-1]),
        "evals.csv: env_steps do not rise",
    ),
    "an evaluation that is not due": (
        lambda folder: edit(folder / "evals.csv", lambda text: text.replace("\n300,", "\n300,1,1,1,1,1\n301,")),
        "evals.csv: a row that is not due at env_steps 301",
    ),
    "NaN in evals.csv": (
        lambda folder: edit(folder / "evals.csv", with_cell(300, "nan")),
        "evals.csv: no finite return_mean at env_steps 300",
    ),
    "empty cell in evals.csv": (
        lambda folder: edit(folder / "evals.csv", with_cell(0, "")),
        "evals.csv: no finite return_mean at env_steps 0",
    ),
    "a word in evals.csv": (
        lambda folder: edit(folder / "evals.csv", with_cell(0, "good")),
        "evals.csv: not that of a run",
    ),
    "a row cut short": (
        lambda folder: edit(folder / "evals.csv", lambda text: text.rpartition(",")[0] + "\n"),
        "evals.csv: no finite length_mean at env_steps 600",
    ),
    "no round in the middle": (
        lambda folder: edit(folder / "train.csv", without_line(2)),
        "train.csv: no row at env_steps 400",
    ),
    "infinity in train.csv": (
        lambda folder: edit(folder / "train.csv", with_cell(300, "inf")),
        "train.csv: no finite ",
    ),
    "empty table": (lambda folder: edit(folder / "train.csv", lambda text: ""), "train.csv: not that of a run"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_result_is_named_with_its_file(root: Path, damage: str) -> None:
    act, line = DAMAGE[damage]
    act(root / RESULT)
    lines = list(result_problems(root / RESULT))
    assert any(found.startswith(line) for found in lines), lines
    assert all(found.partition(":")[0] in (*FILES, "notes.txt") for found in lines), lines


def test_an_empty_cell_of_train_csv_is_no_gap(root: Path) -> None:
    edit(root / RESULT / "train.csv", lambda text: "\n".join(["env_steps,a", "300,", "400,1.0", "500,", ""]))
    assert list(result_problems(root / RESULT)) == []


def test_a_renamed_folder_is_not_what_its_files_say(root: Path) -> None:
    (root / RESULT).rename((root / RESULT).with_name("1"))
    code, lines = verify(root)
    assert code == 1
    for name in (PROVENANCE, "config.yaml"):
        assert f"{RESULT[:-1]}1/{name}: seed is 0, not 1 as the folder says" in lines
    assert any("cannot be made again" in line and f"{RESULT}/evals.csv is missing" in line for line in lines), lines


@pytest.mark.parametrize(
    "name",
    [
        "reports/tables/returns/seeds.csv",
        "reports/tables/returns/returns.md",
        "reports/figures/returns/learning_curves.png",
    ],
)
def test_a_table_or_figure_is_what_the_results_give(root: Path, name: str) -> None:
    (root / name).write_bytes((root / name).read_bytes() + b"\n")
    assert verify(root)[1][:-1] == [f"{name}: not what the results give"]
    (root / name).unlink()
    assert verify(root)[1][:-1] == [f"{name}: missing"]


def test_a_table_in_excess_and_no_figures(root: Path) -> None:
    (root / "reports/tables/returns/mine.csv").write_text("")
    shutil.rmtree(root / "reports/figures/returns")
    expected = ["reports/tables/returns/mine.csv: not what the results give", "reports/figures/returns: missing"]
    assert verify(root)[1][:-1] == expected


def test_a_partial_record_is_verified_as_such(root: Path) -> None:
    folder = root / RESULT
    edit(folder / "evals.csv", lambda text: "".join(text.splitlines(True)[:3]))
    edit(folder / "train.csv", lambda text: text.splitlines(True)[0])
    lines = list(result_problems(folder))
    assert "evals.csv: no row at env_steps 600" in lines, "it says that it is whole"
    record(folder, env_steps=300)
    assert list(result_problems(folder)) == []
    assert verify(root)[1][-1].startswith("1 results (1 so far) of ")
    record(folder, total_env_steps=500)
    assert list(result_problems(folder)) == ["provenance.json: total_env_steps is 500, not 600 as config.yaml says"]


def test_a_record_that_goes_further_than_it_says_is_named(root: Path) -> None:
    record(root / RESULT, env_steps=300)
    assert "evals.csv: a row that is not due at env_steps 600" in list(result_problems(root / RESULT))


@pytest.mark.parametrize("words", [["--again=1"], ["--rerun"], ["--rerun=-1"], ["--rerun=some"], ["--jobs=0"]])
def test_bad_arguments(words: list[str]) -> None:
    assert complaint(typed("verify", *words)).startswith("Error: ")


@pytest.fixture
def aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs of trainings go to the test's folder."""
    monkeypatch.setattr(local, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.usefixtures("aside")
def test_a_result_trained_again_gives_the_same_bytes(root: Path) -> None:
    code, lines = verify(root, 1)
    assert code == 0, lines
    assert lines[0] == "to train again: smoke-mbpo-hopper-s0"


@pytest.mark.usefixtures("aside")
def test_training_again_finds_what_nothing_else_can(root: Path) -> None:
    edit(root / RESULT / "evals.csv", hundred_more)
    aggregate(root)
    plot(root)
    assert verify(root)[0] == 0
    code, lines = verify(root, 1)
    assert code == 1
    assert lines[-2:-1] == [f"{root / RESULT}/evals.csv: not what training again gives"]


def test_on_another_machine_a_difference_is_only_told(
    root: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(root / RESULT / "evals.csv", hundred_more)
    assert list(compare(root / RESULT, recorded / RESULT)) == [
        f"{root / RESULT}/evals.csv: not what training again gives"
    ]
    record(root / RESULT, cpu="another")
    assert list(compare(root / RESULT, recorded / RESULT)) == []
    assert f"{RESULT}: other processor, return_mean by up to 100 (cpu another then, " in capsys.readouterr().out
    record(root / RESULT, cpu=provenance(recorded / RESULT)["cpu"], torch="1.0")
    assert list(compare(root / RESULT, recorded / RESULT)) == []
    assert f"{RESULT}: differs, return_mean by up to 100 (torch 1.0 then, " in capsys.readouterr().out
    assert list(compare(recorded / RESULT, recorded / RESULT)) == []


def test_the_processor_is_its_instructions_too_and_a_run_that_moved_is_of_neither(recorded: Path) -> None:
    found = provenance(recorded / RESULT)
    assert other_machine(found, found) == []
    assert other_machine(found, {**found, "isa": "plain"}) == [f"isa {found['isa']} then, plain now"]
    (segment,) = found["segments"]
    moved = {**found, "segments": [{**segment, "isa": "plain"}, {**segment, "from_env_step": 300}]}
    assert other_machine(moved, found) == ["moved_at [300] then, [] now"]
    elsewhere = {**found, "segments": [{**segment, "host": "a"}, {**segment, "from_env_step": 300}]}
    assert other_machine(elsewhere, found) == [], "another machine with such a processor"
    older = {key: value for key, value in found.items() if key not in ("isa", "segments", "engine")}
    assert other_machine(older, found) == other_machine(found, older) == [], "which says nothing of them"


def test_a_result_of_other_code_or_settings_is_not_trained_again(root: Path) -> None:
    cell = present_cell(root / RESULT)
    assert cell is not None
    assert cell.name == "smoke-mbpo-hopper-s0"
    record(root / RESULT, source_digest="other")
    assert present_cell(root / RESULT) is None
    code, lines = verify(root, 1)
    assert code == 0
    assert lines[:2] == [
        "results that cannot be trained again, of other code or settings: 1",
        "to train again: none",
    ]


def test_what_is_drawn_is_cheap_and_always_the_same() -> None:
    seconds = {f"cell-{number}": float(number) for number in range(10)}
    picked = drawn(seconds, 3)
    assert picked == drawn(dict(reversed(seconds.items())), 3)
    assert len(set(picked)) == 3
    assert all(seconds[name] < 5 for name in picked)
    assert len(drawn(seconds, 8)) == 8
    assert drawn(seconds, 20) == sorted(seconds)
    assert drawn({}, 2) == []


def test_a_record_names_the_gpu_that_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Some GPU")
    assert machine("cuda", 1)["gpu"] == "Some GPU" and "gpu" not in machine("cpu", 1)
