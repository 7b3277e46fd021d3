"""What the parts of an agent are built from, and what they see of one another while it trains."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from tom.core.networks import Policy, TwinCritic
from tom.core.replay import Replay
from tom.core.streams import Stream
from tom.settings import KINDS


@dataclass(frozen=True)
class Context:
    """Sizes and streams a part needs to exist."""

    replicas: int
    observation_dim: int
    action_dim: int
    discount: float
    device: torch.device
    init: Stream


@dataclass(frozen=True)
class View:
    """The agent as a weighting or a loss sees it at the start of a round; nothing in it is theirs to change."""

    replay: Replay
    policy: Policy
    critic: TwinCritic | None
    env_step: int
    warmup_env_steps: int
    stream: Stream
    target: TwinCritic | None = None  # the slow copies of the critics
    burst_env_steps: float = 1.0  # the policy changes this often


class World(Protocol):
    """What an agent knows of where it acts: the spec of an environment, or the task of an agent without one."""

    @property
    def observation_dim(self) -> int: ...
    @property
    def action_dim(self) -> int: ...
    @property
    def terminated(self) -> Callable[[Tensor], Tensor]:
        """Next observations [..., O] -> whether they are terminal, bool [...]."""


class Deterministic(Protocol):
    """Who plays an episode: a policy, or a planner."""

    def mode(self, obs: Tensor) -> Tensor:
        """The action to take at obs [R, B, O], on the CPU: [R, B, A]."""


class WorldModel(Protocol):
    """Where imagined steps come from: a dynamics model, or one whose reward is known."""

    def sample(self, obs_action: Tensor, uniform: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Reward [R, B] and next observation [R, B, O] at obs_action [R, B, O + A], in raw units.

        uniform and normal are draws in [0, 1) and standard normal ones, [R, B, 1 + O]. For given draws both outputs
        are differentiable in obs_action: their slopes are a reparameterised gradient of what is expected of them.
        """

    def expected(self, obs_action: Tensor) -> tuple[Tensor, Tensor]:
        """The expected reward [R, B] and next observation [R, B, O], the mean over members where there are any."""


class ModelOfMembers(WorldModel, Protocol):
    """One of several members, which may be asked how far they are apart."""

    def sample_and_spread(self, obs_action: Tensor, uniform: Tensor, normal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `sample` gives, and the standard deviation over members of what each expects: [R, B, 1 + O], raw units.

        All three are differentiable in obs_action, the last one where members agree too.
        """


def build(kind: str, settings: Any, context: Context) -> Any:
    """The part `settings.name` of this kind: `tom/<kind>/<name>.py` offers `build(settings, context)`."""
    return importlib.import_module(f"tom.{KINDS[kind]}.{settings.name}").build(settings, context)
