"""A data set, or the replay of a run, as a data set of Minari: `minari.load_dataset` opens it."""

import importlib.util
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.runs.datasets.folder import MANIFEST, load
from pipeline.runs.datasets.imported import as_it_is
from pipeline.runs.datasets.minari import CONTACT
from pipeline.runs.datasets.replays import replay_of
from tom.settings.fields import SettingsError

if TYPE_CHECKING:
    from tom.core.recording import Recording


def exported(source: Path, name: str) -> str:
    """Writes the transitions in a folder as Minari's data set `name`; the line about it. SettingsError if it cannot.

    Actions are written in the environment's own range, observations as agents here have them; the last episode, which
    nobody ended, is cut.
    """
    if importlib.util.find_spec("minari") is None:
        raise SettingsError(f"{name}: minari writes data sets; nearest valid choice: pip install 'minari[hdf5]'")
    from gymnasium.spaces import Box

    from tom.envs import spec_of

    recording, env, counted = _transitions(source)
    spec = spec_of(env, contact_cost=counted)
    _, middle, half = as_it_is(env)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses an author, and an average return
        import minari

        try:
            made = minari.create_dataset_from_buffers(
                name,
                [_episode(part, middle, half) for part in episodes(recording.closed())],
                env=spec.id,
                observation_space=Box(-np.inf, np.inf, (spec.observation_dim,), np.float32),
                description=f"{len(recording)} transitions of {env}, exported by tom",
                data_format="hdf5",
            )
        except (ValueError, TypeError, OSError) as error:
            raise SettingsError(f"{name}: {' '.join(str(error).split())}") from None
        made.storage.update_metadata({CONTACT: counted and spec.contact_cost is not None})
    return f"wrote {name}: {made.total_steps} transitions of {env} in {made.total_episodes} episodes"


def episodes(recording: "Recording") -> "list[Recording]":
    """The recording cut after every end."""
    bounds = [0, *(np.flatnonzero(recording.ends) + 1)]
    return [recording.part(first, last) for first, last in zip(bounds, bounds[1:], strict=False)]


def _episode(part: "Recording", middle: np.ndarray, half: np.ndarray) -> Any:
    from minari.data_collector import EpisodeBuffer

    return EpisodeBuffer(
        observations=np.concatenate([part.obs, part.next_obs[-1:]]),
        actions=(part.action.astype(np.float64) * half + middle).astype(np.float32),
        rewards=part.reward.tolist(),
        terminations=(part.terminated > 0).tolist(),
        truncations=(part.truncated > 0).tolist(),
    )


def _transitions(source: Path) -> "tuple[Recording, str, bool]":
    """The transitions of a data set or a run, their environment, and whether their rewards count contact costs."""
    if (source / MANIFEST).is_file():
        found = load(source)
        return found.transitions, found.manifest["env"], found.contact_cost
    return replay_of(source)
