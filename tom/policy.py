"""A trained policy, read back from the folder of a finished run, and the environment that it was trained in.

    policy = tom.load_policy("reports/results/quick/tom/hopper/0")
    env = policy.make()
    action = policy.act(env.reset(seed=0)[0])

Nothing is unpickled. What a policy is asked for by libraries that know Stable-Baselines3 (Raffin et al., 2021) is
`predict`.
"""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import yaml  # type: ignore[import-untyped]
from numpy.typing import ArrayLike

from tom.core.networks import Policy
from tom.core.streams import Stream
from tom.envs import simulator, spec_of
from tom.envs.spec import EnvSpec
from tom.settings import environments
from tom.settings.fields import SettingsError, nearest

Parameters = dict[str, np.ndarray]
RECORD = "provenance.json"  # beside the files of a finished run; its `sha256` has their digests by name


class TrainedPolicy:
    """The tanh-Gaussian policy of one run: actions in [-1, 1] for observations as `make` gives them."""

    def __init__(self, env: str, contact_cost: bool, parameters: Parameters, seed: int = 0):
        """The seed is that of sampled actions. SettingsError if the parameters are no policy for the environment."""
        self.env, self.contact_cost, self.parameters = env, contact_cost, parameters
        self.spec = spec_of(env, contact_cost)
        self.module = restored(parameters, self.spec)
        self.stream = Stream([torch.Generator().manual_seed(seed)])

    def make(self, **options: Any) -> gymnasium.Env:
        """The environment of the run, rewards and wrappers included; `options` are gymnasium's (render_mode, ...)."""
        return simulator.make(self.spec, **options)

    @torch.no_grad()
    def act(self, obs: ArrayLike, deterministic: bool = True) -> np.ndarray:
        """Actions [..., A], float32, for observations [..., O]: the mode, or a draw from the policy."""
        given = torch.as_tensor(np.asarray(obs, dtype=np.float32))
        if not given.dim() or given.shape[-1] != self.spec.observation_dim:
            raise SettingsError(
                f"obs has the shape {list(given.shape)}; nearest valid choice: [..., {self.spec.observation_dim}]"
            )
        rows = given.reshape(1, -1, given.shape[-1])
        noise = None if deterministic else self.stream.normal(rows.shape[1], self.spec.action_dim)
        actions = self.module.mode(rows) if noise is None else self.module.sample(rows, noise)
        return actions.view(*given.shape[:-1], -1).numpy()

    def predict(
        self, observation: ArrayLike, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """What Stable-Baselines3's own policies answer: the action, and the state, which there is none of."""
        return self.act(observation, deterministic), state


def load_policy(folder: str | Path, seed: int = 0) -> TrainedPolicy:
    """The policy of a run's folder, one in reports/ or runs/; SettingsError if it is none, or was edited."""
    folder = Path(folder)
    settings, saved = (read_recorded(folder, name) for name in ("config.yaml", "policy.npz"))
    try:
        config = yaml.safe_load(settings)
        env = known(config["env"])  # first: another loop's run has settings of its own
        contact_cost = bool(config["train"]["contact_cost"])
        with np.load(io.BytesIO(saved), allow_pickle=False) as arrays:  # a pickle could run anything
            parameters = {name: arrays[name] for name in arrays.files}
    except (yaml.YAMLError, KeyError, TypeError, ValueError, OSError) as error:
        raise SettingsError(f"{folder} is not a finished run: {' '.join(str(error).split())}") from error
    return TrainedPolicy(env, contact_cost, parameters, seed)


def read_recorded(folder: Path, name: str) -> bytes:
    """A file of a run's folder; SettingsError if it is missing, or another than the record there has a digest of.

    A folder without a record, or a record without digests, says nothing.
    """
    path, record = folder / name, folder / RECORD
    if not path.is_file():
        raise SettingsError(f"{folder} has no {name}; nearest valid choice: the folder of a finished run")
    content = path.read_bytes()
    try:
        digests = json.loads(record.read_bytes()).get("sha256") if record.is_file() else None
    except (ValueError, AttributeError) as error:
        raise SettingsError(f"{record} is not the record of a run: {' '.join(str(error).split())}") from error
    if digests and digests.get(name) != hashlib.sha256(content).hexdigest():
        raise SettingsError(
            f"{path} is not the file that was recorded; nearest valid choice: what `git checkout` or `tom repro` "
            f"brings back, or a copy of the folder without {RECORD}"
        )
    return content


def make(env: str, contact_cost: bool = True, **options: Any) -> gymnasium.Env:
    """One of the environments by its name, as agents see it: actions in [-1, 1], short observations, contact costs.

    `options` are gymnasium's (render_mode, ...). SettingsError for a name that is none.
    """
    return simulator.make(spec_of(known(env), contact_cost), **options)


def known(env: Any) -> str:
    """The name, if it is that of an environment."""
    if env not in environments():
        raise SettingsError(f"env={env} does not exist; {nearest(env, environments())}")
    return str(env)


def restored(parameters: Parameters, spec: EnvSpec) -> Policy:
    """A policy of one replica with these parameters; SettingsError if they do not fit. Layers are as wide as they say.

    There are two hidden layers of H units, so 2 H + 2 A biases.
    """
    try:
        hidden = (parameters["net.biases"].size - 2 * spec.action_dim) // 2
        unused = Stream([torch.Generator().manual_seed(0)])  # every parameter is replaced
        policy = Policy(1, spec.observation_dim, spec.action_dim, hidden, unused)
        policy.load_state_dict({name: torch.as_tensor(value)[None] for name, value in parameters.items()})
    except (KeyError, TypeError, RuntimeError) as error:
        raise SettingsError(f"policy.npz is no policy for {spec.id}: {' '.join(str(error).split())}") from error
    return policy
