"""The digest of a cell's source files: what counts as a change of it and what does not."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import compose_cell
from pipeline.params import ROOT
from pipeline.sources import source_digest, source_digests
from tom.settings.fields import SettingsError


@pytest.fixture(scope="module")
def configs() -> dict[str, dict[str, Any]]:
    return {method: compose_cell(method, "hopper", "smoke") for method in ("mbpo", "tom")}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__")
    for package in ("tom", "pipeline"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignore)
    return tmp_path


def digest(config: dict[str, Any], root: Path) -> str:
    return source_digest(source_digests(config, root))


def append(root: Path, path: str, text: str) -> None:
    with (root / path).open("a", encoding="utf-8") as file:
        file.write(text)


def test_the_closure_holds_what_the_cell_uses_and_nothing_else(configs: dict[str, dict[str, Any]]) -> None:
    tom, mbpo = (set(source_digests(configs[method], ROOT)) for method in ("tom", "mbpo"))
    assert {"tom/train.py", "pipeline/records.py", "tom/envs/hopper.py", "tom/replay.py", "tom/dual.py"} <= tom
    assert "tom/weightings/tom.py" in tom - mbpo
    assert "tom/weightings/uniform.py" in mbpo - tom
    assert "tom/dual.py" not in mbpo
    assert "tom/envs/halfcheetah.py" not in tom | mbpo
    assert {path for path in tom | mbpo if not path.startswith("tom/")} == {"pipeline/records.py"}


def test_comments_docstrings_layout_and_help_do_not_count(configs: dict[str, dict[str, Any]], copy: Path) -> None:
    before = digest(configs["tom"], copy)
    append(copy, "tom/train.py", "\n\n\n# a comment\n")
    path = copy / "tom/weightings/tom.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"""', '"""Other words: ', 1).replace("    ", "     ", 0), encoding="utf-8")
    path = copy / "tom/settings/weightings/tom.py"
    text = path.read_text(encoding="utf-8")
    assert "cap on a normalised weight" in text
    path.write_text(text.replace("cap on a normalised weight", "the largest weight"), encoding="utf-8")
    assert digest(configs["tom"], copy) == before


@pytest.mark.parametrize("path", ["tom/train.py", "tom/replay.py", "tom/dual.py", "tom/envs/hopper.py"])
def test_code_counts(path: str, configs: dict[str, dict[str, Any]], copy: Path) -> None:
    before = digest(configs["tom"], copy)
    append(copy, path, "\nNEW = 1\n")
    assert digest(configs["tom"], copy) != before


def test_a_new_method_leaves_the_others_as_they_are(configs: dict[str, dict[str, Any]], copy: Path) -> None:
    before = {method: digest(config, copy) for method, config in configs.items()}
    for folder in ("tom/weightings", "tom/settings/weightings"):
        shutil.copyfile(copy / folder / "tom.py", copy / folder / "another.py")
    append(copy, "tom/envs/halfcheetah.py", "\nNEW = 1\n")
    append(copy, "tom/weightings/uniform.py", "\nNEW = 1\n")
    assert digest(configs["tom"], copy) == before["tom"]
    assert digest(configs["mbpo"], copy) != before["mbpo"], "it uses uniform"


def test_relative_and_late_imports_are_followed(configs: dict[str, dict[str, Any]], copy: Path) -> None:
    append(copy, "tom/weightings/uniform.py", "\n\ndef late():\n    from .. import extra\n    return extra\n")
    (copy / "tom/extra.py").write_text("import tom.further\n")
    (copy / "tom/further.py").write_text("from tom import extra\n")  # a circle
    assert {"tom/extra.py", "tom/further.py"} <= set(source_digests(configs["mbpo"], copy))


def test_a_missing_or_broken_file_is_refused(configs: dict[str, dict[str, Any]], copy: Path) -> None:
    append(copy, "tom/replay.py", "\ndef (:\n")
    with pytest.raises(SettingsError, match=r"^tom/replay\.py:\d+: invalid syntax"):
        source_digests(configs["mbpo"], copy)
    (copy / "tom/envs/hopper.py").unlink()
    with pytest.raises(SettingsError, match=r"^tom/envs/hopper\.py is missing"):
        source_digests(configs["mbpo"], copy)
