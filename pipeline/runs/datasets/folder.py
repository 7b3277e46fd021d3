"""A data set on disk: transitions in the order they were made, in one format, whole or not there.

A data set's folder has transitions.npz and manifest.json; one of SAC is a finished run besides, with its policy.
transitions.npz holds float32 arrays under D4RL's names, the oldest transition first: observations [N, O], actions
[N, A] in [-1, 1], next_observations [N, O], rewards, terminals, timeouts [N], and resets [M, O], states that episodes
began in. The manifest has the format's version, the environment, sizes, where the data are from, the digest of the
content and of every file. Nothing in it is pickled.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config.refusals import one_line
from pipeline.files import ROOT, as_json, replaced_folder, sha256
from pipeline.runs.folder import OWNER, Refused

if TYPE_CHECKING:
    from tom.core.recording import Recording

FORMAT = 1
TRANSITIONS, POLICY, MANIFEST = "transitions.npz", "policy.npz", "manifest.json"
DATASETS = "TOM_DATASETS"  # in the environment: the folder of data sets, if not runs/datasets
# The names in transitions.npz, which are D4RL's, and those of a Recording.
ARRAYS = {
    "observations": "obs",
    "actions": "action",
    "rewards": "reward",
    "next_observations": "next_obs",
    "terminals": "terminated",
    "timeouts": "truncated",
    "resets": "resets",
}


@dataclass(frozen=True)
class Dataset:
    """A data set as it was read: its transitions, its last policy's parameters by name, if any, and its manifest."""

    transitions: "Recording"
    policy: dict[str, np.ndarray]
    manifest: dict[str, Any]

    @property
    def contact_cost(self) -> bool:
        """Whether rewards count it where the environment's do; SAC's of before this was written down do."""
        return bool(self.manifest.get("contact_cost", True))


def datasets(root: Path = ROOT) -> Path:
    """Where data sets are kept."""
    return Path(os.environ.get(DATASETS) or root / "runs/datasets")


def content(recording: "Recording", env: str, contact_cost: bool) -> str:
    """What names the data by what they are: the same transitions have the same name, wherever they are from."""
    found = hashlib.sha256(f"{env} {contact_cost}".encode())
    for field in ARRAYS.values():
        array = np.ascontiguousarray(getattr(recording, field), dtype="<f4")
        found.update(f" {field} {array.shape} ".encode() + array.tobytes())
    return f"data-{found.hexdigest()[:16]}"


def write(folder: Path, recording: "Recording", env: str, contact_cost: bool, known: Mapping[str, Any]) -> None:
    """Adds transitions and the manifest, with whatever else is `known`, to the other files of a folder."""
    np.savez(folder / TRANSITIONS, allow_pickle=False, **{name: getattr(recording, f) for name, f in ARRAYS.items()})
    files = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in (MANIFEST, OWNER))
    manifest = {
        "format": FORMAT,
        "env": env,
        "transitions": len(recording),
        "observation_dim": recording.obs.shape[1],
        "action_dim": recording.action.shape[1],
        "contact_cost": contact_cost,
        "content": content(recording, env, contact_cost),
        **known,
        "sha256": {name: sha256(folder / name) for name in files},
    }
    (folder / MANIFEST).write_text(as_json(manifest), encoding="utf-8")


def keep(recording: "Recording", env: str, contact_cost: bool, source: str) -> Path:
    """The folder of a data set with these transitions, written unless it is there."""
    folder = datasets() / content(recording, env, contact_cost)
    if not (folder / MANIFEST).is_file():
        with replaced_folder(folder) as fresh:
            write(fresh, recording, env, contact_cost, {"source": source})
    return folder


def load(folder: Path, env: str | None = None) -> Dataset:
    """The data set in a folder; Refused, in one sentence, if it is not whole, or not of this environment."""
    from tom.core.recording import Recording

    manifest = read_manifest(folder)
    if env is not None and manifest["env"] != env:
        raise Refused(f"{folder} is a data set of {manifest['env']}, not of {env}; give one of {env}")
    for name, digest in manifest["sha256"].items():
        if not (folder / name).is_file():
            raise Refused(f"{folder / name} is missing; delete {folder} and make it again")
        if sha256(folder / name) != digest:
            raise Refused(f"{folder / name} is not as it was written; delete {folder} and make it again")
    try:
        arrays = read_arrays(folder / TRANSITIONS)
        policy = read_arrays(folder / POLICY) if (folder / POLICY).is_file() else {}
        transitions = Recording.checked(**{field: arrays[name] for name, field in ARRAYS.items()})
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise Refused(f"{folder} is not a data set of format {FORMAT}: {one_line(error)}") from None
    return Dataset(transitions, policy, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a data set; Refused if there is none, or one of another format."""
    path = folder / MANIFEST
    if not path.is_file():
        raise Refused(f"{path} is missing; {folder} is not a data set")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found, needed = manifest["format"], (manifest["env"], manifest["sha256"].items())
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        raise Refused(f"{path} is broken; delete {folder} and make it again") from None
    if found != FORMAT or not needed:
        raise Refused(f"{path}: format {found} is not {FORMAT}; delete {folder} and make it again")
    return dict(manifest)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file by name."""
    with np.load(path, allow_pickle=False) as arrays:  # a pickle could run anything
        return {name: arrays[name] for name in arrays.files}


def show(folder: Path) -> str:
    """One line about a data set that is whole; Refused if it is not."""
    found = load(folder)
    seed = f", seed {found.manifest['seed']}" if "seed" in found.manifest else ""
    return (
        f"{folder}: {found.manifest['env']}{seed}, {len(found.transitions):,} transitions of "
        f"{found.manifest['observation_dim']} observations and {found.manifest['action_dim']} actions, "
        f"{found.transitions.ends.sum()} episodes, mean reward {found.transitions.reward.mean():.2f}, "
        f"train.offline_dataset={found.manifest.get('content', 'none')}"
    )
