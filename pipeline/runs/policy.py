"""The policy of a finished run, read back and played."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from pipeline.config.refusals import check_env, one_line
from tom.settings.fields import SettingsError


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
