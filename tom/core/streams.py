"""Random streams: one per purpose and replica, so that a part that draws more does not change another's luck."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# The simulator is on the CPU, and so is what decides its resets and the noise of the actions it is given.
ON_HOST = ("env", "eval", "policy", "probe")
PURPOSES = ("init", "env", "eval", "replay", "model", "rollout", "policy", "weighting", "probe")  # a new one comes last


class Stream:
    """R generators, one per replica; every draw has the leading axis R."""

    def __init__(self, generators: Sequence[torch.Generator]):
        self.generators = list(generators)

    @property
    def device(self) -> torch.device:
        return self.generators[0].device

    def normal(self, *shape: int) -> Tensor:
        """Standard normal draws [R, *shape]."""
        return torch.stack([torch.randn(shape, generator=g, device=g.device) for g in self.generators])

    def uniform(self, *shape: int) -> Tensor:
        """Uniform draws in [0, 1), [R, *shape]."""
        return torch.stack([torch.rand(shape, generator=g, device=g.device) for g in self.generators])

    def below(self, count: int | Sequence[int], *shape: int) -> Tensor:
        """Integers in [0, count), int64 [R, *shape]; count may differ between replicas."""
        counts = [count] * len(self.generators) if isinstance(count, int) else count
        pairs = zip(counts, self.generators, strict=True)
        return torch.stack([torch.randint(n, shape, generator=g, device=g.device) for n, g in pairs])

    def permutation(self, count: int) -> Tensor:
        """A random order of 0..count-1 for each replica, int64 [R, count]."""
        return torch.stack([torch.randperm(count, generator=g, device=g.device) for g in self.generators])

    def seeds(self, count: int) -> list[list[int]]:
        """`count` seeds for each replica, as plain integers."""
        return self.below(2**31, count).tolist()

    def state_dict(self) -> dict[str, Tensor]:
        """Where every generator is, bytes [R, n]."""
        return {"generators": torch.stack([generator.get_state() for generator in self.generators])}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Goes back to where `state_dict` was taken."""
        for generator, place in zip(self.generators, state["generators"].unbind(), strict=True):
            generator.set_state(place.clone())

    def fork(self) -> "Stream":
        """A fresh stream that depends on this one's state; how much is drawn from it does not affect this one."""
        return Stream([torch.Generator(self.device).manual_seed(seed) for (seed,) in self.seeds(1)])


def streams(seeds: Sequence[int], device: torch.device) -> dict[str, Stream]:
    """A Stream for each of PURPOSES, on the device or the CPU: replica r depends on seeds[r] alone."""

    def generator(seed: int, purpose: str) -> torch.Generator:
        return torch.Generator("cpu" if purpose in ON_HOST else device).manual_seed(seed)

    children = [np.random.SeedSequence(seed).spawn(len(PURPOSES)) for seed in seeds]
    return {
        purpose: Stream([generator(int(c[i].generate_state(1)[0]), purpose) for c in children])
        for i, purpose in enumerate(PURPOSES)
    }
