"""Replays the policy of a finished run, and films it.

    python -m pipeline.evaluate run_dir=reports/results/quick/tom/hopper/0 [episodes=10] [seed=0] [video=hopper.mp4]

The policy acts deterministically; the same seed gives the same episodes. The video shows the first of them.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.config.refusals import key_values, whole_number
from pipeline.runs.answers import answered
from pipeline.runs.policy import read_run, replay
from tom.settings.fields import SettingsError

KEYS = ("run_dir", "episodes", "seed", "video")


def main(argv: Sequence[str] | None = None) -> int:
    """0 after one line with the returns; 2 with one line if the input cannot be used, before anything is simulated."""
    return answered(lambda: evaluated(key_values(sys.argv[1:] if argv is None else argv, KEYS)))


def evaluated(given: Mapping[str, str]) -> str:
    """The line on what the policy scores."""
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
    spread = f", standard deviation {returns.std():.1f}" if episodes > 1 else ""
    shown = f"; first episode in {video}" if video else ""
    number = f"{episodes} episode{'s' if episodes > 1 else ''}"
    return f"{folder}: mean return {returns.mean():.1f} over {number}{spread}, length {lengths.mean():.0f}{shown}"


if __name__ == "__main__":
    sys.exit(main())
