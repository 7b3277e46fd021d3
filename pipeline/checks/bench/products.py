"""Matrix products: which a part of the algorithm does, and how long they take alone, at the same shapes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tom.core.graphs import Captured

CPU = torch.device("cpu")
aten = torch.ops.aten
PRODUCTS = {aten.mm: 0, aten.bmm: 0, aten.addmm: 1, aten.baddbmm: 1}  # where the first of the two operands is


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


class Counted(TorchDispatchMode):
    """Counts the matrix products that are done while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.products = Counter[Product]()

    def __torch_dispatch__(self, operation: Any, types: Any, operands: Any = (), options: Any = None) -> Any:
        first = PRODUCTS.get(operation.overloadpacket)
        if first is not None:
            left, right = operands[first : first + 2]
            turned = "left" if _is_turned(left) else "right" if _is_turned(right) else ""
            stack = len(left) if left.ndim == 3 else 1
            self.products[Product(stack, left.shape[-2], left.shape[-1], right.shape[-1], turned)] += 1
        return operation(*operands, **(options or {}))


def forward(rows: int, sizes: Sequence[int], stack: int = 1) -> list[Product]:
    """An MLP with these layer sizes on so many rows."""
    return [Product(stack, rows, fan_in, fan_out) for fan_in, fan_out in pairwise(sizes)]


def weight_gradients(rows: int, sizes: Sequence[int], stack: int = 1) -> list[Product]:
    """The gradients of its weights, given those of each layer's outputs."""
    return [Product(stack, fan_in, rows, fan_out, "left") for fan_in, fan_out in pairwise(sizes)]


def input_gradients(rows: int, sizes: Sequence[int], stack: int = 1) -> list[Product]:
    """The gradients of each layer's inputs, given those of its outputs."""
    return [Product(stack, rows, fan_out, fan_in, "right") for fan_in, fan_out in pairwise(sizes)]


def runner(products: Mapping[Product, int], device: torch.device = CPU) -> Callable[[], object]:
    """Does each of these products so many times, on random numbers; on a GPU as a graph, without Python between."""
    operands = {p: (_operand(p, "left").to(device), _operand(p, "right").to(device)) for p in products}

    def run(last: Tensor) -> Tensor:
        for product, times in products.items():
            for _ in range(times):
                last = torch.bmm(*operands[product])
        return last

    return partial(Captured(run, device) if products else run, torch.zeros(1, device=device))


def _operand(product: Product, side: str) -> Tensor:
    shape = (product.rows, product.inner) if side == "left" else (product.inner, product.columns)
    return torch.randn(product.stack, *shape) if product.turned != side else torch.randn(product.stack, *shape[::-1]).mT


def _is_turned(operand: torch.Tensor) -> bool:
    return operand.mT.is_contiguous() and not operand.is_contiguous()
