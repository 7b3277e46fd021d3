"""Settings of PACOH-RL (Bhardwaj et al., 2024): tasks, network, meta-learned prior, adaptation, optimistic planner.

What the released code (model-based-meta-rl@c695d6b) does otherwise is a switch here where it can be had at all; the
register of deviations has the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tom.settings.fields import choice, number
from tom.settings.fit import FitSettings

# What is compared: two with a prior over weights, and one model of all tasks whose rows are weighed by a weighting.
ARMS: dict[str, dict[str, Any] | None] = {
    "meta": None,
    "plain": None,
    "pooled": {"name": "uniform"},
    "pooled_tom": {"name": "ratio"},
    "pooled_pmac": {"name": "pmac"},
}
CURVE_ROWS = (0, 2, 5, 10, 40)  # rows of a test task after which the model is looked at (ours)


@dataclass
class Tasks:
    """How many tasks there are, and how long they are played."""

    train_tasks: int = number(20, low=1, high=1_000, unit="tasks", origin="PACOH-RL", help="what a prior is learned on")
    test_tasks: int = number(5, low=1, high=1_000, unit="tasks", origin="PACOH-RL", help="what it is adapted to")
    train_episodes: int = number(
        3,
        low=1,
        unit="episodes",
        origin="ours",
        help="on each train task, the first with uniform actions; released: 40",
    )
    test_episodes: int = number(
        10, low=1, unit="episodes", origin="ours", help="on each test task, adapted after each; released: 25"
    )
    episode_env_steps: int = number(
        250, low=2, high=1_000, unit="env steps", origin="PACOH-RL", help="length of an episode (HalfCheetah: 1,000)"
    )


@dataclass
class Network(FitSettings):
    """A network per particle, with a Gaussian of fixed width around what it says; the fit is that of pooled arms."""

    hidden: int = number(200, low=1, high=4096, unit="units", origin="PACOH-RL", help="width of each layer")
    layers: int = number(4, low=0, high=16, unit="layers", origin="PACOH-RL", help="hidden layers")
    activation: str = choice("relu", ("relu", "tanh"), origin="PACOH-RL", help="of the hidden layers")
    likelihood_std: float = number(
        0.1,
        low=1e-3,
        high=10.0,
        unit="normalised units",
        origin="PACOH-RL",
        help="of the Gaussian; the released code starts there, and learns it",
    )


@dataclass
class Prior:
    """PACOH's hyper-posterior over Gaussian priors (Rothfuss et al., 2021), by SVGD."""

    hyper_particles: int = number(3, low=1, high=100, unit="priors", origin="PACOH-RL", help="particles phi")
    samples: int = number(
        10, low=1, high=1_000, unit="networks", origin="ours", help="L, in each estimate of ln Z; released: 3"
    )
    steps: int = number(30_000, low=1, unit="steps", origin="ours", help="of the meta-fit; released: 100,000 or more")
    learning_rate: float = number(1e-3, low=1e-8, high=1.0, origin="ours", help="Adam step size; released: 8e-4")
    tasks_per_step: int = number(4, low=1, high=1_000, unit="tasks", origin="PACOH-RL", help="drawn for each step")
    rows_per_step: int = number(32, low=1, unit="rows", origin="ours", help="drawn of each of these tasks; released: 8")
    tempering: str = choice(
        "root",
        ("root", "none"),
        origin="PACOH-RL",
        help="a task's mean log-likelihood counts sqrt(rows) times in ln Z, or as often as there are rows",
    )
    initial_std: float = number(
        0.05, low=1e-4, high=10.0, origin="ours", help="of the weights, in every prior at the start"
    )
    hyper_std: float = number(1.0, low=1e-3, high=1e3, origin="ours", help="of the hyper-prior of a prior's means")
    hyper_log_variance: float = number(
        -6.0, low=-40.0, high=10.0, unit="log", origin="ours", help="mean of the hyper-prior of log-variances"
    )
    hyper_log_variance_std: float = number(
        1.0, low=1e-3, high=1e3, unit="log", origin="ours", help="and its standard deviation"
    )
    hyper_weight: float = number(
        1e-4, low=0.0, high=10.0, origin="PACOH-RL", help="of the hyper-prior beside the tasks' evidence"
    )


@dataclass
class Adaptation:
    """From a prior to a posterior, on the rows of a new task."""

    particles: int = number(9, low=1, high=100, unit="networks", origin="PACOH-RL", help="of the posterior")
    steps: int = number(1_000, low=1, unit="steps", origin="ours", help="after each episode; released: 2,000")
    learning_rate: float = number(3e-3, low=1e-8, high=1.0, origin="ours", help="Adam step size")
    rows_per_step: int = number(
        512, low=1, unit="rows", origin="ours", help="drawn for each step where there are more; released: 32"
    )
    prior: str = choice(
        "bayes",
        ("bayes", "released"),
        origin="ours",
        help="log prior beside the rows' summed log-likelihood; released: 1e-4 / (particles x rows) beside its mean",
    )
    kernel: str = choice("rbf", ("rbf", "linear"), origin="ours", help="of SVGD; rbf has the median width")
    repulsion: str = choice(
        "svgd", ("svgd", "released"), origin="ours", help="of SVGD; released: divided by the particles once more"
    )


@dataclass
class Control:
    """iCEM in the model, over actions and the model's luck within its uncertainty (H-UCRL)."""

    samples: int = number(300, low=2, unit="plans", origin="ours", help="drawn for each iteration; released: 500")
    elites: int = number(20, low=1, unit="plans", origin="ours", help="best plans kept; released: 10")
    iterations: int = number(4, low=1, unit="iterations", origin="ours", help="of the search; released: 5")
    horizon: int = number(30, low=2, high=1_000, unit="env steps", origin="PACOH-RL", help="of a plan (Pendulum: 40)")
    colour: float = number(2.0, low=0.0, high=10.0, origin="PACOH-RL", help="of the noise (HalfCheetah: 0.25)")
    std: float = number(
        0.5, low=1e-3, high=10.0, unit="half ranges", origin="PACOH-RL", help="of the first plans; released: its square"
    )
    optimism: float = number(
        0.5, low=0.0, high=10.0, unit="model stds", origin="PACOH-RL", help="beta; 0: greedy, in the mean model"
    )

    def contradictions(self) -> Iterator[str]:
        if self.elites > self.samples:
            yield f"elites={self.elites} is more than samples={self.samples}; nearest valid value: {self.samples}"
