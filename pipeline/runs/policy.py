"""The policy of a finished run, played."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np


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
