"""Transition occupancy matching (Ma et al., 2023) for model-based reinforcement learning.

`tom.load_policy(folder)` is a trained policy, `tom.make(env)` one of the environments; both are in tom/policy.py.
"""

import importlib
from typing import Any

__all__ = ["load_policy", "make"]


def __getattr__(name: str) -> Any:
    """What is offered here, loaded when it is asked for: torch takes seconds, and settings need none."""
    if name in __all__:
        return getattr(importlib.import_module("tom.policy"), name)
    raise AttributeError(f"module 'tom' has no attribute {name!r}")
