"""Runs and report in W&B, against a stand-in of its API that checks each request: nothing is sent twice."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.publish import recorded
from pipeline.report.dashboard import TITLE
from pipeline.runs.in_wandb import description
from pipeline.runs.records import rows_so_far
from tests.commands import complaint, typed
from tests.wandb_api import ENTITY, KEY, PROJECT, State, standing_in

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Published:
    """A repository with two recorded runs, the service, and what each of four publications said and left there."""

    root: Path
    state: State
    said: list[subprocess.CompletedProcess[str]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)

    def publish(self, address: str, *words: str) -> None:
        self.said.append(publish(address, self.root, *words))
        self.runs.append(json.loads(json.dumps(self.state.runs)))
        self.reports.append(dict(self.state.reports))


def publish(address: str, root: Path, *words: str, key: str = KEY) -> subprocess.CompletedProcess[str]:
    home = root / "home"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    environment |= {"WANDB_BASE_URL": address, "WANDB_ENTITY": ENTITY, "HOME": str(home), "NETRC": str(home / "none")}
    environment |= {"WANDB_API_KEY": key} if key else {}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "pipeline.app", "publish", *words]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    (folder / "home").mkdir()
    shutil.copytree(ROOT / "reports/tables", folder / "reports/tables")
    shutil.copy(ROOT / "params.yaml", folder)  # which makes it a repository
    for run in ("tom/hopper/0", "mbpo/hopper/0"):
        shutil.copytree(ROOT / "reports/results/quick" / run, folder / "reports/results/quick" / run)
    return folder


@pytest.fixture(scope="module")
def published(root: Path) -> Iterator[Published]:
    """A dry run, an upload, another one, one after a run of the first broke off, and one after another got longer."""
    with standing_in() as (address, state):
        found = Published(root, state)
        for words in (["--dry-run"], [], []):
            found.publish(address, *words)
        broken = state.runs[description(recorded(root)[0])["id"]]
        broken["state"], broken["rows"] = "crashed", broken["rows"][:5]
        found.publish(address)
        shorter = state.runs[description(recorded(root)[1])["id"]]
        shorter["rows"] = shorter["rows"][:5]
        found.publish(address)
        yield found


def test_dry_run_lists_and_sends_nothing(published: Published) -> None:
    assert published.said[0].returncode == 0, published.said[0].stderr
    assert (published.runs[0], published.reports[0]) == ({}, {})
    assert published.said[0].stdout.count("would upload ") == 2
    assert "would save the report" in published.said[0].stdout


def test_every_recorded_run_arrives_whole_under_its_id(published: Published) -> None:
    assert published.said[1].returncode == 0, published.said[1].stderr
    assert published.state.faults == []
    runs = recorded(published.root)
    names = {f"{run.scale}-{run.method}-{run.env}-s{run.seed}-{run.fingerprint}" for run in runs}
    assert set(published.runs[1]) == names
    for run in runs:
        there, rows = published.runs[1][description(run)["id"]], rows_so_far(run.folder)
        assert there["state"] == "finished"
        assert there["groupName"] == f"{run.scale}/{run.method}/{run.env}"
        assert there["config"]["method_name"]["value"] == run.method
        assert [row["env_steps"] for row in there["rows"]] == [env_steps for env_steps, _ in rows]
        last = max(place for place, (_, numbers) in enumerate(rows) if "eval/return_mean" in numbers)
        assert there["rows"][last]["eval/return_mean"] == rows[last][1]["eval/return_mean"]


def test_second_time_sends_no_run_and_updates_the_one_report(published: Published) -> None:
    assert published.said[2].returncode == 0, published.said[2].stderr
    assert "2 of 2 recorded runs are there" in published.said[2].stdout
    assert "uploads" not in published.said[2].stdout
    assert published.runs[2] == published.runs[1]
    assert list(published.reports[1]) == list(published.reports[2])
    (report,) = published.state.reports.values()
    assert (report["displayName"], report["project"]["name"]) == (TITLE, PROJECT)
    for words in ("60 % more reward", "eval/return_mean", "weights/age_0", "env_steps", "method_name"):
        assert words in report["spec"], words


@pytest.mark.parametrize("time", [3, 4], ids=["broke off", "got longer"])
def test_an_upload_that_is_not_whole_is_made_whole(time: int, published: Published) -> None:
    assert published.said[time].returncode == 0, published.said[time].stderr
    assert "1 of 2 recorded runs are there" in published.said[time].stdout
    assert published.said[time].stdout.count("uploads ") == 1

    def rows(time: int) -> dict[str, list[Any]]:
        return {name: [row["env_steps"] for row in run["rows"]] for name, run in published.runs[time].items()}

    assert rows(time) == rows(1)
    assert {run["state"] for run in published.runs[time].values()} == {"finished"}
    assert published.state.faults == []


def test_key_is_in_nothing_that_is_printed_or_left(published: Published) -> None:
    assert all(KEY not in each.stdout + each.stderr for each in published.said)
    assert not any(KEY.encode() in path.read_bytes() for path in published.root.rglob("*") if path.is_file())


def test_a_wrong_key_is_one_line_and_nothing_is_stored(root: Path) -> None:
    with standing_in() as (address, state):
        done = publish(address, root, key="f" * 40)
    assert done.returncode == 1
    assert done.stderr.startswith("publish: ")
    assert done.stderr.count("\n") == 1
    assert not state.runs


def test_without_an_account_the_specification_is_written(root: Path) -> None:
    done = publish("https://127.0.0.1:9", root, key="")
    assert done.returncode == 0, done.stderr
    assert "no W&B account here" in done.stdout
    assert "wandb login" in done.stdout
    specification = json.loads((root / "runs/publish/report.json").read_text())
    assert specification["displayName"] == TITLE
    assert "env_steps" in json.dumps(specification)
    assert "wrote 2 offline runs: wandb leet runs/publish/wandb" in done.stdout
    for run in recorded(root):
        (log,) = (root / "runs/publish/wandb").glob(f"offline-run-*-{description(run)['id']}/run-*.wandb")
        assert log.stat().st_size > 1000


def test_an_argument_that_is_none_is_refused() -> None:
    assert "No such option '--wet-run'" in complaint(typed("publish", "--wet-run"))


def test_a_folder_that_is_no_run_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "reports/results/quick/tom/hopper/0").mkdir(parents=True)
    with pytest.raises(ValueError, match="hopper/0 is not a recorded run: it lacks one of"):
        recorded(tmp_path)
