"""Data of others as a data set here: Minari's files, D4RL's, and a part of a data set that is here.

    tom dataset import ~/.minari/datasets/mine/hopper-v0 hopper
    tom dataset import hopper_medium-v2.hdf5 hopper
    tom dataset part runs/datasets/<fingerprint> 10000 16000

Nothing is kept unless all of it can be used: files are read whole and looked at before the first one is written.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config.refusals import check_env
from pipeline.runs.datasets import d4rl, minari
from pipeline.runs.datasets.folder import keep, load, show
from pipeline.runs.folder import Refused
from tom.settings.fields import SettingsError

if TYPE_CHECKING:
    from tom.core.recording import Recording


def imported(path: Path, env: str) -> str:
    """Reads Minari's or D4RL's data, keeps them, and says so; Refused, in one sentence, if they cannot be used."""
    check_env(env)
    place = path.expanduser()
    if not place.exists():
        raise Refused(f"{place} is not there; give a Minari data set's folder, or D4RL's .hdf5 or .npz")
    if main := minari.main_file(place):
        arrays, counted, source = minari.read(main, env)
    else:
        arrays, counted, source = d4rl.read(place), False, f"D4RL {place.name}"
    try:
        recording = fitted(arrays, env)
    except SettingsError as error:
        raise Refused(f"{place}: {error}") from None
    return show(keep(recording, env, counted, source))


def fitted(arrays: dict[str, Any], env: str) -> "Recording":
    """Arrays as the environment gives them, as agents here see them: their observations, and actions in [-1, 1].

    SettingsError for other sizes and for numbers that cannot be used.
    """
    from tom.core.recording import Recording
    from tom.envs import spec_of

    own, (whole, middle, half) = spec_of(env, contact_cost=True).observation_dim, as_it_is(env)
    found = tuple(arrays[name].shape[1] if arrays[name].ndim == 2 else 0 for name in ("obs", "action"))
    if found not in ((own, len(middle)), (whole, len(middle))):
        raise SettingsError(
            f"{found[0]} observations and {found[1]} actions are not those of {env}; nearest valid choice: {whole} and "
            f"{len(middle)}"
        )
    states = {name: arrays[name][..., :own] for name in ("obs", "next_obs", "resets")}
    return Recording.checked(**{**arrays, **states, "action": (arrays["action"].astype(np.float64) - middle) / half})


def as_it_is(env: str) -> tuple[int, np.ndarray, np.ndarray]:
    """How many numbers the environment's own observation has; middle and half the width of each action's range, [A]."""
    from tom.envs import spec_of
    from tom.envs.simulator import make

    world: Any = make(spec_of(env, contact_cost=False))
    actions = world.unwrapped.action_space
    low, high = (bound.astype(np.float64) for bound in (actions.low, actions.high))
    whole = int(np.prod(world.unwrapped.observation_space.shape))
    world.close()
    return whole, (low + high) / 2.0, (high - low) / 2.0


def part(folder: Path, first: int, last: int) -> str:
    """Keeps the transitions first <= row < last of a data set as one of their own, and says so."""
    found = load(folder)
    if not 0 <= first < last <= len(found.transitions):
        raise SettingsError(
            f"rows {first} to {last} are not in {folder}; nearest valid choice: 0 to {len(found.transitions)}"
        )
    manifest, rows = found.manifest, found.transitions.part(first, last)
    source = f"rows {first} to {last} of {manifest.get('content', folder.name)}"
    return show(keep(rows, manifest["env"], found.contact_cost, source))
