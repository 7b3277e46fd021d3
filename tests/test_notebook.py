"""The notebook loads what is recorded and draws it: its cells are run here as they stand, without Jupyter."""

import json
from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import pytest

from tests.pages import ROOT

NOTEBOOK = ROOT / "notebooks" / "results.ipynb"


def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


@pytest.fixture
def figures() -> Iterator[Any]:
    plt.close("all")
    yield lambda: [plt.figure(number) for number in plt.get_fignums()]
    plt.close("all")


def test_it_draws_the_recorded_results(figures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(NOTEBOOK.parent)  # as Jupyter does
    names: dict[str, Any] = {}
    for cell in cells():
        lines = [line for line in cell["source"] if not line.startswith("%")]  # IPython's own
        exec(compile("".join(lines), f"{NOTEBOOK.name}#{cell['id']}", "exec"), names)
    assert {"claims", "evaluations", "shares"} <= {name for name in names if len(getattr(names[name], "index", ()))}
    drawn = figures()
    assert len(drawn) == 4
    assert all(any(ax.lines or ax.collections or ax.patches for ax in figure.axes) for figure in drawn)


def test_it_is_kept_without_outputs() -> None:
    """They would be numbers that nobody makes again."""
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells())
