"""The suite's stage `weights`: one environment and seed, from SAC's replay to the mean weight of each chunk.

    python -m pipeline.weights.cell env=hopper seed=0 scale=quick

Writes reports/weights/<scale>/<env>/<seed>/: chunks.csv (method, chunk, part, weight_mean), numbers.csv (what each
weighting reports), returns.csv (SAC's evaluations) and provenance.json. The data set is made only where it is missing
(pipeline/weights/dataset.py); a result that is there for these values and this code is left as it is.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.checks import key_values, one_line, whole_number
from pipeline.interruptions import Stopped, die_with_parent
from pipeline.params import ROOT
from pipeline.run_folder import Cell, Refused, code_of, sha256
from pipeline.swap import replaced_folder
from pipeline.weights.dataset import dataset_folder, ensure, load
from pipeline.weights.suite import COLLECTOR, collector, read_cell
from tom.settings.fields import SettingsError

CHUNKS, NUMBERS, RETURNS, PROVENANCE = "chunks.csv", "numbers.csv", "returns.csv", "provenance.json"
FILES = (CHUNKS, NUMBERS, RETURNS)
PARTS = ("random", "replay")


def result_folder(cell: Cell, root: Path = ROOT) -> Path:
    """Where the cell's result is recorded."""
    return root / "reports/weights" / cell.scale / cell.env / str(cell.seed)


def is_recorded(cell: Cell, root: Path = ROOT) -> bool:
    """Whether the result of these values and this code is there, unchanged."""
    folder = result_folder(cell, root)
    try:
        found = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        same = found["fingerprint"] == cell.fingerprint and cell.source_digest in code_of(found)
        return same and all(sha256(folder / name) == found["sha256"][name] for name in FILES)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def record(cell: Cell, root: Path = ROOT) -> str:
    """Makes the cell's result be where it is recorded; returns the one line that says how."""
    if is_recorded(cell, root):
        return f"{cell.name}: already recorded"
    sac = collector(cell, root)
    folder = ensure(sac, root)
    chunks, numbers = weigh(cell, folder)
    with replaced_folder(result_folder(cell, root)) as fresh:
        write_csv(fresh / CHUNKS, chunks)
        write_csv(fresh / NUMBERS, numbers)
        (fresh / RETURNS).write_bytes((folder / "evals.csv").read_bytes())
        made = {
            "env": cell.env,
            "seed": cell.seed,
            "scale": cell.scale,
            "fingerprint": cell.fingerprint,
            "source_digest": cell.source_digest,
            "dataset": dataset_folder(sac, Path()).as_posix(),
            "sha256": {name: sha256(fresh / name) for name in FILES},
        }
        (fresh / PROVENANCE).write_text(json.dumps(made, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return f"{cell.name}: weighed with {', '.join(cell.config['methods'])}"


def weigh(cell: Cell, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of chunks.csv and numbers.csv; SettingsError before any compute for a buffer that is too small."""
    import torch

    from tom import curated
    from tom.settings import settings_class
    from tom.settings.agent import agent_settings

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    data, settings = load(folder, cell.env), agent_settings(cell.config[COLLECTOR])
    weighers = {
        method: curated.Weigher(
            settings_class("weighting", values["weighting"]["name"])(**values["weighting"]),
            values["discount"],
            values["time_limits"],
        )
        for method, values in cell.config["methods"].items()
    }
    for weigher in weighers.values():
        curated.refuse(weigher, 2 * len(data.transitions))
    parts = [curated.random_transitions(settings, cell.seed), data.transitions]
    longest = max(weigher.footprint_env_steps for weigher in weighers.values())
    trail, policy = curated.footprint(settings, data.policy, cell.seed, longest)
    chunks, numbers = [], []
    for method, weigher in weighers.items():
        replay = curated.curated([*parts, trail.last(weigher.footprint_env_steps)], weigher.time_limits)
        weights, reported = curated.offline_weights(weigher, replay, policy, cell.seed)
        chunks += list(_rows(method, curated.chunk_means(weights, [len(part) for part in parts])))
        numbers += [{"method": method, "number": name, "value": value} for name, value in reported.items()]
    return chunks, numbers


def _rows(method: str, means: Sequence[Sequence[float]]) -> Iterator[dict[str, Any]]:
    """A row per chunk, numbered through the parts."""
    named = [(part, mean) for part, chunks in zip(PARTS, means, strict=True) for mean in chunks]
    for chunk, (part, mean) in enumerate(named):
        yield {"method": method, "chunk": chunk, "part": part, "weight_mean": mean}


def write_csv(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """The rows as a table; numbers in full."""
    rows = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """0 when the cell is recorded, 1 when it failed, 2 for arguments that cannot be used."""
    try:
        given = key_values(sys.argv[1:] if argv is None else argv, ("env", "seed", "scale"))
        if len(given) < 3:
            raise SettingsError("usage: python -m pipeline.weights.cell env=E seed=N scale=S")
        die_with_parent()
        print(record(read_cell(given["env"], whole_number("seed", given["seed"], low=0), given["scale"])), flush=True)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return stop.code
    except SettingsError as error:
        print(one_line(error), file=sys.stderr)
        return 2
    except (Refused, ArithmeticError, RuntimeError, OSError) as error:
        print(one_line(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
