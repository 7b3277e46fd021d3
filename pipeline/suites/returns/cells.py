"""Cells as the settings and the code are now, and whether they are trained."""

from collections.abc import Iterable
from itertools import product
from pathlib import Path

from pipeline.config.compose import compose_cell, stop_of
from pipeline.config.digests import code_digest
from pipeline.config.params import Grid, Params
from pipeline.engines.batches import Batch, words_of
from pipeline.files import ROOT
from pipeline.runs.folder import Cell, State, run_folder, state
from pipeline.suites.configure import cell_files
from pipeline.suites.returns.work import read_cell, result_folder


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


class Returns:
    """The grid of params.yaml, as the launcher sees it: every cell is a run."""

    name, trains_runs, configured = "", True, "configure"
    recording: list[list[str]] = [[]]  # noqa: RUF012 (nobody changes it)
    is_made, cell_files = staticmethod(is_trained), staticmethod(cell_files)

    def scale(self, params: Params) -> str:
        """That of the grid."""
        return params.scale

    def cells(self, params: Params) -> list[Cell]:
        """Every cell, as the stage `configure` wrote it."""
        grid = params.grid
        return [read_cell(m, e, s, params.scale) for m, e, s in product(grid.methods, grid.envs, grid.seeds)]

    def runs(self, cell: Cell) -> list[Cell]:
        """The cell itself."""
        return [cell]

    def is_recorded(self, cell: Cell) -> bool:
        """Whether its run is where results are recorded."""
        return state(result_folder(cell), cell) is State.FINISHED

    def folder_of(self, run: Cell) -> Path:
        """Where it trains."""
        return run_folder(run, ROOT)

    def command(self, batch: Batch) -> list[str]:
        """Trains the cells as `configure` wrote them down."""
        return ["pipeline.suites.returns.work", *words_of(batch), "--train-only"]


RETURNS = Returns()
