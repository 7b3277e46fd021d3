"""Times of the algorithm's parts against their matrix products, on one core.

python -m pipeline.checks.bench                            everything, minutes; JSON and a table in reports/benchmarks
python -m pipeline.checks.bench --brief                    the parts of a step alone, printed
python -m pipeline.checks.bench --compare A.json B.json    what became slower; exit code 1 if anything did
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.checks.bench import report
from pipeline.files import ROOT


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 where a comparison finds a part slower; 2 for files that cannot be compared."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.checks.bench", description="seconds per part of a run")
    parser.add_argument("--brief", action="store_true", help="the parts of a step alone, nothing written")
    parser.add_argument("--compare", nargs=2, metavar=("A.json", "B.json"), help="what became slower from A to B")
    parser.add_argument("--out", type=Path, default=ROOT / "reports/benchmarks", help="folder of the report")
    parser.add_argument("--hours", action="store_true", help="hours of the run described as JSON on stdin")
    given = parser.parse_args(argv)
    if given.compare:
        return _compare(*given.compare)
    _one_thread()
    from pipeline.checks.bench import suite

    if given.hours:
        print(suite.hours(json.load(sys.stdin)))
        return 0
    found: dict[str, Any] = {"machine": report.machine(), "parts": suite.steps_in_parts(_say)}
    if given.brief:
        for env, timings in found["parts"].items():
            print(f"{env}:", *report.part_lines(timings), sep="\n")
        return 0
    found["replay"] = suite.growth_with_replay(_say)
    found["seeds"] = suite.growth_with_seeds(_say)
    found["hours"] = suite.hours_of_runs(_say)
    path = report.write(found, given.out)
    print(report.table(found))
    print(f"written: {path} and {path.with_suffix('.md').name}")
    return 0


def _compare(before: str, after: str) -> int:
    try:
        lines, slower = report.compare(report.read(before), report.read(after))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(*lines, sep="\n")
    return int(slower)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)


def _say(what: str) -> None:
    print(f"timing {what} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
