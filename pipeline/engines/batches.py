"""Cells that train together in one process, and how a command line names them."""

from collections.abc import Sequence

from pipeline.runs.folder import Cell

Batch = Sequence[Cell]  # cells that differ in their seed alone


def batched(cells: Sequence[Cell], size: int) -> list[Batch]:
    """The cells in groups of at most `size` that can train together."""
    alike: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        alike.setdefault((cell.method, cell.env, cell.scale, cell.source_digest), []).append(cell)
    return [group[start : start + size] for group in alike.values() for start in range(0, len(group), size)]


def words_of(batch: Batch) -> list[str]:
    """The cells on a command line."""
    cell, seeds = batch[0], ",".join(str(cell.seed) for cell in batch)
    return [f"method={cell.method}", f"env={cell.env}", f"seed={seeds}", f"scale={cell.scale}"]


def until_of(batch: Batch) -> list[str]:
    """Where they stop for now, on a command line."""
    return [] if batch[0].until is None else [f"until={batch[0].until}"]
