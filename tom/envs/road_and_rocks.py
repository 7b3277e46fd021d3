"""Road-and-Rocks (Ma et al., 2023, Figure 2): a car on a road answers every action alike, off it rocks turn the action.

A square map [-1, 1]^2 with a road from the start to the goal. The paper prints the picture (digitised in
reports/paper/fig2_geometry.json: the constants below) and no equation; the dynamics are ours:

    s' = clip(s + step * R(theta(s)) a, -1, 1)
    theta(s) = 0 on the road, else strength * pi * (1 + sin(pi waves x) sin(pi waves y)) / 2

with R(theta) the rotation by theta. The reward is -|s' - goal|, plus a bonus on arriving, which ends the episode.
With `far_pay` a gorge crosses the map behind the road. Who falls into it pays and ends, and beyond it every step is
paid: no action leads from the road to there.
The functions are in torch for any leading axes, so that data, true one-step errors and evaluations take many rows at
once; the environment calls the same ones. `gymnasium.make("tom.envs.road_and_rocks:RoadAndRocks-v0")` makes it.
"""

import math
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from tom.settings.experiments.road_and_rocks import World
from tom.settings.fields import SettingsError, problems

ROAD = (0.75, 0.25)  # |x| and |y| at most, map units (paper, Fig. 2)
START, GOAL = (-0.5, 0.0), (0.5, 0.0)  # (paper, Fig. 2)
CAMP = (-0.25, 0.85)  # ours: on the far side of the gorge, where rocks turn an action nearly right round
PIXELS = 400  # of the picture's side
GREEN, PINK, BLACK, WHITE, BLUE = (169, 229, 169), (246, 165, 165), (0, 0, 0), (255, 255, 255), (0, 114, 178)


def on_road(obs: Tensor) -> Tensor:
    """Whether a position [..., 2] is on the road, its edge included: bool [...]."""
    return (obs[..., 0].abs() <= ROAD[0]) & (obs[..., 1].abs() <= ROAD[1])


def turn(world: World, obs: Tensor) -> Tensor:
    """theta(s), radians, [...]."""
    waves = torch.sin(math.pi * world.waves * obs).prod(-1)
    return torch.where(on_road(obs), torch.zeros_like(waves), world.strength * math.pi * (1.0 + waves) / 2.0)


def displacement(world: World, obs: Tensor, action: Tensor) -> Tensor:
    """step * R(theta(s)) a for positions and actions [..., 2], map units."""
    theta = turn(world, obs)
    sine, cosine = theta.sin(), theta.cos()
    x, y = action.unbind(-1)
    return world.step * torch.stack([cosine * x - sine * y, sine * x + cosine * y], -1)


def dynamics(world: World, obs: Tensor, action: Tensor) -> Tensor:
    """The next position [..., 2]; the map's border stops the car."""
    return (obs + displacement(world, obs, action)).clamp(-1.0, 1.0)


def distance(next_obs: Tensor) -> Tensor:
    """To the goal, map units, [...]."""
    return (next_obs - next_obs.new_tensor(GOAL)).norm(dim=-1)


def beyond(world: World, obs: Tensor) -> Tensor:
    """Whether a position [..., 2] is on the far side of the gorge, if there is one: bool [...]."""
    return (obs[..., 1] >= world.gorge_until) & (world.far_pay > 0.0)


def fallen(world: World, obs: Tensor) -> Tensor:
    """Whether a position [..., 2] is in the gorge, if there is one: bool [...]."""
    return (obs[..., 1] > world.gorge_from) & (obs[..., 1] < world.gorge_until) & (world.far_pay > 0.0)


def terminated(world: World, next_obs: Tensor) -> Tensor:
    """Whether a step that led to [..., 2] arrived or fell: bool [...]."""
    return (distance(next_obs) <= world.goal_radius) | fallen(world, next_obs)


def reward(world: World, next_obs: Tensor) -> Tensor:
    """Of a step that led to [..., 2]: [...]."""
    away = distance(next_obs)
    paid = world.goal_bonus * (away <= world.goal_radius) - away
    return paid + world.far_pay * beyond(world, next_obs) - world.fall_cost * fallen(world, next_obs)


class RoadAndRocks(gymnasium.Env[np.ndarray, np.ndarray]):
    """One car from the start; an episode ends at the goal or by a fall, or is cut after `horizon_env_steps`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (as gymnasium declares it)

    def __init__(self, render_mode: str | None = None, **changes: Any):
        """`changes` are fields of the settings class World; SettingsError for a value out of range."""
        self.world, self.render_mode = World(**changes), render_mode
        if found := list(problems(self.world, "road_and_rocks")):
            raise SettingsError("; ".join(found))
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.position, self.env_steps = torch.tensor(START), 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.position, self.env_steps = torch.tensor(START), 0
        return self.position.numpy(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Actions beyond [-1, 1] are cut."""
        moved = torch.as_tensor(np.asarray(action, dtype=np.float32)).clamp(-1.0, 1.0)
        self.position = dynamics(self.world, self.position, moved)
        self.env_steps += 1
        ended = bool(terminated(self.world, self.position))
        cut = self.env_steps >= self.world.horizon_env_steps and not ended
        return self.position.numpy(), float(reward(self.world, self.position)), ended, cut, {}

    def render(self) -> np.ndarray:
        """From above, uint8 [400, 400, 3]: road green, rocks pink, start and gorge black, goal white, car blue."""
        ticks = (torch.arange(PIXELS) + 0.5) * (2.0 / PIXELS) - 1.0
        place = torch.stack(torch.meshgrid(ticks, -ticks, indexing="xy"), -1)  # rows from the top
        picture = torch.where(on_road(place)[..., None], torch.tensor(GREEN), torch.tensor(PINK))
        picture[fallen(self.world, place)] = torch.tensor(BLACK)
        discs = ((START, 0.06, BLACK), (GOAL, self.world.goal_radius, WHITE), (self.position.tolist(), 0.04, BLUE))
        for centre, radius, colour in discs:
            inside = (place - torch.tensor(centre)).norm(dim=-1) <= radius
            picture[inside] = torch.tensor(colour)
        return picture.to(torch.uint8).numpy()


gymnasium.register("RoadAndRocks-v0", entry_point="tom.envs.road_and_rocks:RoadAndRocks")
