"""Somebody else's transitions, looked at before anything is learned from them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tom.settings.fields import SettingsError

FLAGS = ("terminated", "truncated")
ROUNDING = 1e-6  # by which an action may lie outside its range


def checked(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of `Replay.from_arrays` in float32; SettingsError names the first that cannot be used, and its row."""
    found = {name: _numbers(name, array) for name, array in arrays.items()}
    for name, shape in _shapes(found).items():
        if found[name].shape != shape:
            raise SettingsError(f"{name}: the shape is {list(found[name].shape)}; nearest valid choice: {list(shape)}")
    for name, array in found.items():
        _refuse(~np.isfinite(array), name, arrays[name], "leave the row out")
    _refuse(np.abs(found["action"]) > 1.0 + ROUNDING, "action", arrays["action"], "actions scaled to [-1, 1]")
    for name in FLAGS:
        _refuse(~np.isin(found[name], (0.0, 1.0)), name, arrays[name], "0 or 1")
    return found


def _numbers(name: str, array: Any) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
            return np.asarray(array).astype(np.float32)
    except (TypeError, ValueError):
        raise SettingsError(f"{name} is no array of numbers; nearest valid choice: an array of float32") from None


def _shapes(found: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """What the shape of each array has to be: N rows and O, A numbers as in `obs` and `action`, M >= 1 resets."""
    rows, width = (*found["obs"].shape, 1, 1)[:2]
    sizes = {"obs": (max(rows, 1), max(width, 1)), "next_obs": (rows, width), "reward": (rows,)}
    actions = found["action"].shape[-1] if found["action"].ndim == 2 else 1
    resets = len(found["resets"]) if found["resets"].ndim == 2 else 1
    return (
        sizes | {"action": (rows, max(actions, 1)), "resets": (max(resets, 1), width)} | dict.fromkeys(FLAGS, (rows,))
    )


def _refuse(fault: np.ndarray, name: str, given: Any, nearest: str) -> None:
    if fault.any():
        place = tuple(int(axis[0]) for axis in fault.nonzero())
        where = ", ".join(map(str, place))
        raise SettingsError(f"{name}[{where}] is {np.asarray(given)[place]}; nearest valid choice: {nearest}")
