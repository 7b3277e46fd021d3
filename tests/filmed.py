"""Films every environment while its robot is carried off, and says how much of it each frame shows: one line each.

For a process of its own, since how to render is settled when MuJoCo is loaded: `python -m tests.filmed FOLDER`. Exits
with 3 where nothing can be rendered.
"""

import sys
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np

from pipeline.runs.video import filmed, prepare
from tom.envs import spec_of
from tom.settings import environments
from tom.settings.fields import SettingsError

STEPS, METRES = 4, 12.0
DIFFERENT = 60  # of 255, beyond what compression changes


def main(folder: Path) -> int:
    try:
        prepare(folder / "film.mp4")
        for name in environments():
            print(name, *shares(name, folder / f"{name}.mp4"))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


def shares(name: str, video: Path) -> list[str]:
    """Of each frame of the film: how many per mille show the robot, their middle, 0 to 1, and the floor's contrast."""
    spec, empty = spec_of(name, True), []
    with filmed(spec, video) as env:
        env.reset(seed=0)
        empty.append(without_robot(env))
        for _ in range(STEPS):
            carry(env.unwrapped)
            env.step(np.zeros(spec.action_dim, np.float32))
            empty.append(without_robot(env))
    found = []
    for frame, background in zip(imageio.imiter(video), empty, strict=True):
        shown = np.abs(frame.astype(int) - background).max(-1) > DIFFERENT
        middle = np.argwhere(shown).mean(0) / shown.shape if shown.any() else (np.nan, np.nan)
        floor = background[-len(background) // 10 :].std()
        found.append(f"{1000 * shown.mean():.1f},{middle[1]:.2f},{middle[0]:.2f},{floor:.1f}")
    return found


def carry(world: Any) -> None:
    """As a run would: forward, and a free body aside too; one on rails to their ends in turn."""
    joint = world.model.joint(0)
    if joint.limited[0]:
        world.data.qpos[0] = max(joint.range) if world.data.qpos[0] <= 0.0 else min(joint.range)
    else:
        world.data.qpos[: 2 if joint.type[0] == 0 else 1] += METRES


def without_robot(env: Any) -> np.ndarray:
    """The same picture without any body but the world's own."""
    model = env.unwrapped.model
    moving = model.geom_bodyid > 0
    colours = model.geom_rgba[moving, 3].copy()
    model.geom_rgba[moving, 3] = 0.0
    picture: np.ndarray = env.render().astype(int)
    model.geom_rgba[moving, 3] = colours
    return picture


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
