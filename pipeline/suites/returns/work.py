"""DVC stage `train`: one cell of the grid, trained or found, copied to where it is recorded.

    python -m pipeline.suites.returns.work method=tom env=hopper seed=0 scale=quick [--train-only]
    python -m pipeline.suites.returns.work method=tom env=hopper seed=0,1,2,3 scale=paper device=cpu --train-only

With device= it trains there, else on a GPU if it finds one. With until=, which wants --train-only, it stops there for
now, wherever params.yaml has it stop: what is recorded goes as far as that says.
Several seeds are trained together, as replicas in one process. Reads the cell's resolved settings from reports/cells/
and nothing else, so a cell that is finished costs no imports. With --train-only it stops when runs/ has the run; with
--no-training it fails where a run is missing.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config.digests import code_digest
from pipeline.config.refusals import check_until, one_of, whole_number
from pipeline.files import ROOT
from pipeline.runs.answers import answered
from pipeline.runs.folder import Cell, Refused, State, copy_run, refuse_altered, run_folder, state
from pipeline.runs.interruptions import die_with_parent
from pipeline.runs.partial import locked
from tom.settings.fields import SettingsError

FLAGS = ("--train-only", "--no-training")
USAGE = "usage: method=M env=E seed=N[,N...] scale=S [device=D] [--train-only [until=N]]"
DigestOf = Callable[[dict[str, Any], Path], str]
NO_TRAINING = "CELL_NO_TRAINING"  # set by the launcher: a cell that failed there is not tried again by DVC


def cell_path(scale: str, method: str, env: str) -> Path:
    """Where a cell's resolved settings are, relative to the repository."""
    return Path("reports/cells") / scale / method / f"{env}.json"


def read_cell_file(
    path: Path, digest_of: DigestOf, configure: str, root: Path
) -> tuple[dict[str, Any], str, int | None]:
    """A cell's resolved values, the digest of the code it uses, and its stop, as the DVC stage `configure` wrote them.

    Refused if the file is missing, broken or was written for other code than `digest_of` finds here.
    """
    try:
        content = json.loads((root / path).read_text(encoding="utf-8"))
        config, then, until = content["config"], content["source_digest"], content.get("until")
        now = digest_of(config, root)
    except FileNotFoundError:
        raise Refused(f"{path} is missing; run `dvc repro {configure}`") from None
    except SettingsError:  # of the code, not of the file
        raise
    except (ValueError, KeyError, TypeError):
        raise Refused(f"{path} is broken; run `dvc repro --force {configure}`") from None
    if then != now:
        raise Refused(f"{path} was written for other code; run `dvc repro {configure}`")
    return config, now, until


def read_cell(method: str, env: str, seed: int, scale: str, root: Path = ROOT) -> Cell:
    """The cell as `configure` wrote it; Refused if that is missing or was written for other code."""
    path = cell_path(scale, method, env)
    return Cell(method, env, seed, scale, *read_cell_file(path, code_digest, "configure", root))


def result_folder(cell: Cell, root: Path = ROOT) -> Path:
    """Where the cell's result is recorded."""
    return root / "reports/results" / cell.scale / cell.method / cell.env / str(cell.seed)


def record(
    cell: Cell, train_only: bool = False, no_training: bool = False, root: Path = ROOT, device: str = "auto"
) -> str:
    """Makes the cell's result be where it is recorded; returns the one line that says how.

    A result that was changed since is copied again from runs/. Refused, naming the file, where the run is not there.
    """
    run, result = run_folder(cell, root), result_folder(cell, root)
    if state(result, cell) is State.FINISHED:
        return f"{cell.name}: already recorded"
    if state(run, cell) is State.FINISHED:
        line = f"{cell.name}: already trained"
    elif no_training:
        refuse_altered(result, cell)
        raise Refused(f"{cell.name}: no finished run in {run.relative_to(root)}")
    else:
        (line,) = _trained([(cell, run)], root, device)
    if train_only:
        return line
    _refuse_changed(cell, run, root)
    with locked(run, wait=True):
        copy_run(run, result)
    return line


def train_together(cells: Sequence[Cell], root: Path = ROOT, device: str = "auto") -> list[str]:
    """Makes runs/ have the run of every cell; they differ in their seed alone. Returns a line for each."""
    return _trained([(cell, run_folder(cell, root)) for cell in cells], root, device)


def main(argv: Sequence[str] | None = None) -> int:
    """0 when the cell is recorded, 1 when it failed, 2 for arguments that cannot be used."""
    argv = sys.argv[1:] if argv is None else list(argv)
    given = dict(argument.partition("=")[::2] for argument in argv if argument not in FLAGS)
    seeds, train_only = given.get("seed", "").split(","), "--train-only" in argv
    names_one = set(given) - {"device", "until"} == {"method", "env", "seed", "scale"} and all(map(str.isdigit, seeds))
    if not names_one or (not train_only and (len(seeds) > 1 or "until" in given)):
        print(USAGE, file=sys.stderr)
        return 2
    die_with_parent()
    no_training = "--no-training" in argv or NO_TRAINING in os.environ

    def line() -> str:
        device = _device(given)
        cells = [read_cell(given["method"], given["env"], int(seed), given["scale"]) for seed in seeds]
        if "until" in given:
            stop = check_until("until", whole_number("until", given["until"], low=1), cells[0].config["train"])
            cells = [replace(cell, until=stop) for cell in cells]
        if len(cells) > 1:
            return "\n".join(train_together(cells, device=device))
        return record(cells[0], train_only, no_training, device=device)

    return answered(line)


def _device(given: Mapping[str, str]) -> str:
    if "device" not in given:
        return "auto"
    from pipeline.config.compose import DEVICES  # takes a while, and DVC never names a device

    return one_of("device", given["device"], DEVICES)


def _trained(pairs: Sequence[tuple[Cell, Path]], root: Path, device: str) -> list[str]:
    from pipeline.config.params import load_params  # not needed, and not paid for, where a run is found
    from pipeline.runs.ensure import Job, Options, ensure_all_trained

    for cell, run in pairs:
        if state(run, cell) is not State.FINISHED:  # else what was recorded is copied again, not trained
            refuse_altered(result_folder(cell, root), cell)
    options = Options(device, tracking=load_params(root).tracking, wait=True)
    return ensure_all_trained([Job(cell, run, result_folder(cell, root)) for cell, run in pairs], options)


def _refuse_changed(cell: Cell, run: Path, root: Path) -> None:
    """DVC hashes what a stage depends on when the stage ends: an edit meanwhile would be recorded as what was run."""
    try:
        same = read_cell(cell.method, cell.env, cell.seed, cell.scale, root) == cell
    except (Refused, SettingsError):
        same = False
    if not same:
        raise Refused(
            f"{cell.name}: params.yaml or the code changed while this cell trained; its result is kept in "
            f"{run.relative_to(root)}, not recorded; run `dvc repro` again"
        )


if __name__ == "__main__":
    sys.exit(main())
