"""Planning in models whose best plans are known, what a search can reach, and a policy that clones its planner."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

from pipeline.config.compose import compose_cell
from pipeline.runs.ensure import Options, ensure_trained
from pipeline.runs.folder import Cell, different
from pipeline.runs.records import rows_so_far
from pipeline.verify import result_problems
from tests.test_contract import small
from tests.test_maac import CPU, Chain, Quadratic, matrix, scalar
from tests.test_resume import described
from tests.test_sac import context
from tom.backbones.planner import Cloning, Planner
from tom.backbones.sac import SoftActorCritic
from tom.core.context import build
from tom.core.planning import Imagination, coloured, particles, resampled, search
from tom.core.replay import Transitions
from tom.core.streams import streams
from tom.envs.spec import never
from tom.experiments.offline import Task
from tom.settings.agent import agent_settings
from tom.settings.backbones.planner import Settings
from tom.settings.fields import SettingsError, problems
from tom.train import Planned, Step, Trainer, train


@dataclass
class Known:
    """A linear-quadratic world as planners see it: policy u = -K s + std noise, value -s'Ps where a plan ends."""

    world: Quadratic
    terminal: Tensor
    std: float = 0.0
    terminated = staticmethod(never)

    def expected(self, obs_action: Tensor) -> tuple[Tensor, Tensor]:
        still = torch.zeros(1 + len(self.world.a), dtype=obs_action.dtype)
        return self.world.sample(obs_action, still, still)

    def mode(self, obs: Tensor) -> Tensor:
        return -obs @ self.world.gain.mT

    def sample(self, obs: Tensor, noise: Tensor) -> Tensor:
        return self.mode(obs) + self.std * noise

    def critic(self, obs_action: Tensor) -> Tensor:
        obs = obs_action[..., : len(self.world.a)]
        return -((obs @ self.terminal) * obs).sum(-1)[:, None].expand(-1, 2, -1)

    @property
    def imagined(self) -> Imagination:
        return Imagination(self, self, self, self.critic, self.world.discount)  # type: ignore[arg-type]


def best(known: Known, obs: Tensor, horizon: int) -> Tensor:
    """The first action of the best plan: J is quadratic in it."""
    width = known.world.b.shape[1]

    def total(plan: Tensor) -> Tensor:
        return known.imagined.returns(obs[None, None], plan.view(1, 1, 1, horizon, width)).sum()

    zero = torch.zeros(horizon * width, dtype=torch.float64)
    return torch.linalg.solve(hessian(total, zero), -jacobian(total, zero))[:width]


def double_integrator(terminal: Tensor) -> Known:
    a, b = matrix([1.0, 0.1], [0.0, 1.0]), matrix([0.005], [0.1])
    world = Quadratic(a, b, matrix([1.0, 0.0], [0.0, 0.1]), 0.01, 0.0, matrix([7.24143, 4.43900]), discount=0.98)
    return Known(world, terminal)


RICCATI = matrix([5.73387, 0.96084], [0.96084, 0.59194])
X = torch.tensor([1.0, -0.5], dtype=torch.float64)


@pytest.mark.parametrize("horizon", [1, 2, 5, 10, 20])
def test_with_the_best_value_at_its_end_a_plan_is_riccati_s_whatever_its_length(horizon: int) -> None:
    assert float(best(double_integrator(RICCATI), X, horizon)) == pytest.approx(-5.021930, abs=3e-4)  # P of five digits


@pytest.mark.parametrize(("horizon", "action"), [(2, 0.02226), (5, -2.67318), (10, -4.82568), (20, -5.02103)])
def test_without_a_value_at_its_end_the_length_matters(horizon: int, action: float) -> None:
    nothing = torch.zeros(2, 2, dtype=torch.float64)
    assert float(best(double_integrator(nothing), X, horizon)) == pytest.approx(action, abs=1e-5)


@pytest.mark.parametrize(
    ("horizon", "gain", "cost"), [(1, 1.75738, 1.37271), (3, 1.68317, 1.37023), (10, 1.68288, 1.37023)]
)
def test_a_plan_that_ends_in_the_policy_s_value_improves_the_policy(horizon: int, gain: float, cost: float) -> None:
    policy = scalar(1.0)
    assert float(policy.value()) == pytest.approx(1.67173, abs=5e-6)
    found = -float(best(Known(policy, policy.value()), torch.ones(1, dtype=torch.float64), horizon))
    assert found == pytest.approx(gain, abs=5e-6)
    assert float(scalar(found).value()) == pytest.approx(cost, abs=5e-6)


def searched(returns: Any, actions: int, std: float, samples: int, iterations: int) -> tuple[Tensor, Tensor]:
    """The mean and standard deviation of a search from zero with a tenth of elites."""
    noise = streams([0], CPU)["policy"].normal(iterations, 1, samples, 1, actions)
    return search(returns, torch.zeros(1, 1, 1, actions), noise, std, samples // 10)


@pytest.mark.parametrize(("actions", "kept"), [(1, 0.00525), (3, 0.11293), (10, 0.37669)])
def test_how_much_variance_a_search_keeps_at_the_optimum(actions: int, kept: float) -> None:
    _, deviation = searched(lambda plans: -plans.square().sum((-2, -1)), actions, 0.1, 40_000, 1)
    assert float(deviation.square().mean()) / 0.01 == pytest.approx(kept, rel=0.04)


def test_how_far_a_search_reaches_on_a_slope() -> None:
    """Never further than 2.981 of its first standard deviation, 1.755 in the first step, with 10 % elites."""
    for iterations, reach in ((1, 1.7550), (30, 2.9809)):
        mean, _ = searched(lambda plans: plans.sum((-2, -1)), 1, 0.1, 40_000, iterations)
        assert float(mean) / 0.1 == pytest.approx(reach, rel=0.03)  # Monte Carlo


@pytest.mark.parametrize(("colour", "correlation"), [(0.0, 0.0), (0.25, 0.1387), (2.0, 0.8828), (3.0, 0.9621)])
def test_coloured_noise_has_unit_variance_and_the_autocorrelation_of_its_spectrum(
    colour: float, correlation: float
) -> None:
    for horizon in (30, 7):
        found = coloured(streams([0], CPU)["policy"].normal(40_000, 2 * (horizon // 2 + 1)), horizon, colour)[0]
        assert found.shape == (40_000, horizon)
        torch.testing.assert_close(found.var(0), torch.ones(horizon), rtol=0.04, atol=0.0)
        if horizon == 30:
            assert float((found[:, 1:] * found[:, :-1]).mean()) == pytest.approx(correlation, abs=0.015)


@pytest.mark.parametrize(("temperature", "mean"), [(1.0, -1.14340), (1e9, -1.0)])
def test_particles_have_the_exact_posterior_s_mean(temperature: float, mean: float) -> None:
    """Planning as inference on the linear-quadratic world, prior N(-s, 0.5^2), ten steps; hot ones are the prior's."""
    prior = scalar(1.0)
    known = Known(prior, scalar(1.6828769).value(), std=0.5)
    draws, count = streams(range(4), CPU)["policy"], 20_000
    noise, uniform = draws.normal(10, 1, count, 1).double(), draws.uniform(10, 1).double()
    found = particles(known.imagined, torch.ones(4, 1, 1, dtype=torch.float64), noise, uniform, temperature)
    assert found.shape == (4, 1, count, 1)
    assert float(found.mean()) == pytest.approx(mean, abs=0.02)


def test_particles_are_drawn_in_proportion() -> None:
    index = resampled(torch.tensor([[[0.5, 0.0, 0.25, 0.25]]]), torch.tensor([[0.3]]))
    assert index.tolist() == [[[0, 0, 2, 3]]]


@dataclass
class Walk(Chain):
    """The chain as planners see it."""

    end: float = 9.0

    def expected(self, obs_action: Tensor) -> tuple[Tensor, Tensor]:
        return self.sample(obs_action, obs_action, obs_action)

    def mode(self, obs: Tensor) -> Tensor:
        return torch.full_like(obs, 0.25)


@pytest.mark.parametrize(("end", "value"), [(1.0, 1.0), (2.0, 1.99), (9.0, 1.0 + 0.99 + 0.99**2 + 97.0299)])
def test_what_follows_a_terminal_state_counts_nothing(end: float, value: float) -> None:
    """Rewards of 1, critics of 100 after three steps."""
    walk = Walk(end)
    critic = lambda obs_action: torch.full((len(obs_action), 2, obs_action.shape[1]), 100.0)  # noqa: E731
    imagined = Imagination(walk, walk, walk, critic, 0.99)  # type: ignore[arg-type]
    found = imagined.returns(torch.zeros(2, 3, 1), torch.zeros(2, 3, 5, 3, 1))
    torch.testing.assert_close(found, torch.full((2, 3, 5), value))


def planner(name: str = "mdn", **changes: Any) -> tuple[Planner, SoftActorCritic]:
    """A planner in a model that nobody fitted."""
    sizes = context(3, 2)
    settings = small("backbone", "planner", **{"plan_samples": 30, "plan_elites": 5, **changes})
    sac, model = SoftActorCritic(settings, sizes), build("dynamics", small("dynamics", name), sizes)
    world = Task(3, 2, torch.sum, never)
    return Planner(settings, Imagination(model, world, sac.policy, sac.critic, 0.99)), sac


@pytest.mark.parametrize("name", ["mdn", "ensemble", "linear"])
@pytest.mark.parametrize("kind", ["cem", "icem", "smc"])
def test_a_plan_is_within_range_promises_no_less_and_is_each_replica_s_own(kind: str, name: str) -> None:
    """For any rows of any replica: the same numbers whoever else plans, and never a plan worse than the policy's."""
    made, sac = planner(name, planner=kind, plan_iterations=2, plan_horizon=3)
    obs = streams([0, 1], CPU)["env"].normal(4, 3)
    action, gain = made.plan(obs, streams([0, 1], CPU)["policy"])
    again, _ = made.plan(obs, streams([0, 7], CPU)["policy"])
    assert action.shape == (2, 4, 2) and gain.shape == (2, 4)
    assert action.abs().max() <= 1.0 and (gain >= 0.0).all()
    assert torch.equal(action[0], again[0])
    if gain.any() or kind == "smc":  # an unfitted linear model says the same of all actions
        assert not torch.equal(action[1], again[1]) and not torch.equal(action, sac.policy.mode(obs))
    assert gain.any() or kind == "smc" or name == "linear"


def test_where_actions_do_not_matter_the_policy_s_are_taken() -> None:
    walk = Walk()
    critic = lambda obs_action: torch.zeros(len(obs_action), 2, obs_action.shape[1])  # noqa: E731
    settings = small("backbone", "planner", plan_std=0.1)
    made = Planner(settings, Imagination(walk, walk, walk, critic, 0.99))  # type: ignore[arg-type]
    action, gain = made.plan(torch.zeros(2, 3, 1), streams([0, 1], CPU)["policy"])
    assert (action == 0.25).all() and not gain.any()


def test_cloning_draws_the_policy_to_the_stored_actions() -> None:
    """Those of the real rows, which come first in a batch; without it the loss is SAC's to the bit."""
    settings = Settings(hidden=16, batch=32, real_fraction=0.5, cloning=50.0, learning_rate=3e-3, plan_elites=1)
    learner, draws = Cloning(settings, context(3, 2)), streams([0, 1], CPU)["replay"]
    rows = 0.3 * draws.normal(32, 11)
    rows[:, :16, 3:5], rows[:, 16:, 3:5] = 0.6, -0.6
    batch, noise = Transitions(rows, 3, 2), draws.normal(32, 2)
    plain = SoftActorCritic(settings, context(3, 2))
    plain.load_state_dict(learner.state_dict())
    temperature = torch.tensor([0.1, 0.2])
    loss, log_prob, _ = learner.actor_loss(batch, noise, temperature)
    without, log_prob_again, _ = plain.actor_loss(batch, noise, temperature)
    likely = learner.policy.log_prob(batch.obs[:, :16], batch.obs_action[:, :16, 3:]).mean(-1)
    torch.testing.assert_close(loss, without - 50.0 * likely)
    assert torch.equal(log_prob, log_prob_again)
    for _ in range(300):
        learner.update(rows, *draws.normal(2, 32, 2).unbind(1))
    assert (learner.policy.mode(batch.obs)[:, :16] - 0.6).abs().max() < 0.1


@pytest.mark.parametrize(
    ("samples", "iterations", "std", "low", "high"), [(500, 12, 0.75, 1.0, 1.01), (250, 6, 0.25, 1.015, 2.0)]
)
def test_a_policy_that_clones_a_wide_search_is_as_good_as_the_best_and_a_narrow_one_s_is_not(
    samples: int, iterations: int, std: float, low: float, high: float
) -> None:
    """The scalar world with u in +-1 for +-4 elsewhere: least squares on plans of 21 states, cost over the best."""
    world = Quadratic(matrix([1.1]), matrix([2.0]), matrix([1.0]), 1.6, 0.0, matrix([0.0]))
    known = Known(world, matrix([1.37023]))
    states = torch.linspace(-2.0, 2.0, 21, dtype=torch.float64)[None, :, None]
    noise = streams([3], CPU)["policy"].normal(iterations, 21, samples, 10, 1).double()
    start = torch.zeros(1, 21, 10, 1, dtype=torch.float64)
    mean, _ = search(lambda plans: known.imagined.returns(states, plans), start, noise, std, samples // 10)
    gain = -4.0 * float((mean[0, :, 0, 0] * states[0, :, 0]).sum() / states.square().sum())
    assert low - 1e-6 <= float(scalar(gain).value()) / 1.370233 < high


SHORT = ("train.total_env_steps=360", "train.warmup_env_steps=250", "train.round_env_steps=30")


def records(method: str, *words: str) -> list[Any]:
    settings = agent_settings(compose_cell(method, "hopper", "smoke", [*SHORT, *words]))
    return [described(each) for each in train(settings, (0, 1), "cpu") if not isinstance(each, Step | Planned)]


def test_without_plans_and_cloning_it_is_mbpo_to_the_byte() -> None:
    plain, mine = records("mbpo"), records("planner", "backbone.plan_probability=0", "backbone.cloning=0")
    extra = [[row for row in record if row[0] != "policy/plan_gain"] for record in mine]
    assert extra == plain


def test_it_plans_once_its_model_is_fitted_and_by_the_toss_of_a_coin() -> None:
    settings = agent_settings(compose_cell("planner", "hopper", "smoke", [*SHORT, "backbone.plan_probability=0.5"]))
    trainer = Trainer(settings, (0, 1), CPU)
    while trainer.env_steps < 250:
        trainer.step(explore=True)
    assert not trainer.backbone.plans
    trainer.round()
    policy = streams([0, 1], CPU)["policy"]
    observations, own = trainer.episodes.observations, []
    for _ in range(60):
        before = policy.state_dict()
        action = trainer.backbone.act(observations, policy)
        policy_again = streams([0, 1], CPU)["policy"]
        policy_again.load_state_dict(before)
        drawn = trainer.backbone.acting.policy.sample(observations[:, None], policy_again.normal(1, 3))[:, 0]
        own.append((action == drawn).all(-1))
    share = torch.stack(own).float().mean(0)
    assert (share > 0.25).all() and (share < 0.75).all()
    assert (trainer.backbone.planned == 60 - torch.stack(own).sum(0)).all()
    assert trainer.backbone.report()["plan_gain"].isfinite().all()
    assert trainer.backbone.report()["plan_gain"].isnan().all()


@pytest.mark.parametrize(
    ("method", "words", "sentence"),
    [
        (
            "planner",
            ["loss=vagram"],
            "backbone: planner cannot use a model of loss=vagram; nearest valid choice: loss=nll",
        ),
        (
            "tom_planner",
            ["backbone.plan_probability=1"],
            "leaves no row to the policy, which weighting=tom asks for; nearest valid value: 0.5",
        ),
        (
            "planner",
            ["weighting=ratio", "backbone.plan_probability=1"],
            "leaves no row to the policy, which weighting=ratio asks for; nearest valid value: 0.5",
        ),
        (
            "planner",
            ["backbone.plan_elites=17"],
            "plan_elites=17 is more than plan_samples=16; nearest valid value: 16",
        ),
        (
            "planner",
            ["backbone.real_fraction=0"],
            "cloning=0.1 with real_fraction=0.0 has no stored action;",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(method: str, words: list[str], sentence: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        agent_settings(compose_cell(method, "hopper", "smoke", words))
    assert sentence in str(refusal.value)


def test_one_step_is_planned_in_any_model() -> None:
    assert "vagram" in Settings(plan_horizon=1).losses and "vagram" not in Settings().losses
    assert list(problems(Settings(plan_horizon=1), "backbone")) == []


def test_at_the_end_the_planner_plays_the_last_evaluation_s_episodes(tmp_path: Path) -> None:
    """One row beside evals.csv, kept by a copy and the same after a stop; nothing where nobody plans."""
    words = [*SHORT, "train.eval_every_env_steps=60", "train.eval_episodes=2"]

    def run(method: str, folder: Path, until: int | None = None) -> Path:
        config = compose_cell(method, "hopper", "smoke", words)
        ensure_trained(Cell(method, "hopper", 0, "smoke", config, "code", until), folder, Options(device="cpu"))
        return folder

    whole = run("planner", tmp_path / "smoke/planner/hopper/0")
    (row,) = list(csv.DictReader((whole / "planned.csv").open()))
    *_, last = list(csv.DictReader((whole / "evals.csv").open()))
    assert row.keys() == last.keys() and row["env_steps"] == last["env_steps"] == "360"
    assert row["return_mean"] != last["return_mean"] and list(result_problems(whole)) == []
    assert [numbers for step, numbers in rows_so_far(whole) if "planned/return_mean" in numbers]
    stopped = run("planner", tmp_path / "run", 300)
    assert not (stopped / "planned.csv").exists()
    assert different(run("planner", stopped), whole) == []
    assert not (run("mbpo", tmp_path / "mbpo") / "planned.csv").exists()


def test_who_plans_every_step_plays_better_in_a_world_that_it_knows() -> None:
    """The scalar world in +-1 of 4 units: plans from a policy that does nothing, against it, from the same states."""
    world = Quadratic(matrix([1.1]).float(), matrix([2.0]).float(), matrix([1.0]).float(), 1.6, 0.0, torch.zeros(1, 1))
    known = Known(world, matrix([1.37023]).float())
    made = Planner(small("backbone", "planner", plan_samples=100, plan_elites=10), known.imagined)
    obs = torch.linspace(-1.5, 1.5, 10)[None, :, None]
    states, stream, cost = obs, streams([0], CPU)["eval"], torch.zeros(10)
    for time in range(40):
        action, _ = made.plan(states, stream)
        reward, states = known.expected(torch.cat([states, action], -1))
        cost -= 0.95**time * reward[0]
    assert float((cost / (1.37023 * obs[0, :, 0].square())).max()) < 1.1
