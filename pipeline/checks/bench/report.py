"""What `make bench` found, as JSON and as a table, and what changed between two of them."""

import json
import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.analysis.tables import table_lines
from pipeline.files import write_file
from pipeline.runs.ensure import simulator_threads
from pipeline.runs.provenance import PACKAGES, cpu_model
from tom.settings.fields import SettingsError

SMALL_GFLOP = 0.01  # products that take less than a tenth of a millisecond are no reference
SLOWER = 0.1  # a part whose ratio to its reference has grown by more is reported as slower


def machine(device: str) -> dict[str, Any]:
    """Where and with what the times were taken."""
    import torch  # takes a second, and two reports are compared without it

    gpu = {"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}
    versions = {package: version(package) for package in PACKAGES}
    made = {"cores": os.cpu_count(), "python": platform.python_version(), "threads": simulator_threads(device)}
    return {**gpu, "cpu": cpu_model(), **made, **versions}


def place(made: Mapping[str, Any]) -> str:
    """What did the work: the GPU, or the processor one of whose cores did."""
    return str(made.get("gpu", made["cpu"]))


def write(found: Mapping[str, Any], folder: Path) -> Path:
    """Writes <processor>.json and <processor>.md, or the GPU's; returns the path of the first."""
    name = re.sub(r"[^a-z0-9]+", "-", place(found["machine"]).lower()).strip("-")
    for ending, text in (("json", json.dumps(found, indent=1) + "\n"), ("md", table(found))):
        write_file(folder / f"{name}.{ending}", text.encode())
    return folder / f"{name}.json"


def table(found: Mapping[str, Any]) -> str:
    """The whole report in markdown."""
    made = found["machine"]
    lines = [
        f"# Times on {place(made)}",
        "",
        ", ".join(f"{key} {value}" for key, value in made.items() if value != place(made)),
        "",
        "`floor` is the part's matrix products at the rate of 256 × 256 ones, `products` the same products at their",
        "actual shapes; everything was timed in turn in one process, and times are medians, in milliseconds.",
        *(["On the GPU the products are replayed as one graph, and so are the steps."] if "gpu" in made else []),
    ]
    for env, timings in found["parts"].items():
        lines += ["", f"## One environment step of tom on {env}, published sizes, 4 model minibatches", ""]
        lines += part_lines(timings)
    lines += [*_growth_lines(found["replay"], found["seeds"]), *_hours_lines(found["hours"], made)]
    return "\n".join(lines) + "\n"


def part_lines(timings: list[dict[str, Any]]) -> list[str]:
    """A table of the parts of an environment step, and their sum."""
    heads = ("part", "per env step", "GFLOP", "floor", "products", "here", "here / products", "ms per env step")
    rows = []
    for t in timings:
        ratio = f"{t['ms'] / t['products_ms']:.2f}" if t["gflop"] > SMALL_GFLOP else "–"
        times = (f"{t[of]:.2f}" for of in ("floor_ms", "products_ms", "ms"))
        cost = f"{t['ms'] * t['per_env_step']:.2f}" + ("" if t["counted"] else " (apart)")
        rows.append((t["part"], f"{t['per_env_step']:.3f}", f"{t['gflop']:.3f}", *times, ratio, cost))
    counted = [t for t in timings if t["counted"]]
    total = {of: sum(t[of] * t["per_env_step"] for t in counted) for of in ("floor_ms", "products_ms", "ms")}
    whole, speed = f"{total['ms'] / total['products_ms']:.2f}", f"{1e3 / total['ms']:.1f} env steps/s"
    rows.append(("**sum**", "", "", *(f"{value:.1f}" for value in total.values()), whole, speed))
    rates = sorted(t["core_gflops"] for t in timings)
    return [*table_lines(heads, rows, "lr"), "", f"256 × 256 products at {rates[0]:.0f} to {rates[-1]:.0f} GFLOP/s."]


def _growth_lines(grown: Mapping[str, float], seeds: list[dict[str, float]]) -> list[str]:
    rows, times = f"{grown['rows']:,} → {grown['rows_grown']:,}", f"{grown['ms']:.1f} → {grown['ms_grown']:.1f} ms"
    lines = ["", "## How the cost of a step grows", ""]
    lines += [f"* {rows} stored rows: {times}, × {grown['ratio']:.3f}, without the pass over the buffer in each round"]
    for row in seeds:
        each = f"{row['ms_per_seed']:.1f} ms for each, × {row['ratio']:.2f}"
        lines.append(f"* {row['seeds']} seeds in one process: {each}")
    return lines


def _hours_lines(runs: list[dict[str, Any]], made: Mapping[str, Any]) -> list[str]:
    heads = ("protocol", "environment", "method", "env steps", "ms per env step", "hours")
    names = ("protocol", "env", "method")
    rows = []
    for run in runs:
        numbers = f"{run['env_steps']:,}", f"{run['ms_per_env_step']:.0f}", f"{run['hours']:.1f}"
        rows.append((*(run[name] for name in names), *numbers))
    where = "the GPU, of a run alone" if "gpu" in made else "one core"
    lines = ["", f"## Hours of a run on {where}, at most", "", *table_lines(heads, rows, "lllr")]
    return [*lines, "", "At most: no fit stops before its last epoch, and no evaluation episode ends early."]


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Lines about every part that both know, and whether one has become slower.

    Parts are compared by their ratio to their own matrix products where they have any to speak of, so that another
    processor, or a busy one, is no regression; else by their time. SettingsError if one is of a GPU, the other not: a
    GPU waits for what is launched, whatever the products take.
    """
    if ("gpu" in before["machine"]) != ("gpu" in after["machine"]):
        places = " and ".join(place(each["machine"]) for each in (before, after))
        raise SettingsError(f"{places} cannot be compared; nearest valid choice: two processors or two GPUs")
    lines, slower = [f"{'part':44}{'before':>10}{'after':>10}{'change':>9}"], False
    for env in (env for env in before["parts"] if env in after["parts"]):
        known = {t["part"]: t for t in before["parts"][env]}
        for t in (t for t in after["parts"][env] if t["part"] in known):
            own = t["gflop"] > SMALL_GFLOP
            old, new = (each["ms"] / (each["products_ms"] if own else 1.0) for each in (known[t["part"]], t))
            change = new / old - 1.0
            slower |= change > SLOWER
            word = "  slower" if change > SLOWER else "  faster" if change < -SLOWER else ""
            lines.append(f"{env + ', ' + t['part']:44}{old:10.3f}{new:10.3f}{change:+8.0%}{word}")
    return lines, slower


def read(path: Path) -> dict[str, Any]:
    """A report written earlier; SettingsError if the file is not one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        parts, _ = found["parts"], place(found["machine"])
        assert all({"part", "ms", "products_ms", "gflop"} <= t.keys() for timings in parts.values() for t in timings)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError):
        raise SettingsError(
            f"{path} is not a report of pipeline.checks.bench; nearest valid choice: reports/benchmarks/*.json"
        ) from None
    return dict(found)
