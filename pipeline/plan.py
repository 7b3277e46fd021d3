"""What `tom repro` would train, how long that takes on an engine, and how much disk it needs.

Changes nothing. Times are those of runs recorded on this processor, else of a short calibration of their parts.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from pipeline.analysis.extent import TOTAL, so_far
from pipeline.claims.needed import Runs, needed_by
from pipeline.config.params import Grid, Params, Suite, load_params
from pipeline.config.refusals import one_of, stop_in
from pipeline.engines.batches import batched
from pipeline.engines.engine import Engine
from pipeline.engines.estimate import begun, end_of, in_words, lanes, makespan, seconds_of, steps_left, unknown
from pipeline.files import here
from pipeline.runs.folder import Cell
from pipeline.suites.returns.cells import cell_of, is_trained
from pipeline.suites.suite import Launched, kinds
from tom.settings.fields import SettingsError

CHECKPOINTS = 3  # two are kept, one is being written
FLOAT = 4  # bytes
TEXT = 18  # bytes of a number in a table
COLUMNS = 40  # of train.csv
MACHINES = (2, 4, 8, 16)


def plan(claims: Sequence[str], suite: str | None, scale: str | None, until: str | None, engine: Engine) -> str:
    """The plan of what claims need, or else of the suite with this name, or the grid, at this scale and as far as that.

    What is not given is as in params.yaml.
    """
    runs, params = needed(claims, suite=suite, scale=scale, until=until), load_params()
    if runs:
        cells, stale = cells_for(runs, params)
    elif suite:
        section = kinds()[one_of("suite", suite, kinds())].section(params)
        grid = section.grid if until is None else replace(section.grid, until=stop_in(until))
        section = replace(section, scale=one_of("scale", scale or section.scale, params.scales), grid=grid)
        cells, stale = cells_in(suite, section, params)
    else:
        scale = one_of("scale", scale or params.scale, params.scales)
        cells, stale = cells_of(params.grid if until is None else replace(params.grid, until=stop_in(until)), scale)
    named = runs.suite if runs else suite
    if named and not kinds()[named].trains_runs:
        engine.use_cpus()
    lines = described(stale, len(cells), engine.slots() if stale else 1, engine)
    return "\n".join([*([f"needs {runs}", *runs.because] if runs else []), *lines])


def needed(claims: Sequence[str], **others: object) -> Runs | None:
    """The runs that the claims need, if any; SettingsError for one that none decide, or words that --claim says."""
    for name, value in others.items():
        if claims and value is not None:
            raise SettingsError(f"{name}={value} beside --claim, which says it; leave --{name} out")
    return needed_by(claims, here()) if claims else None


def cells_of(grid: Grid, scale: str) -> tuple[list[Cell], list[Cell]]:
    """Those of a grid, and which of them are not trained."""
    cells = [cell_of(m, e, s, scale, grid=grid) for m, e, s in product(grid.methods, grid.envs, grid.seeds)]
    return cells, [cell for cell in cells if not is_trained(cell)]


def cells_for(runs: Runs, params: Params) -> tuple[list[Cell], list[Cell]]:
    """What has to be there, and what of it is not."""
    grid = grid_of(runs, params)
    if not runs.suite:
        return cells_of(grid, runs.scale)
    section = kinds()[runs.suite].section(params)
    return cells_in(runs.suite, replace(section, scale=runs.scale, grid=grid), params)


def grid_of(runs: Runs, params: Params) -> Grid:
    """The grid of the runs that claims need; a suite keeps what else it compares."""
    there = kinds()[runs.suite].section(params).grid.methods if runs.suite else ()
    return Grid(there if set(runs.methods) <= set(there) else runs.methods, runs.envs, runs.seeds)


def cells_in(name: str, section: Suite, params: Params) -> tuple[list[Cell], list[Cell]]:
    """What a suite with this section trains, and what of it is not there: runs, or whole cells.

    Of a cell that is not made of runs alone the run stands that takes nearly all of its time.
    """
    kind = kinds()[name]
    runs, missing = runs_of(kind, kind.composed(replace(params, suites={**params.suites, name: section})))
    return runs, [kind.collects(run) for run in missing if not kind.is_made(run)]


def runs_of(kind: Launched, cells: Sequence[Cell]) -> tuple[list[Cell], list[Cell]]:
    """What has to be trained for these cells, and for those of them that are not recorded."""
    needed = [(cell, kind.runs(cell)) for cell in cells]
    missing = [run for cell, runs in needed if not kind.is_recorded(cell) for run in runs]
    return [run for _, runs in needed for run in runs], missing


def described(stale: Sequence[Cell], total: int, slots: int, engine: Engine) -> list[str]:
    """The lines of the plan, with so many tasks of the engine at a time."""
    if not stale:
        return [f"{total} cells, all of them trained: nothing to do"]
    if any("train" not in cell.config for cell in stale):
        names = [f"{cell.env}, seed {cell.seed}" for cell in stale]
        page = f"pipeline/suites/{stale[0].method}/README.md"
        return [*names, f"{len(stale)} of {total} cells to train; how long a seed took is on the page {page}"]
    groups: dict[tuple[str, str, int], list[Cell]] = {}
    for cell in stale:
        groups.setdefault((cell.method, cell.env, begun(cell)), []).append(cell)
    batches = batched(stale, engine.batch or len(stale))
    tasks = seconds_of(batches, engine)
    left = {id(cell): steps_left(cell) for cell in stale}
    speeds = [seconds / sum(left[id(cell)] for cell in batch) for batch, seconds in zip(batches, tasks, strict=True)]
    each = {id(cell): speed * left[id(cell)] for batch, speed in zip(batches, speeds, strict=True) for cell in batch}
    lines = [f"{'method':20}{'environment':20}{'seeds':16}{'env steps':>12}{'a seed':>12}"]
    for (method, env, _), group in groups.items():
        seeds, steps = ",".join(str(cell.seed) for cell in group), way(group[0])
        lines.append(f"{method:20}{env:20}{seeds:16}{steps:>12}{in_words(each[id(group[0])]):>12}")
    tasks.sort(reverse=True)
    together = min(slots, len(tasks))
    elsewhere = "" if engine.name == "local" else f" on {engine.name}, if its processors are like this one"
    core, whole = engine.gpu() or "core", in_words(sum(tasks))
    hours = in_words(makespan(tasks, lanes(together, engine)))
    lines.append(f"{len(stale)} of {total} cells at scale {stale[0].scale} to train: {whole} of one {core}, "
                 f"about {hours} with {together} at a time{elsewhere}{unknown(engine)}")  # fmt: skip
    largest = max(sum(map(checkpoint_bytes, batch)) for batch in batches)
    kept = sum(result_bytes(cell) for cell in stale)
    last = sum(checkpoint_bytes(cell) for cell in stale if end_of(cell) < cell.config["train"][TOTAL])
    lines.append(f"disk: up to {in_bytes(CHECKPOINTS * together * largest)} for checkpoints while they train; "
                 f"{in_bytes(2 * kept)} afterwards, half of it in reports/results"
                 + (f", and {in_bytes(last)} in runs/ to go on from" if last else ""))  # fmt: skip
    if len(tasks) > slots:
        counts = [count for count in MACHINES if count * slots < 2 * len(tasks)]
        more = {count: in_words(makespan(tasks, lanes(count * slots, engine))) for count in counts}
        lines.append("with more machines like this: " + ", ".join(f"{hours} on {n}" for n, hours in more.items()))
    return lines


def way(cell: Cell) -> str:
    """From where to where the cell goes, of how much."""
    start, end = begun(cell), so_far(end_of(cell), cell.config["train"][TOTAL])
    return f"{start:,} to {end}" if start else end


def checkpoint_bytes(cell: Cell) -> int:
    """Of one checkpoint at the end of the run: its real and model rows, which outweigh everything else."""
    from tom.envs import spec_of

    spec, backbone = spec_of(cell.config["env"], contact_cost=False), cell.config["backbone"]
    length = max(backbone.get("rollout_length", 0), backbone.get("rollout_length_last", 0))
    model_rows = backbone.get("rollout_starts", 0) * length * backbone.get("rounds_retained", 0)
    width = 2 * spec.observation_dim + spec.action_dim + 3
    return FLOAT * width * (end_of(cell) + int(model_rows))


def result_bytes(cell: Cell) -> int:
    """Of a finished run: the policy and a row of numbers for each round."""
    from tom.envs import spec_of

    spec, hidden = spec_of(cell.config["env"], contact_cost=False), cell.config["backbone"]["hidden"]
    policy = hidden * (spec.observation_dim + hidden + 2 * spec.action_dim)
    return FLOAT * int(policy) + TEXT * COLUMNS * end_of(cell) // int(cell.config["train"]["round_env_steps"])


def in_bytes(count: float) -> str:
    """Bytes in a unit that people read."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
