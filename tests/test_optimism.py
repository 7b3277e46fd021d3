"""Planning with luck: what a plan finds where the value is linear, that greed leaves luck alone, and the oracle."""

import pytest
import torch
from torch import Tensor

from tom.core.several import several
from tom.core.streams import Stream, streams
from tom.families import pendulum
from tom.families.base import build
from tom.pacoh.bnn import ParticleNetwork
from tom.pacoh.control import Planner, hallucinated, known, later
from tom.pacoh.rows import play
from tom.settings.experiments.pacoh import Control, Network
from tom.settings.families.pendulum import Settings as Pendulums

CPU = torch.device("cpu")
VALUE, MEAN, STD = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.3, 0.1, 0.2])
SMALL = Network(layers=1, hidden=8, activation="tanh")


def draws(seed: int, count: int = 1) -> Stream:
    return several(streams([seed], CPU)["rollout"], count)


def model(particles: int = 4, count: int = 1) -> ParticleNetwork:
    """Of pendulums, with units of its own."""
    found = ParticleNetwork(SMALL, count, 3, 1, particles, draws(0, count))
    found.targets.mean.fill_(0.1)
    found.targets.std.fill_(0.7)
    return found


class Fixed(ParticleNetwork):
    """Particles that expect MEAN +- STD of s' - s wherever they are asked."""

    def believed(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        shape = (*inputs.shape[:2], 4)
        nothing = torch.zeros(1)
        return torch.cat([nothing, MEAN]).expand(shape), torch.cat([nothing, STD]).expand(shape)


def linear(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    return (next_obs - obs) @ VALUE


def test_the_best_luck_is_that_of_the_values_signs() -> None:
    """V(mean) + beta sum |g| std = 1.35 for beta = 1.5."""
    step = hallucinated(Fixed(SMALL, 1, 3, 1, 2, draws(0)), linear, 1.5)
    obs, action = torch.zeros(1, 1, 3), torch.zeros(1, 1, 1)
    paid, _ = step(obs, action, VALUE.sign().view(1, 1, 3))
    assert paid.item() == pytest.approx(1.35)
    planner = Planner(Control(samples=200, elites=20, iterations=8, horizon=2, colour=0.0, std=1.0), step, 3, 1)
    planner.act(obs[:, 0], draws(1))
    assert planner.plan is not None
    assert planner.returns(obs[:, 0], planner.plan[:, :, None]).item() == pytest.approx(2 * 1.35, rel=0.02)
    eta = planner.plan[0, 0, :, 1:]
    assert torch.equal(eta.sign(), VALUE.sign().expand(2, 3))


def test_greed_and_equal_particles_leave_luck_alone() -> None:
    obs, action, eta = draws(1).normal(5, 3), draws(2).normal(5, 1), draws(3).normal(5, 3)
    greedy, lucky = (hallucinated(model(), pendulum.reward, beta) for beta in (0.0, 2.0))
    one = model()
    one.net.settle(one.net.theta[:, :1].expand(-1, 4, -1))
    alike = hallucinated(one, pendulum.reward, 2.0)
    for step, moved in ((greedy, False), (alike, False), (lucky, True)):
        both = [step(obs, action, each)[1] for each in (eta, torch.zeros_like(eta))]
        assert torch.allclose(*both, atol=1e-6) is not moved


def test_particles_have_no_order() -> None:
    first, second = model(), model()
    second.net.settle(first.net.theta[:, [2, 0, 3, 1]])
    obs, action, eta = draws(1).normal(5, 3), draws(2).normal(5, 1), draws(3).normal(5, 3)
    found = [hallucinated(each, None, 0.5)(obs, action, eta) for each in (first, second)]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_learned_reward_is_the_models_own() -> None:
    each = model(particles=1)
    obs, action = draws(1).normal(5, 3), draws(2).normal(5, 1)
    paid, next_obs = hallucinated(each, None, 0.0)(obs, action, torch.zeros(1, 5, 3))
    mean = each.targets.inverse(each.mean(each.spread(each.inputs(torch.cat([obs, action], -1))))[:, 0])
    torch.testing.assert_close(paid, mean[..., 0])
    torch.testing.assert_close(next_obs, obs + mean[..., 1:])


def test_a_plan_goes_on_where_the_last_one_was() -> None:
    plan = torch.arange(12.0).view(1, 1, 4, 3)
    assert later(plan)[0, 0].tolist() == [[3, 4, 5], [6, 7, 8], [9, 10, 11], [0, 0, 0]]


def test_worlds_are_planned_for_apart() -> None:
    """A world's plans are the same alone as beside another."""
    both, alone = model(count=2), model(count=2)
    one = ParticleNetwork(SMALL, 1, 3, 1, 4, draws(0))
    one.net.settle(alone.net.theta[1:])
    one.targets.mean.fill_(0.1)
    one.targets.std.fill_(0.7)
    control, obs, luck = Control(samples=20, elites=4, iterations=2, horizon=4), draws(1, 2).normal(3), draws(2, 2)
    own = Stream(draws(2, 2).generators[1:])
    together = Planner(control, hallucinated(both, pendulum.reward, 0.5), 3, 1).act(obs, luck)
    torch.testing.assert_close(
        together[1:], Planner(control, hallucinated(one, pendulum.reward, 0.5), 3, 1).act(obs[1:], own)
    )


def test_an_oracle_swings_a_pendulum_up() -> None:
    family, parameters = build(Pendulums()), torch.tensor([[10.0, 1.0, 1.0]])
    step = family.dynamics(parameters)
    assert step is not None and family.reward is not None
    control = Control(samples=64, elites=8, iterations=3, horizon=20)
    rows, returns = play(
        family, family.worlds(parameters), Planner(control, known(step, family.reward), 3, 1), 120, draws(0)
    )
    assert (rows.obs[0, -20:, 0] > 0.95).all()  # upright
    assert rows.data.shape == (1, 120, 10) and (rows.reward == 0.0).all()  # the planner knows it
    paid = pendulum.reward(rows.obs, rows.obs_action[..., 3:], rows.next_obs).sum()
    assert returns.item() == pytest.approx(paid.item(), rel=1e-4)
    assert rows.truncated[0].tolist() == [0.0] * 119 + [1.0]
