"""Settings of transition occupancy matching (Ma et al., 2023)."""

from collections.abc import Iterator
from dataclasses import dataclass

from tom.settings.dual import DualSettings
from tom.settings.fields import choice, number, part, switch


@dataclass
class Settings(DualSettings):
    """The flow and the weights of the equations with a quadratic Q; `tom_mlp` and `tom_official` lie beside it."""

    rows_of_policy = True  # the newest rows stand for the policy

    name: str = part("tom", origin="paper")
    pool_env_steps: int = number(
        1_000, low=2, unit="env steps", origin="official code", help="newest transitions that stand for the policy"
    )
    discriminator_hidden: int = number(256, low=1, high=4096, unit="units", origin="official code", help="layer width")
    discriminator_updates: int = number(
        400, low=1, unit="updates per round", origin="official code", help="Adam steps of a fresh discriminator"
    )
    discriminator_batch: int = number(
        256, low=2, unit="rows", origin="official code", help="rows of each class per update"
    )
    discriminator_learning_rate: float = number(3e-4, low=1e-8, high=1.0, origin="official code", help="Adam step size")
    discriminator_holdout: float = number(
        0.1, low=0.0, high=0.9, unit="share of the pool", origin="ours", help="rows kept to report the cross-entropy"
    )
    gradient_penalty: float = number(
        0.1, low=0.0, high=1e3, origin="ours", help="weight of the zero-centred penalty on the logit's gradient"
    )
    q: str = choice(
        "quadratic",
        ("quadratic", "network"),
        origin="ours",
        help="quadratic: in (s, a), solved to its one minimum; network: an MLP and so many Adam steps (paper)",
        neutral="network",
    )
    q_hidden: int = number(256, low=1, high=4096, unit="units", origin="official code", help="width of both Q layers")
    q_updates: int = number(
        1_000, low=1, unit="updates per round", origin="official code", help="Adam steps on the dual"
    )
    q_batch: int = number(256, low=2, unit="rows", origin="official code", help="rows per dual update")
    q_learning_rate: float = number(3e-4, low=1e-8, high=1.0, origin="official code", help="Adam step size")
    q_weight_decay: float = number(
        1e-4, low=0.0, high=1.0, origin="official code", help="L2 on weight matrices; biases are spared (ours)"
    )
    exact_constant: bool = switch(
        True, origin="ours", help="solve for Q's additive constant before and after the Adam steps, not by them"
    )
    log_ratio: str = choice(
        "discriminator",
        ("discriminator", "recency", "zero"),
        origin="paper",
        help="recency: 1 for the pool, 0 for other rows; zero: 0 for all (ours), so that the flow alone weighs",
    )
    # From here on what the released code does otherwise, one switch each, as `tom_official` in params.yaml sets them.
    discriminator_trains: str = choice("all", ("all", "trunk"), origin="paper", help="trunk: encoders stay random")
    discriminator_initialisation: str = choice(
        "xavier",
        ("xavier", "torch"),
        origin="ours",
        help="first weights; torch: those of nn.Linear, biases too",
        neutral="xavier",
    )
    discriminator_normalises: bool = switch(True, origin="ours", help="inputs standardised on the buffer")
    negative_label: float = number(0.0, low=0.0, high=0.49, origin="paper", help="label of the buffer's rows")
    penalty_slope: float = number(0.0, low=0.0, high=100.0, origin="ours", help="norm the gradient is drawn to")
    q_decays_biases: bool = switch(False, origin="ours", help="weight decay on biases too")
    buffer_view: str = choice(
        "whole",
        ("whole", "bootstrap"),
        origin="paper",
        help="bootstrap: of buffer, pool and starts as many rows, drawn anew",
    )
    clip_raw: bool = switch(False, origin="ours", help="cut the raw weights, not the normalised ones")
    rollout_starts: str = choice(
        "uniform",
        ("uniform", "weighted", "always_weighted"),
        origin="paper",
        help="model rollouts start evenly or in proportion to w; always: before Q is trained too, by what it then says",
    )

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        if self.q == "quadratic" and (self.q_decays_biases or not self.exact_constant):
            switched = "q_decays_biases=true" if self.q_decays_biases else "exact_constant=false"
            yield (
                f"q=quadratic with {switched} changes nothing, since its constant is part of the minimum; nearest "
                "valid choice: q=network"
            )
