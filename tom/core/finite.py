"""Numbers that are not finite: the error that ends the replicas that have them. Knows no torch."""

from collections.abc import Mapping

import numpy as np


class Diverged(ArithmeticError):
    """Numbers of some replicas that are not finite: the message says where; `numbers` are those of the round, [R]."""

    def __init__(self, env_steps: int, where: Mapping[str, np.ndarray], numbers: Mapping[str, np.ndarray]):
        """`where` tells for each name at fault which replicas are, bool [R]."""
        super().__init__(f"diverged: {', '.join(where)} not finite at env step {env_steps}")
        self.env_steps, self.where, self.numbers = env_steps, list(where), dict(numbers)
        self.replicas: list[int] = np.flatnonzero(np.any(list(where.values()), 0)).tolist()


def check_finite(env_steps: int, numbers: Mapping[str, np.ndarray], sums: Mapping[str, np.ndarray]) -> None:
    """Diverged if a sum of what must be finite is not, or a number of a round is infinite: NaN is what is not known.

    numbers and sums hold one value per replica under each name, [R].
    """
    faults = {name: np.isinf(values) for name, values in numbers.items()}
    faults |= {name: ~np.isfinite(values) for name, values in sums.items()}
    if where := {name: fault for name, fault in faults.items() if fault.any()}:
        raise Diverged(env_steps, where, numbers)
