"""Films an environment without a screen."""

import ctypes.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline.config.refusals import one_line
from tom.settings.fields import SettingsError

LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}  # MUJOCO_GL -> the library it needs
INSTALL = "install one that renders without a screen (Debian: libosmesa6), or leave --video out"


def prepare(video: Path) -> None:
    """Chooses how to render, which must happen before the simulator is loaded; SettingsError if nothing can."""
    import imageio_ffmpeg

    if video.suffix != ".mp4" or not video.parent.is_dir():
        raise SettingsError(f"--video {video} must end in .mp4 and lie in an existing folder")
    try:
        imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        raise SettingsError("video: no ffmpeg was found; install it, or leave --video out") from None
    if sys.platform == "linux":
        usable = [word for word, library in LIBRARIES.items() if ctypes.util.find_library(library)]
        chosen = os.environ.get("MUJOCO_GL") or (usable or ["egl"])[0]
        if chosen in LIBRARIES and chosen not in usable:
            raise SettingsError(f"video: MUJOCO_GL={chosen} needs lib{LIBRARIES[chosen]}, which is not here; {INSTALL}")
        os.environ["MUJOCO_GL"] = chosen
    try:
        import mujoco  # noqa: F401  loads the OpenGL library
    except Exception as error:  # each library fails in its own way
        raise SettingsError(f"video: the OpenGL library does not load ({one_line(error)}); {INSTALL}") from error


@contextmanager
def filmed(spec: Any, video: Path) -> Iterator[Any]:
    """An environment whose every observation also becomes a frame of `video`; the file appears when it is complete.

    Says on stderr how far it has come. Raises SettingsError, before the first step, if nothing can be rendered here.
    """
    import gymnasium
    import imageio

    from tom.envs.simulator import make

    class Filmed(gymnasium.Wrapper):
        def reset(self, **options: Any) -> Any:
            first = self.env.reset(**options)
            writer.append_data(self.env.render())
            return first

        def step(self, action: Any) -> Any:
            stepped = self.env.step(action)
            writer.append_data(self.env.render())
            bar.update()
            return stepped

    writer: Any
    env: Any = make(spec, render_mode="rgb_array")
    partial = video.with_name(f".{video.stem}.tmp.mp4")
    try:
        _check_rendering(env)
        with imageio.get_writer(partial, fps=env.metadata["render_fps"]) as writer, _bar(video, env) as bar:
            yield Filmed(env)
        partial.replace(video)
    finally:
        partial.unlink(missing_ok=True)
        env.close()


def _bar(video: Path, env: Any) -> Any:
    """The steps filmed so far, of as many as an episode can have; a line where there is no terminal."""
    most, on_terminal = env.spec.max_episode_steps, sys.stderr.isatty()
    if not on_terminal:
        print(f"filming at most {most} steps into {video}", file=sys.stderr, flush=True)
    return tqdm(total=most, desc=f"filming {video.name}", unit=" steps", disable=not on_terminal, leave=False)


def _check_rendering(env: Any) -> None:
    from gymnasium.error import DependencyNotInstalled

    env.reset(seed=0)
    try:
        env.render()
    except DependencyNotInstalled as error:
        raise SettingsError(f"video: {env.spec.id}: {one_line(error)}, or leave --video out") from error
    except Exception as error:  # each library fails in its own way
        way = os.environ.get("MUJOCO_GL", "OpenGL")
        what = f"{way} cannot render {env.spec.id} here"
        raise SettingsError(f"video: {what} ({one_line(error)}); {INSTALL}") from error
