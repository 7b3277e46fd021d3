"""Streams of agents or tasks, several in each replica, that are replicas themselves to networks and fits."""

import torch

from tom.core.streams import Stream


def several(stream: Stream, count: int) -> Stream:
    """A fresh stream for each of `count` in every replica, R * count generators, which depend on this one's state.

    Those of a replica are next to one another.
    """
    return Stream([torch.Generator(stream.device).manual_seed(seed) for row in stream.seeds(count) for seed in row])
