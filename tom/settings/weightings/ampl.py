"""Settings of AMPL's marginal importance weights (Yang et al., 2022; released code: AMPL_NeurIPS2022@7e961c8)."""

from dataclasses import dataclass

from tom.settings.dual import DualSettings
from tom.settings.fields import choice, number, part, switch


@dataclass
class Settings(DualSettings):
    """Weights d^pi / d^D that the flow of the policy asks for: no discriminator, and no newest rows."""

    name: str = part("ampl", origin="AMPL")
    test: str = choice(
        "dual",
        ("dual", "critic"),
        origin="ours",
        help="functions on which the weights obey the flow: those of a quadratic Q, by TOM's dual with r = 0; or the "
        "critic alone, which leaves the weights undetermined (released)",
    )
    power: float = number(
        1.0,
        low=0.0,
        high=1.0,
        unit="exponent",
        origin="ours",
        help="of the ratio: below 1 flattens, above would sharpen",
    )
    project: bool = switch(
        True, origin="AMPL", help="replace w(s, a, s') by E[w | s, a]: an importance weight is of (s, a) alone"
    )
    ratio_hidden: int = number(
        400, low=2, high=4096, unit="units", origin="AMPL", help="width of the critic form's network; then 3/4 of it"
    )
    ratio_updates: int = number(
        1_000, low=1, unit="updates per round", origin="ours", help="Adam steps of the critic form in each round"
    )
    ratio_rows: int = number(1_024, low=1, unit="rows", origin="AMPL", help="rows per update of the critic form")
    ratio_learning_rate: float = number(1e-6, low=1e-8, high=1.0, origin="AMPL", help="Adam step size")
    ratio_target_rate: float = number(
        0.01, low=0.0, high=1.0, unit="per update", origin="AMPL", help="how fast the network's slow copy follows"
    )
