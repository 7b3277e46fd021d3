"""What is timed: something that a training does over and over."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.checks.bench.products import Counted, Product


@dataclass(frozen=True)
class Part:
    """Something to time: a call of `run` does `units` units, a step of training `per_env_step` of them.

    `products`: those of a unit that it is set beside; None for all that it does. What is not `counted` is reported
    apart from the cost of a step.
    """

    name: str
    run: Callable[[], object]
    units: int
    per_env_step: float
    products: Sequence[Product] | None = None
    counted: bool = True

    def counts(self) -> Counter[Product]:
        """How often a call does each product; does it once."""
        with Counted() as seen:
            self.run()
        return seen.products if self.products is None else Counter(list(self.products) * self.units)
