"""Who may import whom, read from the source: the science no experiment, the figures no science."""

import ast
import sys
from pathlib import Path

import pytest

from tests.rooms import ROOT, circles, file_graph, files, floors, imports, module_of, room_graph

EXPERIMENT = {"hydra", "omegaconf", "dvc", "wandb", "pandas", "seaborn", "matplotlib", "pipeline"}
SCIENCE = {"torch", "tom", "gymnasium", "mujoco"}
DRAWN = [
    path
    for path in files("pipeline")
    if path.stem in ("tables", "figure", "page", "table") or path.parent.name == "report"
    if path.stem != "hyperparameters"  # a table of the settings themselves
]
PARTS = ("weightings", "losses", "dynamics", "backbones")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def top_level(path: Path) -> set[str]:
    return {module.partition(".")[0] for module in imports(path)}


@pytest.mark.parametrize("path", files("tom"), ids=name)
def test_science_knows_no_experiment(path: Path) -> None:
    assert not top_level(path) & EXPERIMENT


@pytest.mark.parametrize(
    "path", [path for room in ("analysis", "claims") for path in files(f"pipeline/{room}")], ids=name
)
def test_statistics_and_verdicts_know_no_science(path: Path) -> None:
    assert not top_level(path) & SCIENCE


@pytest.mark.parametrize("path", DRAWN, ids=name)
def test_nothing_loaded_for_tables_and_figures_knows_the_science(path: Path) -> None:
    """So that a change of the science reaches them through data alone."""
    for module in reached(module_of(path)):
        assert module.partition(".")[0] not in SCIENCE
        stem = ROOT / module.replace(".", "/")
        assert not top_level(next(p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file())) & SCIENCE


def reached(module: str) -> set[str]:
    """The modules that one loads, as far as the house goes."""
    graph, found, waiting = file_graph(), set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name]
    return found


def test_the_house_has_no_circle_and_few_floors() -> None:
    rooms = room_graph()
    assert circles(file_graph()) == [] and circles(rooms) == []
    assert len(rooms) <= 23 and len(floors(room_graph(at_once=True))) <= 8


@pytest.mark.parametrize("path", files("tom/settings"), ids=name)
def test_settings_need_no_torch(path: Path) -> None:
    assert not top_level(path) & {"torch", "gymnasium", "mujoco"}
    others = {".".join(module.split(".")[:2]) for module in imports(path) if module.startswith("tom.")}
    assert others <= {"tom.settings"}


@pytest.mark.parametrize("path", [path for part in PARTS for path in files(f"tom/{part}")], ids=name)
def test_parts_meet_in_their_base_classes_alone(path: Path) -> None:
    own = path.parent.name
    for module in imports(path):
        package, part, *rest = (*module.split("."), "", "")[:3]
        if package == "tom" and part in PARTS and part != own:
            assert rest in (["base"], [""]), f"{name(path)} imports {module}"


@pytest.mark.parametrize("path", files("tom"), ids=name)
def test_no_branch_asks_for_the_method(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            assert "method" not in ast.dump(node.test), f"{name(path)}:{node.lineno}"
        if isinstance(node, ast.Match):
            assert "method" not in ast.dump(node.subject), f"{name(path)}:{node.lineno}"


@pytest.mark.parametrize("path", files("tom"), ids=name)
def test_no_file_is_named_after_a_standard_module(path: Path) -> None:
    assert path.stem == "__init__" or path.stem not in sys.stdlib_module_names
