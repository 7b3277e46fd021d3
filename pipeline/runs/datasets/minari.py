"""Data sets of Minari (Farama-Foundation/Minari, 0.5): main_data.hdf5 and metadata.json.

There is a group `episode_<i>` for each episode, with observations [T + 1, O], actions [T, A] in the environment's own
range, rewards, terminations and truncations [T]. What else a file holds, `infos` among it, is not read.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.refusals import one_line
from pipeline.runs.folder import Refused

MAIN, METADATA = "main_data.hdf5", "metadata.json"
EPISODE = re.compile(r"episode_(\d+)")
CONTACT = "contact_cost"  # in the metadata of what is exported here


def main_file(path: Path) -> Path | None:
    """Minari's file in a data set's folder, in its folder `data`, or the file itself; None for another file.

    Refused for a folder without one.
    """
    if path.is_file():
        return path if path.name == MAIN else None
    for folder in (path, path / "data"):
        if (folder / MAIN).is_file():
            return folder / MAIN
        if kind := _metadata(folder).get("data_format"):
            raise Refused(f"{path} is stored as {kind}; give a data set of data_format=hdf5")
    raise Refused(f"{path} has no {MAIN}; give a Minari data set's folder, or D4RL's .hdf5 or .npz")


def read(path: Path, env: str) -> tuple[dict[str, Any], bool, str]:
    """The arrays of all episodes, whether their rewards count contact costs, and the data set's name.

    An episode without an end is cut at its last row. Refused for another environment, another version of it, and a file
    that is torn.
    """
    import h5py

    from tom.envs import spec_of

    try:
        with h5py.File(path, "r") as file:
            metadata = {**file.attrs, **_metadata(path.parent)}
            refuse_other(path, metadata.get("env_spec"), spec_of(env, contact_cost=True).id)
            found = [_episode(file[name]) for name in _in_order(path, file, metadata)]
        arrays = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise Refused(f"{path} is no whole file of Minari's: {one_line(error)}") from None
    return arrays, bool(metadata.get(CONTACT)), f"Minari {metadata.get('dataset_id', path.name)}"


def refuse_other(path: Path, spec: Any, wanted: str) -> None:
    """Refused unless the data say that they are of the environment with this id, in this version."""
    found = json.loads(spec)["id"] if spec else "an environment that they do not name"
    if found != wanted:
        same = found.rpartition("-v")[0] == wanted.rpartition("-v")[0]
        other = ", another version with other rewards or physics" if same else ""
        raise Refused(f"{path} has data of {found}{other}; give data of {wanted}")


def _metadata(folder: Path) -> dict[str, Any]:
    """What metadata.json says; Refused if it is broken."""
    path = folder / METADATA
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except (ValueError, TypeError) as error:
        raise Refused(f"{path} is broken: {one_line(error)}; give a whole data set") from None


def _in_order(path: Path, file: Any, metadata: dict[str, Any]) -> Iterator[str]:
    """The names of the episodes, the first one first; Refused if one is missing."""
    found = {int(match[1]): name for name in file if (match := EPISODE.fullmatch(name))}
    count = int(metadata.get("total_episodes", len(found)))
    if not found or sorted(found) != list(range(count)):
        raise Refused(f"{path} has {len(found)} of {count} episodes; give a whole file")
    return (found[number] for number in range(count))


def _episode(group: Any) -> dict[str, np.ndarray]:
    """The arrays of one episode by the names of a Recording; ValueError if their lengths differ."""
    observations, actions, rewards = (np.asarray(group[name]) for name in ("observations", "actions", "rewards"))
    terminated, truncated = (np.array(group[name]) for name in ("terminations", "truncations"))
    steps = len(rewards)
    if not steps or {len(observations) - 1, len(actions), len(terminated), len(truncated)} != {steps}:
        raise ValueError(f"{group.name} has {steps} rewards, and not as many of everything else")
    truncated[-1] |= not terminated[-1]
    states = {"obs": observations[:-1], "next_obs": observations[1:], "resets": observations[:1]}
    return {**states, "action": actions, "reward": rewards, "terminated": terminated, "truncated": truncated}
