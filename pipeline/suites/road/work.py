"""DVC stage `road`: trains Figure 2's agents, minutes on two cores, and replaces reports/road/.

    python -m pipeline.suites.road.work

Every method at every strength of the rocks, with all seeds in one process; as many of these as cores. The numbers
depend on params.yaml and the code alone, not on how many run at once; what a clock says is printed, not written.
"""

import dataclasses
import json
import multiprocessing
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.analysis.stage import DIGITS
from pipeline.config.params import load_params
from pipeline.config.refusals import one_line
from pipeline.files import ROOT, altered, cores, replaced_folder, sha256, write_json
from pipeline.runs.folder import code_of
from pipeline.runs.interruptions import die_with_parent
from pipeline.suites.road.cells import CELL, content, described
from pipeline.suites.road.jobs import Job, jobs
from pipeline.suites.road.measured import MEASURED, RAW
from tom.settings.fields import SettingsError

if TYPE_CHECKING:
    from tom.experiments.road_and_rocks import Measurement, Weights
    from tom.settings.experiments.road_and_rocks import World

PACKAGES = ("torch", "numpy", "gymnasium")
NODES = 51  # per side, and how far out they lie: those of the published map (reports/paper/fig2_heatmap.csv)
OUTERMOST = 0.95
ARROWS = 21  # per side, in the picture of what an action does

Rows = list[dict[str, Any]]


def main() -> int:
    """0 when the tables are there; 2 and one sentence for a fault in params.yaml; 1 for numbers that are not finite."""
    return measure(wanted_now, CELL, "configure", MEASURED, make)


def wanted_now() -> tuple[list[Job], str]:
    """The jobs of Figure 2, and what its file has to say."""
    wanted = jobs(load_params())
    return wanted, content(wanted)


def measure(
    wanted_now: Callable[[], tuple[list[Job], str]],
    cell: Path,
    configure: str,
    target: Path,
    fill: Callable[[list[Job], Path], None],
) -> int:
    """Makes the folder `target` have what `fill` puts there for the jobs, if `cell` describes them; the exit code.

    What is there for these jobs and this code, or code accepted as giving the same bytes, is left as it is.
    """
    start = time.perf_counter()
    try:
        wanted, expected = wanted_now()
        if not (ROOT / cell).is_file() or (ROOT / cell).read_text(encoding="utf-8") != expected:
            raise SettingsError(f"{cell} was written for other settings or code; run `dvc repro {configure}`")
        jobs, digest = (json.loads(expected)[name] for name in ("jobs", "source_digest"))
        if is_recorded(ROOT / target, jobs, digest):
            print(f"{target}: already recorded")
            return 0
        with replaced_folder(ROOT / target) as folder:
            fill(wanted, folder)
            write_json(folder / RAW, json.loads((folder / RAW).read_text(encoding="utf-8")) | {"source_digest": digest})
    except (SettingsError, ArithmeticError) as error:
        print(one_line(error), file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1
    print(f"wrote {target} in {time.perf_counter() - start:.0f} s")
    return 0


def is_recorded(folder: Path, jobs: list[Any], digest: str) -> bool:
    """Whether the folder has, unchanged, what such code made for the jobs."""
    try:
        found = json.loads((folder / RAW).read_text(encoding="utf-8"))
        whole = not altered(folder, found["sha256"], found["sha256"])
        return whole and found["jobs"] == jobs and digest in code_of(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def make(wanted: Sequence[Job], folder: Path, processes: int | None = None) -> None:
    """Trains the jobs, and writes what was measured into the folder."""
    curves, weights, heatmap = trained(wanted, processes)
    world = wanted[0].world
    main_rows = [row for row in heatmap if row["strength"] == world.strength]
    write(wanted, folder, {"curves_by_seed": curves, "weights": weights, "heatmap": main_rows, "map": arrows(world)})


def trained(wanted: Sequence[Job], processes: int | None = None) -> tuple[Rows, Rows, Rows]:
    """Rows of curves, of mean weights on and off the road, and of the map of weights: those of `train`, of all jobs."""
    done: dict[int, tuple[Rows, Rows, Rows]] = {}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes or cores(), len(wanted)), spawn, initializer=begin) as pool:
        running = {pool.submit(train, job): index for index, job in enumerate(wanted)}
        try:
            for future in as_completed(running):
                job = wanted[running[future]]
                done[running[future]] = future.result()
                print(f"[{len(done)}/{len(wanted)}] {job.method}, {said(*done[running[future]])}", flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    curves, weights, heatmap = ([row for index in sorted(done) for row in done[index][part]] for part in range(3))
    return curves, weights, heatmap


def write(wanted: Sequence[Job], folder: Path, tables: Mapping[str, Rows]) -> None:
    """Writes the tables into the folder, and a record of what they come from with their SHA-256."""
    for name, rows in tables.items():
        pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False, float_format=DIGITS, lineterminator="\n")
    record: dict[str, Any] = {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }
    record |= {"world": geometry(wanted[0].world), "jobs": described(wanted)}
    record |= {"sha256": {f"{name}.csv": sha256(folder / f"{name}.csv") for name in tables}}
    write_json(folder / RAW, record)


def said(curves: Rows, weights: Rows, heatmap: Rows) -> str:
    """What came of a job, in a line."""
    last = " ".join(f"{row['returns']:.0f}" for row in curves[-len(weights) :])
    ratios = " ".join(f"{row['on_road'] / row['off_road']:.1f}" for row in weights)
    return f"strength {curves[0]['strength']:g}: final return {last}; weight on/off the road {ratios}"


def begin() -> None:
    """One thread per process, so that the bytes do not depend on the cores; ends with the process that started it."""
    import torch

    die_with_parent()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def train(job: Job) -> tuple[Rows, Rows, Rows]:
    """Rows of curves, of mean weights on and off the road, and of the map of weights (averaged over seeds)."""
    from tom.experiments.road_and_rocks import Measurement, experiment

    names = {"strength": job.world.strength, "method": job.method}
    curves: Rows = []
    for record in experiment(job.agent, job.world, job.offline, job.seeds):
        if isinstance(record, Measurement):
            curves += [{**names, "seed": seed, **row} for seed, row in zip(job.seeds, measured(record), strict=True)]
        else:
            means = on_and_off(record, job.world)
            weights = [{**names, "seed": seed, **row} for seed, row in zip(job.seeds, means, strict=True)]
            heatmap = [{**names, **row} for row in on_grid(record)]
    return curves, weights, heatmap


def measured(record: "Measurement") -> Rows:
    """A row per seed; ArithmeticError for a return that is not finite."""
    if not record.returns.isfinite().all():
        raise ArithmeticError(f"Road-and-Rocks: a return is not finite after {record.updates} updates")
    columns = [field.name for field in dataclasses.fields(record) if field.name != "updates"]
    values = [getattr(record, name).tolist() for name in columns]
    return [{"updates": record.updates, **dict(zip(columns, row, strict=True))} for row in zip(*values, strict=True)]


def on_and_off(record: "Weights", world: "World") -> Rows:
    """A row per seed: the mean weight of the transitions that start on the road, of the others, and beyond a gorge."""
    from tom.envs import road_and_rocks

    on, far = road_and_rocks.on_road(record.obs), road_and_rocks.beyond(world, record.obs)
    places = {"on_road": on, "off_road": ~on} | ({"beyond": far} if world.far_pay else {})
    weights = record.weights.double()
    return [{name: float(row[at[seed]].mean()) for name, at in places.items()} for seed, row in enumerate(weights)]


def on_grid(record: "Weights") -> Rows:
    """Per node of the published map, the mean weight over the transitions of all seeds that start nearest to it."""
    ticks = np.linspace(-OUTERMOST, OUTERMOST, NODES)
    place = record.obs.double().numpy().reshape(-1, 2)
    column, row = np.clip(np.rint((place - ticks[0]) / (ticks[1] - ticks[0])), 0, NODES - 1).astype(int).T
    count, total = np.zeros((NODES, NODES)), np.zeros((NODES, NODES))
    np.add.at(count, (row, column), 1.0)
    np.add.at(total, (row, column), record.weights.double().numpy().ravel())
    return [
        {
            "x": ticks[j],
            "y": ticks[i],
            "rows": int(count[i, j]),
            "weight": total[i, j] / count[i, j] if count[i, j] else None,
        }
        for i in range(NODES)
        for j in range(NODES)
    ]


def arrows(world: Any) -> Rows:
    """Where the action (1, 0) takes the car, map units, from places all over the map."""
    import torch

    from tom.envs import road_and_rocks

    ticks = torch.linspace(-OUTERMOST, OUTERMOST, ARROWS)
    obs = torch.cartesian_prod(ticks, ticks)
    moved = road_and_rocks.displacement(world, obs, torch.tensor([1.0, 0.0]).expand_as(obs))
    rows = torch.cat([obs, moved], -1).double().tolist()
    return [dict(zip(("x", "y", "dx", "dy"), row, strict=True)) for row in rows]


def geometry(world: Any) -> dict[str, Any]:
    """What a picture of the map needs, map units."""
    from tom.envs import road_and_rocks

    names = ("road", "start", "goal", "camp")
    places = {name: getattr(road_and_rocks, name.upper()) for name in names}
    return {**places, **dataclasses.asdict(world)}


if __name__ == "__main__":
    sys.exit(main())
