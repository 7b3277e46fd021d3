"""Transitions under D4RL's names (Fu et al., 2020) in one .hdf5 or .npz file, as its data sets of -v2 have them.

observations [N, O], actions [N, A] in the environment's own range, next_observations [N, O], rewards, terminals and
timeouts [N]. What else a file holds, `infos` and `metadata` among it, is not read.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.refusals import one_line
from pipeline.runs.datasets.folder import ARRAYS
from pipeline.runs.folder import Refused

NAMES = {name: field for name, field in ARRAYS.items() if field != "resets"}


def read(path: Path) -> dict[str, Any]:
    """The arrays by the names of a Recording; resets are the first state, and those after an end.

    Refused for a file that is torn or lacks an array.
    """
    try:
        found = _npz(path) if path.suffix == ".npz" else _hdf5(path)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise Refused(f"{path} is no whole file of D4RL's: {one_line(error)}") from None
    if missing := [name for name in NAMES if name not in found]:
        raise Refused(f"{path} has no {missing[0]}; data sets of -v2 have {', '.join(NAMES)}")
    arrays = {field: found[name] for name, field in NAMES.items()}
    lengths = {name: np.shape(array)[:1] for name, array in found.items()}
    if len({*lengths.values()}) > 1 or lengths["rewards"] in ((), (0,)):
        rows = ", ".join(f"{name} {list(length)}" for name, length in lengths.items())
        raise Refused(f"{path} has other numbers of rows in each array, or none: {rows}; give a whole file")
    ended = (arrays["terminated"] != 0) | (arrays["truncated"] != 0)
    begins = np.concatenate([[True], ended.reshape(len(ended), -1).any(1)[:-1]])
    return arrays | {"resets": arrays["obs"][begins]}


def _npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in NAMES if name in file.files}


def _hdf5(path: Path) -> dict[str, Any]:
    import h5py

    with h5py.File(path, "r") as file:
        return {name: np.asarray(file[name]) for name in NAMES if name in file}
