"""Tables and figures, made again from what is recorded and compared with those that are there."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from pipeline.checks.report import unlike
from pipeline.config.refusals import one_line
from pipeline.suites.ablation import figure as ablation_plot
from pipeline.suites.ablation import tables as ablation_tables
from pipeline.suites.age import figure as age_plot
from pipeline.suites.age import tables as age
from pipeline.suites.evidence import figure as evidence_plot
from pipeline.suites.evidence import tables as evidence_tables
from pipeline.suites.returns.figure import plot
from pipeline.suites.returns.tables import aggregate
from pipeline.suites.road import figure as road_plot
from pipeline.suites.road.tables import write as road_tables
from pipeline.suites.weights import figure as weights_plot
from pipeline.suites.weights import tables as weights_tables

UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, YAMLError, OmegaConfBaseException)


@dataclass(frozen=True)
class Remade:
    """Tables and figures, in this order, what they are made from, and by what."""

    outputs: tuple[str, str]
    inputs: tuple[str, ...]
    makers: tuple[Callable[[Path], object], Callable[[Path], object]]
    always: bool = False  # else only where any of the outputs is there


REMADE = (
    Remade(
        ("reports/tables/returns", "reports/figures/returns"),
        ("reports/results", "reports/paper", "params.yaml"),
        (aggregate, plot),
        always=True,
    ),
    Remade(
        ("reports/tables/road", "reports/figures/road"),
        ("reports/road", "reports/paper"),
        (road_tables, road_plot.plot),
    ),
    Remade(
        ("reports/tables/weights", "reports/figures/weights"),
        ("reports/weights", "reports/paper", "params.yaml"),
        (weights_tables.make_tables, weights_plot.plot),
    ),
    Remade(
        ("reports/tables/ablation", "reports/figures/ablation"),
        ("reports/ablation", "params.yaml"),
        (ablation_tables.make_tables, ablation_plot.plot),
    ),
    Remade(
        ("reports/tables/evidence", "reports/figures/evidence"),
        ("reports/evidence", "reports/paper", "reports/claims.yaml"),
        (evidence_tables.make_tables, evidence_plot.plot),
    ),
    Remade(
        ("reports/tables/age", "reports/figures/age"),
        ("reports/results", "params.yaml"),
        (age.make_tables, age_plot.plot),
    ),
)


def made_problems(root: Path) -> Iterator[str]:
    """Which tables and figures are not those that follow from what is recorded, when made again; but the report's."""
    for made in REMADE:
        if made.always or any((root / part).exists() for part in made.outputs):
            yield from _made_again(root, made)


def _made_again(root: Path, made: Remade) -> Iterator[str]:
    """Which files of the outputs are not those that the makers put there, given another root with the same inputs."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        (fresh / "reports").mkdir()
        try:
            for part in made.inputs:
                (fresh / part).symlink_to((root / part).absolute())
            for make in made.makers:
                make(fresh)
        except UNREADABLE as error:
            said = one_line(error).replace(f"{fresh}/", "").replace(f"{root}/", "")
            yield f"{' and '.join(made.outputs)}: cannot be made again ({said})"
        for part in made.outputs:
            yield from unlike(root, fresh, part)
