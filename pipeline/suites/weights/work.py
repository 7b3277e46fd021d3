"""The suite's stage `weights`: one environment and seed, from SAC's replay to the mean weight of each chunk.

    python -m pipeline.suites.weights.work env=hopper seed=0 scale=quick

Writes reports/weights/<scale>/<env>/<seed>/: chunks.csv (method, chunk, part, weight_mean), numbers.csv (what each
weighting reports), returns.csv (SAC's evaluations) and provenance.json. The data set is made only where it is missing
(pipeline/suites/weights/dataset.py); a result that is there for these values and this code is left as it is.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.files import ROOT
from pipeline.runs.datasets.folder import load
from pipeline.runs.folder import Cell
from pipeline.suites.suite import record_one, write_csv
from pipeline.suites.weights.cells import CHUNKS, COLLECTOR, NUMBERS, RETURNS, WEIGHTS, collector
from pipeline.suites.weights.dataset import ensure

PARTS = ("random", "replay")


def record(cell: Cell, root: Path = ROOT) -> str:
    """Makes the cell's result be where it is recorded; returns the one line that says how."""
    if WEIGHTS.is_recorded(cell, root):
        return f"{cell.name}: already recorded"
    sac = collector(cell, root)
    folder = ensure(sac, root)
    chunks, numbers = weigh(cell, folder)
    with WEIGHTS.fresh(cell, root, dataset=f"runs/datasets/{sac.fingerprint}") as fresh:
        write_csv(fresh / CHUNKS, chunks)
        write_csv(fresh / NUMBERS, numbers)
        (fresh / RETURNS).write_bytes((folder / "evals.csv").read_bytes())
    return f"{cell.name}: weighed with {', '.join(cell.config['methods'])}"


def weigh(cell: Cell, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of chunks.csv and numbers.csv; SettingsError before any compute for a buffer that is too small."""
    import torch

    from tom.experiments import curated_buffer as curated
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


if __name__ == "__main__":
    sys.exit(record_one(WEIGHTS, record))
