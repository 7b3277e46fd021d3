"""Replays the policy of a finished run, and films it.

The policy acts deterministically; the same seed gives the same episodes. The video shows the first of them.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from tom.policy import load_policy


def evaluated(run: Path, episodes: int, seed: int, video: Path | None) -> str:
    """The line on what the policy of a run scores."""
    policy = load_policy(run)
    if video is not None:
        from pipeline.runs.video import prepare

        prepare(video)
    returns, lengths = replay(policy, episodes, seed, video)
    spread = f", standard deviation {returns.std():.1f}" if episodes > 1 else ""
    shown = f"; first episode in {video}" if video else ""
    number = f"{episodes} episode{'s' if episodes > 1 else ''}"
    return f"{run}: mean return {returns.mean():.1f} over {number}{spread}, length {lengths.mean():.0f}{shown}"


def replay(policy: Any, episodes: int, seed: int, video: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Undiscounted returns and lengths [episodes] of a TrainedPolicy's mode; the first episode goes to `video`."""
    from tom.envs.simulator import Lockstep
    from tom.evaluate import evaluate

    envs = Lockstep(policy.spec, episodes)
    with ExitStack() as stack:
        if video is not None:
            from pipeline.runs.video import filmed

            envs.envs[0] = stack.enter_context(filmed(policy.spec, video))
        seeds = np.random.SeedSequence(seed).generate_state(episodes) >> 1  # simulators take 31 bits
        returns, lengths = evaluate(policy.module, envs, [seeds.tolist()])
    return returns[0], lengths[0]
