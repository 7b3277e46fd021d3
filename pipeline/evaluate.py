"""Replays the policy of a finished run, and films it.

The policy acts deterministically; the same seed gives the same episodes. The video shows the first of them.
"""

from pathlib import Path

from pipeline.runs.policy import replay
from tom.policy import load_policy


def evaluated(folder: Path, episodes: int, seed: int, video: Path | None) -> str:
    """The line on what the policy of a run scores."""
    policy = load_policy(folder)
    if video is not None:
        from pipeline.runs.video import prepare

        prepare(video)
    returns, lengths = replay(policy, episodes, seed, video)
    spread = f", standard deviation {returns.std():.1f}" if episodes > 1 else ""
    shown = f"; first episode in {video}" if video else ""
    number = f"{episodes} episode{'s' if episodes > 1 else ''}"
    return f"{folder}: mean return {returns.mean():.1f} over {number}{spread}, length {lengths.mean():.0f}{shown}"
