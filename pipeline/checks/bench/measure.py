"""Times of parts beside the same matrix products, and beside the rate of this core on 256 x 256 ones."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.checks.bench.products import CPU, Counted, Product, runner
from tom.core.graphs import WARM_UP, plain_steps

REPEATS = 5
PROBE = 100  # products of 256 x 256 for the rate of the core
SHORTEST_S = 0.02  # products that take less are repeated: a clock must see them


@dataclass(frozen=True)
class Part:
    """Something that a training does over and over: a call does `units` units, an environment step `per_env_step`.

    `products`: those of a unit that it is set beside; None for all that it does. What is not `counted` is reported
    apart from the cost of a step.
    """

    name: str
    run: Callable[[], object]
    units: int
    per_env_step: float
    products: Sequence[Product] | None = None
    counted: bool = True
    device: torch.device = CPU

    def counts(self) -> Counter[Product]:
        """How often a call does each product; does it once, step by step, since what a graph does is not seen."""
        with plain_steps(), Counted() as seen:
            self.run()
        return seen.products if self.products is None else Counter(list(self.products) * self.units)


@dataclass(frozen=True)
class Timing:
    """Medians over the repeats, of one unit: `floor_ms` at the core's rate, `products_ms` at their actual shapes."""

    part: str
    per_env_step: float
    gflop: float
    core_gflops: float
    floor_ms: float
    products_ms: float
    ms: float
    counted: bool


def seconds(run: Callable[[], object], device: torch.device = CPU) -> float:
    """Processor seconds of one call: what else the machine does is no part of them.

    On a GPU wall-clock seconds until the GPU has done it.
    """
    if device.type == "cpu":
        start = time.process_time()
        run()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(part: Part, repeats: int = REPEATS, counts: Mapping[Product, int] | None = None) -> Timing:
    """In each repeat the part, its products and the core's rate are taken one after another.

    `counts` are the part's where they are known, and it was done once; of what a call repeats one round is timed.
    """
    counts = part.counts() if counts is None else counts
    rounds, square = math.gcd(*counts.values()), Product(1, 256, 256, 256)
    products = runner({product: count // rounds for product, count in counts.items()}, part.device)
    probe = runner({square: PROBE}, part.device)
    for run in (part.run, products, probe):
        warm_up(run, part.device)
    often = max(1, round(SHORTEST_S / max(1e-6, seconds(products, part.device)))) if counts else 0
    gflop, found = sum(product.gflop * count for product, count in counts.items()) / part.units, []
    for _ in range(repeats):
        before = seconds(probe, part.device)
        bare = rounds / part.units * sum(seconds(products, part.device) for _ in range(often)) / max(1, often)
        whole = seconds(part.run, part.device) / part.units
        rate = 2 * PROBE * square.gflop / (before + seconds(probe, part.device))
        found.append((rate, 1e3 * gflop / rate, 1e3 * bare, 1e3 * whole))
    rate, floor, bare, whole = np.median(found, axis=0).tolist()
    return Timing(part.name, part.per_env_step, gflop, rate, floor, bare, whole, part.counted)


def warm_up(run: Callable[[], object], device: torch.device) -> None:
    """On a GPU steps are captured before they are timed."""
    for _ in range(WARM_UP + 1 if device.type == "cuda" else 0):
        run()


def step_ms(timings: Iterable[Timing]) -> float:
    """Milliseconds of one environment step: its counted parts."""
    return sum(timing.ms * timing.per_env_step for timing in timings if timing.counted)


def measure_in_turn(first: Iterable[Part], second: Iterable[Part]) -> list[float]:
    """Median ms of an environment step's counted parts, added up, of two agents, each pair of parts taken in turn."""
    whole = np.zeros(2)
    for pair in (pair for pair in zip(first, second, strict=True) if pair[0].counted):
        for part in pair:
            part.run()
            warm_up(part.run, part.device)
        times = [[1e3 * p.per_env_step * seconds(p.run, p.device) / p.units for p in pair] for _ in range(REPEATS)]
        whole += np.median(times, axis=0)
    return whole.tolist()
