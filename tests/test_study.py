"""A study has reports of its own: what is done there leaves the project's bytes alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pipeline.files import ROOT, sha256
from pipeline.study import study
from pipeline.verify import compared
from tests.commands import complaint, typed
from tests.results_on_disk import contents
from tom.settings.fields import SettingsError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What a study needs of the repository, with one record."""
    for name in ("tom", "pipeline", "suites"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".dvc").mkdir()
    for name in (".dvc/config", ".dvcignore", "dvc.yaml", "params.yaml", "engines.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "reports/results").mkdir(parents=True)
    (tmp_path / "reports/results/one.csv").write_text("recorded\n")
    return tmp_path


def done_in(folder: Path, project: Path, *words: str) -> str:
    """What a command says in a folder of the project."""
    environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_what_is_done_in_a_study_stays_there(project: Path) -> None:
    said = study("mine", project=project)
    mine = project / "studies/mine"
    assert said.splitlines()[1].startswith("next: cd studies/mine, edit params.yaml, tom repro")
    before = contents(project / "reports") | contents(project / "suites")
    params = (mine / "params.yaml").read_text().replace("scale: quick", "scale: smoke", 1)
    (mine / "params.yaml").write_text(params)
    program = "from pipeline.engines.processes import dvc; raise SystemExit(dvc('repro', 'configure'))"
    done_in(mine, project, "-c", program)
    assert (mine / "reports/cells/smoke/tom/hopper.json").is_file() and (mine / "dvc.lock").is_file()
    assert (mine / "reports/results/one.csv").read_text() == "recorded\n"
    assert contents(project / "reports") | contents(project / "suites") == before
    assert not (project / "dvc.lock").exists()
    where = "from pipeline.files import ROOT; print(ROOT)"
    assert done_in(mine / "reports", project, "-c", where) == str(mine)
    assert done_in(project, project, "-c", where) == str(project)


def test_all_of_the_grid_is_to_be_trained_in_one_that_begins_anew(project: Path) -> None:
    study("fresh", anew=True, project=project)
    fresh = project / "studies/fresh"
    assert not (fresh / "reports/results").exists() and not (fresh / "runs").exists()
    assert (fresh / "tom").is_symlink() and (project / "reports/results/one.csv").is_file()


def test_results_of_a_study_are_compared_with_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = Path("reports/results/quick/tom")
    for name in ("hopper/0", "hopper/1", "halfcheetah/0"):
        shutil.copytree(ROOT / results / name, tmp_path / results / name)
    assert compared(ROOT, tmp_path) == 0
    assert capsys.readouterr().out == f"3 results in {tmp_path}, 3 of them recorded here: 3 have the same bytes\n"
    path = tmp_path / results / "hopper/1/evals.csv"
    table = pd.read_csv(path)
    table[["return_mean", "return_min", "return_max"]] += 2
    path.write_text(table.to_csv(index=False))
    record = path.with_name("provenance.json")
    record.write_text(record.read_text().replace(sha256(ROOT / path.relative_to(tmp_path)), sha256(path)))
    assert compared(ROOT, tmp_path) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("hopper/1/evals.csv: not what training again gives")
    assert said[1] == f"{results}/hopper/1: return_mean by up to 2"
    assert said[2].endswith("3 of them recorded here: 2 have the same bytes")
    assert "has no finished run below reports/results" in complaint(typed("verify", "--against", tmp_path / "other"))


def test_a_study_is_made_once_and_its_name_is_one(project: Path) -> None:
    study("mine", project=project)
    with pytest.raises(SettingsError, match="study=mine is there; nearest valid choice: cd studies/mine"):
        study("mine", project=project)
    with pytest.raises(SettingsError, match="nearest valid choice: my_study"):
        study("my study", project=project)
    assert [path.name for path in (project / "studies").iterdir()] == ["mine"]
