"""The digest of a cell's source files: what counts as a change of it and what does not."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from pipeline.config.compose import compose_cell
from pipeline.config.digests import CODE, PROJECT, module_digests, source_digest, source_digests, stage_digests
from pipeline.files import ROOT
from tests.rooms import imports, module_of
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


WORDS = """
from typing import Any

def said(value: float, *names: str, digits: str = ".2f", **more: Any) -> str:
    'What it says.'
    try:
        first, *others = names
        return f"{value:{digits}} of {first!r:>10}" f" and {len(others) + 1}" if (count := len(more)) else b"x".decode()
    except* ValueError:
        return f"{{}}{value=}" + "a" "b" + u"c" + str(1e-3) + str(2j) + str(...)
"""
STORED = "bb887db66472d97a7c9e9a418416b32f73b260714867beb2a74a7b2e8ba0bd53"


def digest(config: dict[str, Any], root: Path) -> str:
    return source_digest(source_digests(config, root))


def append(root: Path, path: str, text: str) -> None:
    with (root / path).open("a", encoding="utf-8") as file:
        file.write(text)


def test_the_closure_holds_what_the_cell_uses_and_nothing_else(configs: dict[str, dict[str, Any]]) -> None:
    tom, mbpo = (set(source_digests(configs[method], ROOT)) for method in ("tom", "mbpo"))
    assert {
        "tom/train.py",
        "pipeline/runs/records.py",
        "tom/envs/hopper.py",
        "tom/core/replay.py",
        "tom/occupancy/dual.py",
    } <= tom
    assert "tom/weightings/tom.py" in tom - mbpo
    assert "tom/weightings/uniform.py" in mbpo - tom
    assert "tom/occupancy/dual.py" not in mbpo
    assert "tom/envs/halfcheetah.py" not in tom | mbpo
    assert {path for path in tom | mbpo if not path.startswith("tom/")} == {"pipeline/runs/records.py"}


def test_comments_docstrings_layout_and_help_do_not_count(configs: dict[str, dict[str, Any]], copy: Path) -> None:
    before = digest(configs["tom"], copy)
    append(copy, "tom/train.py", "\n\n\n# a comment\n")
    path = copy / "tom/weightings/tom.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"""', '"""Other words: ', 1).replace("    ", "     ", 0), encoding="utf-8")
    path = copy / "tom/settings/train.py"
    text = path.read_text(encoding="utf-8")
    assert "steps before learning" in text
    path.write_text(text.replace("steps before learning", "random steps"), encoding="utf-8")
    assert digest(configs["tom"], copy) == before


def test_a_digest_is_the_same_under_every_version_of_python(tmp_path: Path) -> None:
    """Stored once; 3.10, 3.11, 3.12 and 3.13 give it. Their trees differ in f-strings and in what is left empty."""
    (tmp_path / "tom").mkdir()
    (tmp_path / "tom/words.py").write_text(WORDS)
    assert module_digests(["tom.words"], tmp_path) == {"tom/words.py": STORED}


@pytest.mark.parametrize("path", ["tom/train.py", "tom/core/replay.py", "tom/occupancy/dual.py", "tom/envs/hopper.py"])
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
    append(copy, "tom/core/replay.py", "\ndef (:\n")
    with pytest.raises(SettingsError, match=r"^tom/core/replay\.py:\d+: invalid syntax"):
        source_digests(configs["mbpo"], copy)
    (copy / "tom/envs/hopper.py").unlink()
    with pytest.raises(SettingsError, match=r"^tom/envs/hopper\.py is missing"):
        source_digests(configs["mbpo"], copy)


# Stages


def stages() -> list[str]:
    """The module that each stage runs which depends on a digest of code."""
    found = set()
    for path in (ROOT / "dvc.yaml", *ROOT.glob("suites/*/dvc.yaml")):
        for stage in yaml.safe_load(path.read_text())["stages"].values():
            code = [dep for dep in stage.get("deps", ()) if dep.startswith(f"{CODE}/")]
            module = stage["cmd"].split()[2]
            assert code in ([], [f"{CODE}/{module}"]), "a stage depends on the code that it runs"
            found |= {module for _ in code}
    return sorted(found)


def reached(module: str, graph: dict[str, set[str]]) -> set[str]:
    found, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name in graph and name not in found:
            found.add(name)
            parents = [name.rpartition(".")[0]] if "." in name else []
            waiting += [*graph[name], *parents]
    return found


def test_a_constant_makes_those_stages_stale_that_import_it_and_a_comment_none(copy: Path) -> None:
    """In every module of the project, against a graph of imports made here."""
    paths = [path for package in PROJECT for path in sorted((ROOT / package).rglob("*.py"))]
    graph: dict[str, set[str]] = {}
    for path in paths:
        names = set(imports(path))
        graph[module_of(path)] = names | {name.rpartition(".")[0] for name in names}
    before = stage_digests(copy)
    closures = {path.name: reached(path.name, graph) for path in before}
    assert len(stages()) >= 19 and set(stages()) <= set(closures)
    for path in paths:
        with (copy / path.relative_to(ROOT)).open("a", encoding="utf-8") as file:
            file.write("\n# a comment\n")
    assert stage_digests(copy) == before
    for path in paths:
        place, module = copy / path.relative_to(ROOT), module_of(path)
        text = place.read_text(encoding="utf-8")
        place.write_text(f"{text}\nCHANGED = 1\n", encoding="utf-8")
        now = stage_digests(copy)
        stale = {stage.name for stage in now if now[stage] != before[stage]}
        science = path.is_relative_to(ROOT / "tom")
        takes_stock = {stage for stage, names in closures.items() if "pipeline.config.digests" in names and science}
        assert stale == {stage for stage, names in closures.items() if module in names} | takes_stock, module
        place.write_text(text, encoding="utf-8")
    assert stage_digests(copy) == before


def test_what_a_stage_really_loads_is_in_its_digest() -> None:
    """Each module is imported in a fork of one process, and what Python loaded for it compared."""
    program = (
        "import os, sys, importlib\n"
        "for module in sys.argv[1:]:\n"
        "    if os.fork() == 0:\n"
        "        importlib.import_module(module)\n"
        "        loaded = (getattr(m, '__file__', None) or '' for m in list(sys.modules.values()))\n"
        "        print(module, *(path for path in loaded if path.startswith(os.getcwd()) and '/.venv/' not in path))\n"
        "        sys.stdout.flush()\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    modules = stages()
    said = subprocess.run(
        [sys.executable, "-c", program, *modules], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[0] for line in said.splitlines()] == modules
    for line in said.splitlines():
        module, *paths = line.split()
        loaded = {str(Path(path).relative_to(ROOT)) for path in paths}
        assert loaded and loaded <= set(module_digests([module], ROOT, PROJECT)), module
