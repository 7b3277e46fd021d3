"""Settings of MBPO (Janner et al., 2019) with SAC (Haarnoja et al., 2018) in the paper's protocol."""

from collections.abc import Iterator
from dataclasses import dataclass

from tom.settings.fields import number, part


@dataclass
class Settings:
    """Who acts and improves: SAC on mixed real and model transitions."""

    name: str = part("mbpo", origin="paper")
    discount: float = number(0.99, low=0.0, high=0.9999, origin="official code", help="gamma")
    hidden: int = number(256, low=1, high=4096, unit="units", origin="official code", help="width of SAC's two layers")
    policy_head_scale: float = number(
        1.0, low=0.0, high=10.0, origin="official code", help="factor on the output layer's first weights"
    )
    learning_rate: float = number(
        3e-4, low=1e-8, high=1.0, origin="official code", help="Adam step size of actor, critics and temperature"
    )
    batch: int = number(256, low=2, unit="rows", origin="official code", help="rows per SAC update")
    real_fraction: float = number(
        0.05, low=0.0, high=1.0, unit="share of batch", origin="MBPO", help="real rows in a batch, rounded down"
    )
    target_rate: float = number(5e-3, low=0.0, high=1.0, origin="official code", help="tau of the target critics")
    initial_temperature: float = number(1.0, low=1e-6, high=1e3, origin="official code", help="alpha at the start")
    target_entropy_per_action: float = number(
        -1.0, low=-10.0, high=10.0, unit="nats per action dimension", origin="official code", help="target entropy / A"
    )
    updates_per_env_step: float = number(
        5.0, low=0.0, high=1e3, unit="updates", origin="official code", help="UTD: SAC updates per environment step"
    )
    updates_per_burst: int = number(
        20, low=1, high=10_000, unit="updates", origin="official code", help="updates done at once when they are due"
    )
    rollout_length: int = number(1, low=1, high=1_000, unit="model steps", origin="official code", help="k")
    rollout_starts: int = number(
        100_000, low=1, unit="rows per round", origin="MBPO", help="real states from which a round's rollouts branch"
    )
    rounds_retained: int = number(
        4, low=1, unit="rounds", origin="official code", help="rounds of rollouts kept in the model buffer"
    )

    def contradictions(self) -> Iterator[str]:
        if self.updates_per_env_step and int(self.real_fraction * self.batch) < 1 and self.real_fraction > 0:
            yield (
                f"real_fraction={self.real_fraction} of batch={self.batch} is less than one row; "
                f"nearest valid value: real_fraction={1 / self.batch:.3g}"
            )
