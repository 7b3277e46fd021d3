"""Settings of SAC (Haarnoja et al., 2018), alone or within MBPO."""

from dataclasses import dataclass
from typing import ClassVar

from tom.settings.fields import number, part, switch


@dataclass
class Settings:
    """Who acts and improves: soft actor-critic."""

    uses_model: ClassVar[bool] = False

    name: str = part("sac", origin="ours")
    discount: float = number(0.99, low=0.0, high=0.9999, origin="official code", help="gamma")
    hidden: int = number(256, low=1, high=4096, unit="units", origin="official code", help="width of SAC's two layers")
    policy_head_scale: float = number(
        1.0, low=0.0, high=10.0, origin="official code", help="factor on the output layer's first weights"
    )
    learning_rate: float = number(
        3e-4, low=1e-8, high=1.0, origin="official code", help="Adam step size of actor, critics and temperature"
    )
    batch: int = number(256, low=2, unit="rows", origin="official code", help="rows per SAC update")
    target_rate: float = number(5e-3, low=0.0, high=1.0, origin="official code", help="tau of the target critics")
    critic_layer_norm: bool = switch(
        False,
        origin="official code",
        help="layer normalisation in the critics: their values cannot run away",
        neutral=False,
    )
    critic_loss_cap: float = number(
        0.0,
        low=0.0,
        unit="mean squared error",
        origin="ours",
        help="a critic whose loss on a batch is above does not learn from it; 0: no cap",
        neutral=0.0,
    )
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
