"""Settings of the dual (Ma et al., 2023, Eq. 16) with a quadratic Q, shared by the weightings that solve it."""

from collections.abc import Iterator
from dataclasses import dataclass

from tom.settings.fields import choice, number, switch


@dataclass
class DualSettings:
    """Which dual is solved for the ratio d / d^D, on which rows, and what becomes of the ratio."""

    divergence: str = choice(
        "chi2",
        ("chi2", "chi2_free", "kl", "kl_simplex"),
        origin="official code",
        help="f of the dual; kl_simplex is log-mean-exp, chi2_free the released conjugate with relu weights",
    )
    termination: str = choice(
        "restart",
        ("none", "mask", "restart"),
        origin="ours",
        help="what follows a terminal transition in the flow: nothing special, the end of mass, or a new episode",
    )
    action_samples: int = number(
        16, low=1, high=64, unit="actions", origin="ours", help="samples in E_pi Q(s', a'); one is biased inside f*"
    )
    q_normalises: bool = switch(True, origin="ours", help="Q's inputs standardised on the buffer")
    q_ridge: float = number(
        0.02,
        low=1e-12,
        high=1e6,
        unit="nats, times coefficients per row",
        origin="ours",
        help="price of a quadratic Q's squared coefficients, half of it",
        neutral=0.02,
    )
    q_rows: int = number(
        20_000, low=2, unit="rows", origin="ours", help="a quadratic Q is solved on so many at most", neutral=20_000
    )
    q_holdout: float = number(
        0.1,
        low=0.0,
        high=0.9,
        unit="share of the rows",
        origin="ours",
        help="rows kept to report a quadratic Q's dual",
        neutral=0.1,
    )
    project: bool = switch(
        False, origin="ours", help="replace w(s, a, s') by E[w | s, a], so that the weights do not tilt the dynamics"
    )
    clip: float = number(10.0, low=1.0, unit="mean weights", origin="official code", help="cap on a normalised weight")

    def contradictions(self) -> Iterator[str]:
        if self.divergence == "kl_simplex" and self.termination == "mask":
            yield (
                "divergence=kl_simplex with termination=mask has no minimiser (Q drifts to infinity and terminal "
                "transitions lose all weight); nearest valid choice: termination=restart"
            )
