"""Matrix products: what a part of the algorithm cannot do without, and how long that takes at these shapes."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Product:
    """`stack` products [rows, inner] x [inner, columns]; `turned` is the operand that lies in memory transposed."""

    stack: int
    rows: int
    inner: int
    columns: int
    turned: str = ""

    @property
    def gflop(self) -> float:
        return 2e-9 * self.stack * self.rows * self.inner * self.columns


def forward(rows: int, sizes: Sequence[int], stack: int = 1) -> list[Product]:
    """An MLP with these layer sizes on so many rows."""
    return [Product(stack, rows, fan_in, fan_out) for fan_in, fan_out in itertools.pairwise(sizes)]


def weight_gradients(rows: int, sizes: Sequence[int], stack: int = 1) -> list[Product]:
    """The gradients of its weights, given those of each layer's outputs."""
    return [Product(stack, fan_in, rows, fan_out, "left") for fan_in, fan_out in itertools.pairwise(sizes)]


def input_gradients(rows: int, sizes: Sequence[int], stack: int = 1) -> list[Product]:
    """The gradients of each layer's inputs, given those of its outputs."""
    return [Product(stack, rows, fan_out, fan_in, "right") for fan_in, fan_out in itertools.pairwise(sizes)]


def training(rows: int, sizes: Sequence[int], stack: int = 1) -> list[Product]:
    """Forward and backward: gradients of all weights, and of the inner layers' inputs on the way."""
    inner = input_gradients(rows, sizes[1:], stack)
    return forward(rows, sizes, stack) + weight_gradients(rows, sizes, stack) + inner


def runner(products: Sequence[Product]) -> Callable[[], object]:
    """Does these products on random numbers."""
    operands = [(_operand(p.stack, p.rows, p.inner, p.turned == "left"),
                 _operand(p.stack, p.inner, p.columns, p.turned == "right")) for p in products]  # fmt: skip
    return lambda: [torch.bmm(left, right) for left, right in operands]


def _operand(stack: int, rows: int, columns: int, turned: bool) -> torch.Tensor:
    return torch.randn(stack, columns, rows).mT if turned else torch.randn(stack, rows, columns)
