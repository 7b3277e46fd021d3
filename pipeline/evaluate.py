"""Replays the policy of a finished run, and films it.

    python -m pipeline.evaluate run_dir=reports/results/quick/tom/hopper/0 [episodes=10] [seed=0] [video=hopper.mp4]

The policy acts deterministically; the same seed gives the same episodes. The video shows the first of them.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from pipeline.config.refusals import check_env, key_values, one_line, whole_number
from tom.settings.fields import SettingsError

KEYS = ("run_dir", "episodes", "seed", "video")


def main(argv: Sequence[str] | None = None) -> int:
    """0 after one line with the returns; 2 with one line if the input cannot be used, before anything is simulated."""
    try:
        given = key_values(sys.argv[1:] if argv is None else argv, KEYS)
        if "run_dir" not in given:
            raise SettingsError("run_dir= is missing; it is a folder with config.yaml and policy.npz")
        folder = Path(given["run_dir"])
        episodes = whole_number("episodes", given.get("episodes", "10"), low=1)
        seed = whole_number("seed", given.get("seed", "0"), low=0)
        saved = read_run(folder)
        video = Path(given["video"]) if "video" in given else None
        if video is not None:
            from pipeline.runs.video import prepare

            prepare(video)
        returns, lengths = replay(saved, episodes, seed, video)
    except (SettingsError, OSError) as error:
        print(one_line(error), file=sys.stderr)
        return 2
    spread = f", standard deviation {returns.std():.1f}" if episodes > 1 else ""
    shown = f"; first episode in {video}" if video else ""
    number = f"{episodes} episode{'s' if episodes > 1 else ''}"
    print(f"{folder}: mean return {returns.mean():.1f} over {number}{spread}, length {lengths.mean():.0f}{shown}")
    return 0


@dataclass(frozen=True)
class Saved:
    """What a finished run says about its policy: its environment, the width of its layers and its parameters."""

    env: str
    contact_cost: bool
    hidden: int
    parameters: dict[str, np.ndarray]


def read_run(folder: Path) -> Saved:
    """The policy of a run folder; SettingsError if it is not one."""
    for name in ("config.yaml", "policy.npz"):
        if not (folder / name).is_file():
            raise SettingsError(f"run_dir={folder} has no {name}; give the folder of a finished run")
    try:
        config: Any = OmegaConf.load(folder / "config.yaml")
        env, contact_cost = check_env(config["env"]), bool(config["train"]["contact_cost"])
        hidden = int(config["backbone"]["hidden"])
        with np.load(folder / "policy.npz", allow_pickle=False) as arrays:  # a pickle could run anything
            return Saved(env, contact_cost, hidden, {name: arrays[name] for name in arrays.files})
    except (YAMLError, OmegaConfBaseException, KeyError, TypeError, ValueError, OSError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"run_dir={folder} is not a finished run: {one_line(error)}") from error


def replay(saved: Saved, episodes: int, seed: int, video: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Undiscounted returns and lengths [episodes]; the first episode is written to `video`.

    Raises SettingsError if the parameters are not those of a policy for this environment.
    """
    from tom.envs import spec_of
    from tom.envs.simulator import Lockstep
    from tom.evaluate import evaluate

    spec = spec_of(saved.env, saved.contact_cost)
    policy = _policy(spec, saved)
    envs = Lockstep(spec, episodes)
    with ExitStack() as stack:
        if video is not None:
            from pipeline.runs.video import filmed

            envs.envs[0] = stack.enter_context(filmed(spec, video))
        seeds = np.random.SeedSequence(seed).generate_state(episodes) >> 1  # simulators take 31 bits
        returns, lengths = evaluate(policy, envs, [seeds.tolist()])
    return returns[0], lengths[0]


def _policy(spec: Any, saved: Saved) -> Any:
    import torch

    from tom.core.networks import Policy
    from tom.core.streams import streams

    try:
        unused = streams([0], torch.device("cpu"))["init"]  # every parameter is replaced
        policy = Policy(1, spec.observation_dim, spec.action_dim, saved.hidden, unused)
        policy.load_state_dict({name: torch.as_tensor(value)[None] for name, value in saved.parameters.items()})
    except (KeyError, IndexError, TypeError, RuntimeError) as error:
        raise SettingsError(f"policy.npz is no policy for {spec.id}: {one_line(error)}") from error
    return policy


if __name__ == "__main__":
    sys.exit(main())
