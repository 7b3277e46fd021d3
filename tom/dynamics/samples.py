"""What a fit reads of each transition."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Samples:
    """Named views of rows [..., I + D + 1 + C]: normalised inputs and targets, a weight, the loss's C columns.

    They lie side by side, so that a batch is one gather.
    """

    data: Tensor
    inputs_dim: int
    targets_dim: int

    def like(self, data: Tensor) -> "Samples":
        """Other rows of the same layout."""
        return Samples(data, self.inputs_dim, self.targets_dim)

    @property
    def inputs(self) -> Tensor:
        return self.data[..., : self.inputs_dim]

    @property
    def targets(self) -> Tensor:
        return self.data[..., self.inputs_dim : self.inputs_dim + self.targets_dim]

    @property
    def weights(self) -> Tensor:
        return self.data[..., self.inputs_dim + self.targets_dim]

    @property
    def columns(self) -> Tensor:
        return self.data[..., self.inputs_dim + self.targets_dim + 1 :]
