"""The suite's stage `road`: the same methods on Road-and-Rocks (Figure 2), minutes on two cores.

python -m pipeline.suites.ablation.road      # replaces reports/ablation/road
"""

import sys
from pathlib import Path

from pipeline.config.params import load_params
from pipeline.files import write_json
from pipeline.suites.ablation.cells import ABLATION, ROAD_CELL, road_cell, road_jobs
from pipeline.suites.ablation.tables import ROAD_FOLDER
from pipeline.suites.road.jobs import Job
from pipeline.suites.road.measured import RAW
from pipeline.suites.road.work import measure, trained, write


def make(wanted: list[Job], folder: Path) -> None:
    """Trains the jobs, and writes curves and weights into the folder; a record alone where there are none."""
    if not wanted:
        write_json(folder / RAW, {"jobs": [], "sha256": {}})
        return
    curves, weights, _ = trained(wanted)
    write(wanted, folder, {"curves_by_seed": curves, "weights": weights})


def main() -> int:
    """0 when the tables are there; 2 and one sentence for a fault in params.yaml; 1 for numbers that are not finite."""
    return measure(wanted_now, ROAD_CELL, f"{ABLATION.stages}:configure", ROAD_FOLDER, make)


def wanted_now() -> tuple[list[Job], str]:
    """The suite's jobs, and what its file has to say."""
    return road_jobs(load_params()), road_cell(load_params())


if __name__ == "__main__":
    sys.exit(main())
