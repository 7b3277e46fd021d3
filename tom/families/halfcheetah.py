"""Half-cheetahs with other bodies, joints and ground, physically consistent (after model-based-meta-rl@c695d6b).

A task is a multiplier for each of the seven bodies, of its mass and its whole inertia, one for the damping of each of
the six joints, and one for all friction, which MuJoCo takes as the larger of two that touch. The released code draws
the three axes of an inertia apart, and leaves what MuJoCo derives of masses as it was: there `body_subtreemass` is off
by a fifth.
"""

from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from tom.core.streams import Stream
from tom.envs import spec_of
from tom.families.base import multipliers
from tom.families.simulated import SimulatedWorlds
from tom.settings.families.halfcheetah import Settings

BODIES, JOINTS = slice(1, 8), slice(3, 9)  # of MuJoCo's bodies and degrees of freedom: without the world and the root
BASES = (*[1.5] * 7, *[1.3] * 6, 1.5)  # of the powers that bodies, joints and friction are multiplied by
CHANGED = ("body_mass", "body_inertia", "dof_damping", "geom_friction")


def apply(env: Any, parameters: np.ndarray) -> None:
    """Gives the environment the task [14]; what it was made with is kept beside it, so that tasks do not add up."""
    model = env.model
    if not hasattr(env, "made_with"):
        env.made_with = {name: getattr(model, name).copy() for name in CHANGED}
    for name, value in env.made_with.items():
        getattr(model, name)[:] = value
    bodies, joints, friction = parameters[:7], parameters[7:13], parameters[13]
    model.body_mass[BODIES] *= bodies
    model.body_inertia[BODIES] *= bodies[:, None]
    model.dof_damping[JOINTS] *= joints
    model.geom_friction[:] *= friction
    mujoco.mj_setConst(model, env.data)  # masses of subtrees, inverse weights: what constraints are solved with


class HalfCheetahFamily:
    """Masses, damping and friction differ. Rewards are learned."""

    reward = None

    def __init__(self, settings: Settings):
        self.settings, self.spec = settings, spec_of("halfcheetah", contact_cost=True)
        self.observation_dim, self.action_dim = self.spec.observation_dim, self.spec.action_dim

    def parameters(self, stream: Stream, count: int) -> Tensor:
        """Multipliers of `count` cheetahs for each replica: [R, count, 14]."""
        return multipliers(stream, count, torch.tensor(BASES), self.settings.spread)

    def worlds(self, parameters: Tensor) -> SimulatedWorlds:
        return SimulatedWorlds(self.spec, apply, parameters)

    def dynamics(self, parameters: Tensor) -> None:
        """Not known in closed form."""


def build(settings: Settings) -> HalfCheetahFamily:
    return HalfCheetahFamily(settings)
