"""Settings of a planner that acts beside a policy which clones it (Byravan et al., 2022), with those of MBPO."""

from collections.abc import Iterator
from dataclasses import dataclass

from tom.settings.backbones import mbpo
from tom.settings.fields import choice, number, part


@dataclass
class Settings(mbpo.Settings):
    """MBPO whose actions in the world are now and then planned, and whose policy learns them too."""

    name: str = part("planner", origin="Byravan")
    plan_probability: float = number(
        0.5, low=0.0, high=1.0, origin="Byravan", help="chance that an action is planned, not the policy's"
    )
    planner: str = choice(
        "cem",
        ("cem", "icem", "smc"),
        origin="ours",
        help="search by elites, the same with coloured noise and elites that stay, or (paper) resampled particles",
    )
    plan_horizon: int = number(
        10, low=1, high=100, unit="model steps", origin="Byravan", help="H, actions of a plan before the critics"
    )
    plan_samples: int = number(
        250, low=2, high=100_000, unit="plans", origin="Byravan", help="M, plans of an iteration, or particles"
    )
    plan_elites: int = number(25, low=1, unit="plans", origin="ours", help="the best plans, which an iteration keeps")
    plan_iterations: int = number(3, low=1, high=100, unit="iterations", origin="ours", help="of a search")
    plan_std: float = number(
        0.5,
        low=1e-6,
        high=2.0,
        unit="actions in +-1",
        origin="ours",
        help="about the policy's plan, at the start",
    )
    plan_colour: float = number(
        2.0, low=0.0, high=4.0, origin="ours", help="icem: exponent of the noise's spectrum along a plan; 0: white"
    )
    plan_temperature: float = number(
        1.0,
        low=1e-6,
        high=1e9,
        unit="return",
        origin="ours",
        help="smc: what makes a particle count e times",
    )
    cloning: float = number(
        0.1, low=0.0, high=1e3, unit="value per nat", origin="ours", help="beta, weight of the actions that were taken"
    )

    @property
    def losses(self) -> tuple[str, ...]:
        """Whose models can be planned in: for more than one step every output has to be predicted."""
        whole = ("nll", "model_advantage")
        return whole if self.plan_probability > 0.0 and self.plan_horizon > 1 else (*whole, "vagram")

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        if self.plan_elites > self.plan_samples:
            yield (
                f"plan_elites={self.plan_elites} is more than plan_samples={self.plan_samples}; nearest valid value: "
                f"{self.plan_samples}"
            )
        if self.cloning > 0.0 and int(self.real_fraction * self.batch) < 1:
            yield (
                f"cloning={self.cloning} with real_fraction={self.real_fraction} has no stored action; nearest "
                f"valid value: real_fraction={1 / self.batch:.3g}"
            )
