"""Settings of the training loop: how long, how often, how it is evaluated."""

from collections.abc import Iterator
from dataclasses import dataclass

from tom.settings.fields import choice, digest, number, switch


@dataclass
class Settings:
    """The clock is the environment step; warm-up steps count."""

    total_env_steps: int = number(300_000, low=1, unit="env steps", origin="paper", help="length of the run")
    warmup_env_steps: int = number(5_000, low=0, unit="env steps", origin="official code", help="steps before learning")
    round_env_steps: int = number(
        250, low=1, unit="env steps", origin="official code", help="model is refitted and rolled out this often"
    )
    episode_env_steps: int = number(
        1_000, low=1, high=1_000, unit="env steps", origin="paper", help="training episodes are cut here, not ended"
    )
    time_limits: str = choice(
        "bootstrap", ("bootstrap", "terminal"), origin="ours", help="what follows a cut episode: its value, or nothing"
    )
    warmup_actions: str = choice(
        "uniform", ("uniform", "policy"), origin="MBPO", help="policy: of the untrained policy, as the released code"
    )
    eval_every_env_steps: int = number(1_000, low=1, unit="env steps", origin="paper", help="evaluation interval")
    eval_episodes: int = number(10, low=1, unit="episodes", origin="paper", help="episodes per evaluation")
    probe_every_env_steps: int = number(
        0,
        low=0,
        unit="env steps",
        origin="ours",
        neutral=0,
        help="after the warm-up, the model is tried on fresh rows of the policy this often; 0: never",
    )
    probe_rows: int = number(
        2_000, low=1, unit="rows", origin="ours", neutral=2_000, help="fresh rows of one such trial"
    )
    contact_cost: bool = switch(
        True, origin="official code", help="contact forces cost reward where -v2 of the environment says so"
    )

    offline_env_steps: int = number(
        0,
        low=0,
        unit="env steps",
        origin="MOTO",
        neutral=0,
        help="the first steps, which nobody takes: rounds and updates on the data set alone, in place of the warm-up",
    )
    offline_dataset: str = digest(of="data", origin="ours", help="the data set that the replay begins with")

    def contradictions(self) -> Iterator[str]:
        if self.offline_env_steps == 0 and self.warmup_env_steps == 0:
            yield "warmup_env_steps=0 leaves nothing to learn from; nearest valid value: 1"
        if self.offline_env_steps and not self.offline_dataset:
            yield (
                f"offline_env_steps={self.offline_env_steps} has no offline_dataset; nearest valid choice: "
                "what `tom dataset show` prints"
            )
        if self.offline_dataset and not self.offline_env_steps:
            yield f"offline_dataset={self.offline_dataset} with offline_env_steps=0 is not used; nearest valid value: 1"
        if self.offline_env_steps and self.warmup_env_steps:
            yield (
                f"warmup_env_steps={self.warmup_env_steps} with offline_env_steps={self.offline_env_steps}: the data "
                "stand for the warm-up; nearest valid value: warmup_env_steps=0"
            )
        if self.offline_env_steps >= self.total_env_steps:
            yield (
                f"offline_env_steps={self.offline_env_steps} must be below total_env_steps={self.total_env_steps}; "
                f"nearest valid value: {self.total_env_steps - 1}"
            )
        if self.warmup_env_steps >= self.total_env_steps:
            yield (
                f"warmup_env_steps={self.warmup_env_steps} must be below total_env_steps={self.total_env_steps}; "
                f"nearest valid value: {self.total_env_steps - 1}"
            )
