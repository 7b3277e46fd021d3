"""Settings of MOTO's value expansion (Rafailov et al., 2023) on states, with SAC's for actor and critics."""

from dataclasses import dataclass
from typing import ClassVar

from tom.settings.backbones import sac
from tom.settings.fields import choice, number, part, switch


@dataclass
class Settings(sac.Settings):
    """SAC whose values are expanded by paths of the model, from data first, then online."""

    uses_model: ClassVar[bool] = True
    losses: ClassVar[tuple[str, ...]] = ("nll", "model_advantage")  # a path needs every output to be predicted

    name: str = part("moto", origin="MOTO")
    horizon: int = number(
        5, low=1, high=50, unit="model steps", origin="ours", help="H, model steps from a stored state; DreamerV2: 15"
    )
    mixing: float = number(
        0.95, low=0.0, high=1.0, origin="DreamerV2", help="lambda of the expanded values; 0: what the critics say"
    )
    penalty: float = number(
        1.0,
        low=0.0,
        high=1e3,
        unit="reward per standard deviation of the buffer's targets",
        origin="ours",
        help="alpha, the price of the model's members being apart",
    )
    cloning: float = number(
        10.0, low=0.0, high=1e3, unit="value per nat", origin="MOTO", help="beta, weight of cloned actions"
    )
    cloned_share: float = number(
        0.25,
        low=0.0,
        high=1.0,
        unit="share of the episodes",
        origin="ours",
        help="those that are cloned, the best",
    )
    actor_states: str = choice(
        "starts",
        ("starts", "all"),
        origin="ours",
        help="whose value the actor raises: of stored states, or (paper's Eq. 6) of every state of a path",
    )
    data_target: str = choice(
        "bootstrap",
        ("bootstrap", "expanded"),
        origin="ours",
        help="what follows a stored step: the critics' value, or (paper's Eq. 8) one that is expanded by a path",
    )
    entropy_in_value: bool = switch(
        True, origin="ours", help="values along a path count the entropy of its actions, as SAC's do; paper: no"
    )
