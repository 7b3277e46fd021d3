"""Cells as the settings and the code are now, and whether they are trained."""

from collections.abc import Iterable

from pipeline.config.compose import compose_cell, stop_of
from pipeline.config.digests import code_digest
from pipeline.config.params import Grid
from pipeline.files import ROOT
from pipeline.runs.folder import Cell, State, run_folder, state
from pipeline.suites.returns.work import result_folder


def cell_of(
    method: str, env: str, seed: int, scale: str, overrides: Iterable[str] = (), grid: Grid | None = None
) -> Cell:
    """The cell with these names, as far as a grid wants it; SettingsError if its settings cannot be composed."""
    config = compose_cell(method, env, scale, overrides)
    until = None if grid is None else stop_of(grid, env, config)
    return Cell(method, env, seed, scale, config, code_digest(config, ROOT), until)


def is_trained(cell: Cell) -> bool:
    """Whether its run is recorded, or waits in runs/."""
    return any(state(folder, cell) is State.FINISHED for folder in (result_folder(cell), run_folder(cell, ROOT)))
