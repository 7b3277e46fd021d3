"""Times of the algorithm's parts against their matrix products, on one core or on a GPU."""

import json
import sys
from pathlib import Path
from typing import Any

from pipeline.checks.bench import report
from pipeline.files import ROOT
from pipeline.runs.ensure import refuse_without_cuda


def benched(brief: bool, device: str, compared: tuple[Path, Path] | None, out: Path | None) -> int | str:
    """Times everything, minutes, or the parts of a step alone; or what became slower, and then 1 if anything did.

    SettingsError for files that cannot be compared; Refused for a GPU that is not there.
    """
    if compared:
        lines, slower = report.compare(*map(report.read, compared))
        print(*lines, sep="\n")
        return int(slower)
    if device == "cuda":
        refuse_without_cuda()
    one_thread()
    from pipeline.checks.bench import suite

    found: dict[str, Any] = {"machine": report.machine(device), "parts": suite.steps_in_parts(_say, device)}
    if brief:
        for env, timings in found["parts"].items():
            print(f"{env}:", *report.part_lines(timings), sep="\n")
        return 0
    found["replay"] = suite.growth_with_replay(_say, device)
    found["seeds"] = suite.growth_with_seeds(_say, device)
    found["hours"] = suite.hours_of_runs(_say, device)
    path = report.write(found, out or ROOT / "reports/benchmarks")
    return f"{report.table(found)}\nwritten: {path} and {path.with_suffix('.md').name}"


def one_thread() -> None:
    """One thread, so that times are of one core, and always the same numbers."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)


def _say(what: str) -> None:
    print(f"timing {what} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":  # the hours of the run whose settings are on stdin, in a process of its own
    from pipeline.checks.bench import suite

    one_thread()
    print(suite.hours(**json.load(sys.stdin)))
