"""A study has reports of its own: what is done there leaves the project's bytes alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.files import ROOT
from pipeline.study import study
from tests.results_on_disk import contents
from tom.settings.fields import SettingsError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What a study needs of the repository, with one record."""
    for name in ("tom", "pipeline", "suites", ".dvc/plots"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
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
    said = study("mine", project)
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


def test_a_study_is_made_once_and_its_name_is_one(project: Path) -> None:
    study("mine", project)
    with pytest.raises(SettingsError, match="study=mine is there; nearest valid choice: cd studies/mine"):
        study("mine", project)
    with pytest.raises(SettingsError, match="nearest valid choice: my_study"):
        study("my study", project)
    assert [path.name for path in (project / "studies").iterdir()] == ["mine"]
