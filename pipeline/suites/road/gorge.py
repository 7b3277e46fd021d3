"""DVC stage `gorge`: the same methods in a second world, where what is paid lies where the policy cannot go.

python -m pipeline.suites.road.gorge      # replaces reports/gorge, minutes on two cores
"""

import sys

from pipeline.config.params import load_params
from pipeline.suites.road.cells import GORGE_CELL, gorge_content
from pipeline.suites.road.jobs import Job, gorge_jobs
from pipeline.suites.road.measured import GORGE
from pipeline.suites.road.work import make, measure


def main() -> int:
    """0 when the tables are there; 2 and one sentence for a fault in params.yaml; 1 for numbers that are not finite."""
    return measure(wanted_now, GORGE_CELL, "configure", GORGE, make)


def wanted_now() -> tuple[list[Job], str]:
    """The jobs of the second world, and what its file has to say."""
    return gorge_jobs(load_params()), gorge_content(load_params())


if __name__ == "__main__":
    sys.exit(main())
