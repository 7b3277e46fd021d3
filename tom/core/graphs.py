"""Update steps as CUDA graphs: at these sizes a GPU is done with a kernel before Python has launched the next one."""

import gc
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3  # calls before the capture: libraries and optimisers allocate what they keep

_wanted = True


def use_graphs(on: bool) -> None:
    """Whether steps on a GPU are captured, in this process; plain steps do the same arithmetic."""
    global _wanted
    _wanted = on


@contextmanager
def plain_steps() -> Iterator[None]:
    """Within, steps are not captured, and graphs that are there not replayed."""
    before = _wanted
    use_graphs(False)
    try:
        yield
    finally:
        use_graphs(before)


class Captured:
    """A step that reads tensors, changes others in place and returns one; on a GPU it is replayed as a graph.

    The first calls run as they are; then there is one graph for each shape of the inputs and each `fixed`. What is not
    an input (parameters, moments, `fixed`) must stay at its address. The tensor that is returned is overwritten by the
    next call, and random numbers are inputs: a graph that drew them would repeat them after a resume.
    """

    def __init__(self, step: Callable[..., Tensor], device: torch.device):
        self.step, self.on_gpu = step, device.type == "cuda"
        self.calls: dict[Hashable, int] = {}
        self.graphs: dict[Hashable, Callable[..., Tensor]] = {}

    def __call__(self, *inputs: Tensor, **fixed: Any) -> Tensor:
        if not (self.on_gpu and _wanted):
            return self.step(*inputs, **fixed)
        key = (*(tensor.shape for tensor in inputs), *fixed.values())
        if key in self.graphs:
            return self.graphs[key](*inputs)
        self.calls[key] = self.calls.get(key, 0) + 1
        if self.calls[key] > WARM_UP:
            self.graphs[key] = captured(self.step, inputs, fixed)
            return self.graphs[key](*inputs)
        return on_side_stream(self.step, inputs, fixed)


def on_side_stream(step: Callable[..., Tensor], inputs: tuple[Tensor, ...], fixed: dict[str, Any]) -> Tensor:
    """One plain call, as a capture wants it to have been warmed up."""
    side, main = torch.cuda.Stream(), torch.cuda.current_stream()
    side.wait_stream(main)
    with torch.cuda.stream(side):
        output = step(*inputs, **fixed)
    main.wait_stream(side)
    for tensor in (*inputs, output):
        tensor.record_stream(side)
    output.record_stream(main)
    return output


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is collected within: an older graph that is freed during a capture makes it invalid."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def captured(step: Callable[..., Tensor], inputs: tuple[Tensor, ...], fixed: dict[str, Any]) -> Callable[..., Tensor]:
    """The step as a graph over copies of the inputs; capturing does not run it."""
    held = [tensor.clone() for tensor in inputs]
    graph = torch.cuda.CUDAGraph()
    with uncollected(), torch.cuda.graph(graph):
        output = step(*held, **fixed)

    def replay(*fresh: Tensor) -> Tensor:
        torch._foreach_copy_(held, list(fresh))
        graph.replay()
        return output

    return replay
