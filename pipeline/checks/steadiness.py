"""TOM's weights at the published sizes on a buffer whose policies are known: are they steady, and do they say anything?

The buffer is what a run's looks like after a while: random transitions, then those of ever other recorded policies, the
last of which is the policy of interest. What the short runs of scale quick cannot show, a Q that walks off from round
to round, shows here within minutes.
"""

import dataclasses
from dataclasses import dataclass
from itertools import islice
from statistics import fmean
from typing import Any

from scipy.stats import spearmanr

from pipeline.config.compose import compose_cell
from pipeline.files import ROOT
from tom.core.replay import Replay
from tom.experiments.curated_buffer import Weigher, curated, footprint, offline_rounds, random_transitions
from tom.policy import load_policy
from tom.settings.agent import agent_settings

RECORDED = ("mbpo/{}/0", "mbpo/{}/1", "tom/{}/0", "tom/{}/1")  # at scale quick; the policy of interest is the last
EACH_ENV_STEPS = 3_000  # of random actions, and of each policy
NEWEST = 1_000  # rows


@dataclass(frozen=True)
class Steadiness:
    """What the weights of the last round are, and how they compare with those of the first."""

    share: float  # effective, of the buffer
    growth: float  # of the share since the first round, as a factor
    above_zero: float  # the dual less that of the best constant Q, nats, mean over the rounds
    correlation: float  # of ranks, with the first round's weights
    newest: float  # mean weight of the newest rows


def steadiness(method: str, env: str, rounds: int, seed: int = 0) -> Steadiness:
    """So many rounds of the method's weighting at scale paper on one buffer of the environment."""
    agent = agent_settings(compose_cell(method, env, "paper"))
    weigher = Weigher(agent.weighting, agent.backbone.discount)
    found = list(islice(offline_rounds(weigher, *buffer(env, seed), seed), rounds))
    (first, before), (weights, numbers) = found[0], found[-1]
    return Steadiness(
        numbers["ess"],
        numbers["ess"] / before["ess"],
        fmean(numbers["dual"] - numbers["dual_at_zero"] for _, numbers in found),
        float(spearmanr(first.numpy(), weights.numpy())[0]),
        float(weights[-NEWEST:].mean()),
    )


def buffer(env: str, seed: int) -> tuple[Replay, Any]:
    """Transitions of random actions and of the recorded policies, in that order, and the last policy."""
    agent = agent_settings(compose_cell("tom", env, "quick"))  # whose networks the recorded policies have
    agent = dataclasses.replace(agent, train=dataclasses.replace(agent.train, total_env_steps=EACH_ENV_STEPS))
    parts, policy = [random_transitions(agent, seed)], None
    for name in RECORDED:
        parameters = load_policy(ROOT / "reports/results/quick" / name.format(env)).parameters
        part, policy = footprint(agent, parameters, seed + len(parts), EACH_ENV_STEPS)
        parts.append(part)
    return curated(parts), policy
