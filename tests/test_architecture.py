"""Who may import whom, read from the source: the science no experiment, the figures no science."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXPERIMENT = {"hydra", "omegaconf", "dvc", "wandb", "pandas", "seaborn", "matplotlib", "pipeline"}
PARTS = ("weightings", "losses", "dynamics", "backbones")


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[str]:
    """The dotted names that a file imports, wherever in it, relative ones made absolute."""
    package = list(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def top_level(path: Path) -> set[str]:
    return {module.partition(".")[0] for module in imports(path)}


@pytest.mark.parametrize("path", files("tom"), ids=name)
def test_science_knows_no_experiment(path: Path) -> None:
    assert not top_level(path) & EXPERIMENT


@pytest.mark.parametrize("module", FIGURES)
def test_tables_and_figures_know_no_science(module: str) -> None:
    assert not top_level(ROOT / "pipeline" / f"{module}.py") & {"torch", "tom", "gymnasium", "mujoco"}


@pytest.mark.parametrize("path", files("pipeline/report"), ids=name)
def test_the_report_knows_no_science(path: Path) -> None:
    assert not top_level(path) & {"torch", "tom", "gymnasium", "mujoco"}


def test_nothing_loaded_for_tables_and_figures_knows_the_science() -> None:
    modules = "pipeline.suites.returns.tables, pipeline.suites.returns.figure, pipeline.suites.road.figure, pipeline.suites.evidence.figure, pipeline.suites.evidence.tables, "
    modules += "pipeline.report.scores, pipeline.report.figures, pipeline.report.page"
    program = f"import sys, {modules}; print({{'torch', 'tom', 'gymnasium'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


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
