"""Settings of networks of agents: world, loop, PPO and what a model is for; `networked` in params.yaml has them.

Released code: PKU-MARL/Model-Based-MARL@af86ef0. Where a default is ours the register of deviations says why.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tom.settings.fields import choice, number, switch

AGENTS = {"catchup": 8, "slowdown": 8, "binary": 4}  # of each world, in a line: an agent's neighbours are next to it
HORIZONS = {"catchup": 600, "slowdown": 600, "binary": 40}  # env steps of an episode
FASTEST = 30.0  # m/s, no vehicle of a platoon drives faster


@dataclass
class Settings:
    """The clock is the environment step of one network, whatever its number of agents."""

    total_env_steps: int = number(600_000, low=1, unit="env steps", origin="DMPO", help="length of the run")
    eval_every_env_steps: int = number(2_400, low=1, unit="env steps", origin="ours", help="evaluation interval")
    eval_episodes: int = number(8, low=1, unit="episodes", origin="ours", help="fresh episodes per evaluation")
    episodes: int = number(
        4, low=1, high=1_000, unit="episodes per round", origin="ours", help="collected side by side before an update"
    )
    warmup_episodes: int = number(
        20, low=0, unit="episodes", origin="ours", help="of uniform actions before the first fit of a learned model"
    )
    model: str = choice(
        "learned",
        ("none", "learned", "world"),
        origin="DMPO",
        help="what short rollouts come from; none: model-free PPO; world: the true model, whose steps are not counted",
    )
    buffer_episodes: int = number(
        15, low=0, unit="episodes", origin="DMPO", help="the newest, which models are fitted to; 0: all"
    )
    rollouts: int = number(2_048, low=1, unit="rollouts", origin="DMPO", help="per inner iteration on the model")
    rollout_length: int = number(25, low=1, unit="steps", origin="DMPO", help="of each")
    rollout_share: float = number(
        0.5, low=0.0, high=1.0, unit="share of inner iterations", origin="DMPO", help="how many are on the model"
    )
    inner_iterations: int = number(
        10, low=1, unit="per round", origin="DMPO", help="batches that a round improves policies on"
    )
    passes: int = number(10, low=1, unit="per batch", origin="DMPO", help="of PPO over a batch, at most")
    minibatches: int = number(8, low=1, unit="per pass", origin="ours", help="Adam steps in one pass")
    kappa: int = number(
        1, low=0, unit="hops", origin="DMPO", help="whose advantages an agent's policy is improved by; 0: its own"
    )
    critic: str = choice(
        "local", ("local", "central"), origin="DMPO", help="what a critic sees: the neighbours, or everyone"
    )
    discount: float = number(0.99, low=0.0, high=0.9999, origin="DMPO", help="of the return")
    trace: float = number(0.5, low=0.0, high=1.0, origin="DMPO", help="lambda of the advantage estimate")
    clip: float = number(0.2, low=0.0, high=1.0, origin="DMPO", help="of the ratio of policies")
    target_kl: float = number(
        0.0075, low=1e-6, high=10.0, unit="nats", origin="DMPO", help="an agent further from who acted stays as it is"
    )
    entropy: float = number(
        0.01, low=0.0, high=10.0, unit="standard deviations of the advantage per nat", origin="ours", help="bonus"
    )
    hidden: int = number(64, low=1, high=4096, unit="units", origin="DMPO", help="width of both layers")
    learning_rate: float = number(5e-4, low=1e-8, high=1.0, origin="DMPO", help="Adam step size of policies")
    critic_learning_rate: float = number(5e-4, low=1e-8, high=1.0, origin="DMPO", help="Adam step size of critics")
    anneal: bool = switch(True, origin="ours", help="both step sizes fall linearly to 0 at the end of the run")
    policy_head_scale: float = number(
        0.1, low=0.0, high=1.0, origin="ours", help="first weights of a policy's last layer, times this"
    )
    fastest_start: float = number(
        FASTEST, low=22.5, high=37.5, unit="m/s", origin="ours", help="slowdown begins at 22.5 m/s to so much"
    )
    released_starts: bool = switch(
        False, origin="ours", help="whether slowdown may begin faster than a vehicle drives, as in the released code"
    )

    def contradictions(self) -> Iterator[str]:
        if self.model == "learned" and 0 < self.buffer_episodes < self.episodes:
            yield (
                f"buffer_episodes={self.buffer_episodes} is less than a round collects; "
                f"nearest valid value: {self.episodes}"
            )
        if self.fastest_start > FASTEST and not self.released_starts:
            yield (
                f"fastest_start={self.fastest_start} is above {FASTEST}, the most a vehicle drives; nearest valid "
                f"value: {FASTEST}, or released_starts=true"
            )


@dataclass
class Rules:
    """A linear rule that all vehicles follow, found by the cross-entropy method: what learning has to beat."""

    candidates: int = number(300, low=2, unit="rules", origin="ours", help="tried in each iteration")
    elites: int = number(30, low=1, unit="rules", origin="ours", help="of which so many give the next distribution")
    iterations: int = number(25, low=1, unit="iterations", origin="ours", help="of the search")
    episodes: int = number(2, low=1, unit="episodes", origin="ours", help="by which a rule is judged")
    test_episodes: int = number(64, low=1, unit="episodes", origin="ours", help="fresh ones, by which it is measured")

    def contradictions(self) -> Iterator[str]:
        if self.elites > self.candidates:
            most = self.candidates
            yield f"elites={self.elites} is more than candidates={most}; nearest valid value: {most}"
