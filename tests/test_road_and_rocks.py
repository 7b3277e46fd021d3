"""The world of Figure 2 against what its docstring says: closed forms, the picture, gymnasium's checker."""

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from tom.envs.road_and_rocks import (
    CAMP,
    GOAL,
    GREEN,
    PINK,
    ROAD,
    START,
    RoadAndRocks,
    beyond,
    displacement,
    dynamics,
    on_road,
    reward,
    terminated,
    turn,
)
from tom.experiments.road_and_rocks import episode_returns
from tom.settings import environments
from tom.settings.experiments.road_and_rocks import World
from tom.settings.fields import SettingsError

WORLD = World()
UNIT = st.floats(-1.0, 1.0, width=32)
RIGHT = torch.tensor([1.0, 0.0])


def grid(count: int = 81) -> torch.Tensor:
    ticks = torch.linspace(-1.0, 1.0, count)
    return torch.cartesian_prod(ticks, ticks)


def test_gymnasium_finds_no_fault() -> None:
    env = gymnasium.make("tom.envs.road_and_rocks:RoadAndRocks-v0", render_mode="rgb_array")
    check_env(env.unwrapped)


def test_the_grid_does_not_offer_it() -> None:
    assert "road_and_rocks" not in environments()


def test_start_and_goal_are_on_the_road_and_the_corners_are_not() -> None:
    assert on_road(torch.tensor([START, GOAL, ROAD])).all()
    assert not on_road(torch.tensor([[1.0, 1.0], [0.0, 0.3], [-0.8, 0.0]])).any()


@settings(deadline=None)
@given(x=st.floats(-0.7, 0.7), y=st.floats(-0.2, 0.2), ax=UNIT, ay=UNIT)
def test_on_the_road_an_action_is_a_step(x: float, y: float, ax: float, ay: float) -> None:
    moved = dynamics(WORLD, torch.tensor([x, y]), torch.tensor([ax, ay]))
    torch.testing.assert_close(moved, torch.tensor([x + WORLD.step * ax, y + WORLD.step * ay]))


@settings(deadline=None)
@given(x=UNIT, y=UNIT, ax=UNIT, ay=UNIT)
def test_rocks_turn_an_action_and_keep_its_length(x: float, y: float, ax: float, ay: float) -> None:
    obs, action = torch.tensor([x, y]), torch.tensor([ax, ay])
    moved = displacement(WORLD, obs, action)
    torch.testing.assert_close(moved.norm(), WORLD.step * action.norm(), atol=1e-6, rtol=1e-5)
    angle = turn(WORLD, obs)
    turned = torch.polar(torch.tensor(1.0), angle) * torch.complex(*action)
    torch.testing.assert_close(moved, WORLD.step * torch.view_as_real(turned), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.5])
def test_the_angle_covers_what_the_strength_says(strength: float) -> None:
    angles = turn(World(strength=strength), grid(401))
    assert float(angles.min()) == 0.0
    assert float(angles.max()) == pytest.approx(strength * math.pi, abs=1e-3)
    assert (angles[on_road(grid(401))] == 0.0).all()


def test_by_hand_a_quarter_turn_where_a_sine_is_zero() -> None:
    """At (0, 0.5) both waves give sin(0) sin(pi) = 0, so half of a half turn: right becomes up."""
    torch.testing.assert_close(
        displacement(WORLD, torch.tensor([0.0, 0.5]), RIGHT), torch.tensor([0.0, WORLD.step]), atol=1e-6, rtol=0.0
    )


def test_the_border_stops_the_car() -> None:
    world = World(strength=0.0)
    assert dynamics(world, torch.tensor([0.99, 0.9]), RIGHT).tolist() == pytest.approx([1.0, 0.9])


def test_driving_home_and_standing_still_return_what_the_figure_shows() -> None:
    """Home: from distance 1 by steps of 0.05 to 0.25, so 15 steps that cost 15 - 0.05 * 120 = 9, plus 20."""
    home, still = (episode_returns(lambda obs, a=a: a.expand_as(obs), WORLD, 1).item() for a in (RIGHT, 0 * RIGHT))
    assert (home, still) == pytest.approx((11.0, -190.0), abs=1e-3)


def test_a_step_that_arrives_pays_and_ends() -> None:
    places = torch.tensor([GOAL, [GOAL[0] - 1.01 * WORLD.goal_radius, 0.0]])
    assert terminated(WORLD, places).tolist() == [True, False]
    expected = [WORLD.goal_bonus, -1.01 * WORLD.goal_radius]
    assert reward(WORLD, places).tolist() == pytest.approx(expected)


def test_the_environment_is_the_vectorised_world() -> None:
    env, draws = RoadAndRocks(), np.random.default_rng(0)
    obs, _ = env.reset(seed=0)
    for _ in range(WORLD.horizon_env_steps):
        action = draws.uniform(-1.0, 1.0, 2).astype(np.float32)
        expected = dynamics(WORLD, torch.as_tensor(obs), torch.as_tensor(action))
        obs, gained, ended, cut, _ = env.step(action)
        np.testing.assert_array_equal(obs, expected.numpy())
        assert gained == float(reward(WORLD, expected))
        assert ended == bool(terminated(WORLD, expected))
        if ended or cut:
            break
    assert ended or cut


def test_the_picture_is_the_map() -> None:
    picture = RoadAndRocks(render_mode="rgb_array").render()
    assert picture.shape == (400, 400, 3) and picture.dtype == np.uint8
    assert tuple(picture[200, 200]) == GREEN  # the middle
    assert tuple(picture[0, 0]) == tuple(picture[140, 200]) == PINK
    discs = math.pi * (WORLD.goal_radius**2 + 0.06**2)  # the car stands on the start
    assert (picture == GREEN).all(-1).mean() == pytest.approx((4 * ROAD[0] * ROAD[1] - discs) / 4, abs=2e-3)


GORGE = World(far_pay=8.0)


def test_beyond_the_gorge_every_step_is_paid_and_in_it_a_car_ends() -> None:
    places = torch.tensor([[-0.5, 0.39], [-0.5, 0.5], [-0.5, 0.7], GOAL])
    away = (places - torch.tensor(GOAL)).norm(dim=-1)
    assert terminated(GORGE, places).tolist() == [False, True, False, True]
    expected = torch.tensor([0.0, -GORGE.fall_cost, 8.0, GORGE.goal_bonus]) - away
    torch.testing.assert_close(reward(GORGE, places), expected)
    assert terminated(WORLD, places).tolist() == [False, False, False, True]
    torch.testing.assert_close(reward(WORLD, places), torch.tensor([0.0, 0.0, 0.0, WORLD.goal_bonus]) - away)


def test_no_action_crosses_the_gorge() -> None:
    """From its edge, whatever the rocks make of the longest actions."""
    ticks = torch.linspace(-1.0, 1.0, 401)
    edge = torch.stack([ticks, torch.full_like(ticks, GORGE.gorge_from)], -1)[:, None]
    longest = torch.cartesian_prod(torch.tensor([-1.0, 1.0]), torch.tensor([-1.0, 1.0]))
    assert not beyond(GORGE, dynamics(GORGE, edge, longest)).any()
    assert not beyond(GORGE, torch.tensor([START, GOAL, ROAD])).any() and beyond(GORGE, torch.tensor(CAMP))


def test_who_falls_gets_no_more_reward() -> None:
    """Up from the start through rocks that turn nothing: three steps to the gorge, where the episode ends."""
    world = World(far_pay=8.0, strength=0.0, step=0.15)
    up = episode_returns(lambda obs: torch.tensor([0.0, 1.0]).expand_as(obs), world, 1).item()
    away = [math.hypot(1.0, 0.15 * steps) for steps in (1, 2, 3)]
    assert up == pytest.approx(-sum(away) - world.fall_cost, abs=1e-4)


def test_the_environment_ends_where_the_car_falls() -> None:
    env = RoadAndRocks(far_pay=8.0, strength=0.0, step=0.15)
    env.reset(seed=0)
    ended = [env.step(np.array([0.0, 1.0], dtype=np.float32))[2] for _ in range(3)]
    assert ended == [False, False, True]


def test_a_gorge_that_a_step_may_cross_is_refused() -> None:
    sentence = (
        r"gorge_until=0.45 is so near to gorge_from=0.4 that a step of 0.05 may cross .*nearest valid value: 0.5$"
    )
    with pytest.raises(SettingsError, match=sentence):
        RoadAndRocks(far_pay=8.0, gorge_until=0.45)


def test_a_setting_out_of_range_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"road_and_rocks.strength=-1 is outside \[0.0, 4.0\]; nearest valid value"):
        RoadAndRocks(strength=-1)
