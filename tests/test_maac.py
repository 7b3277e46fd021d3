"""MAAC: the gradient of paths through a model in linear-quadratic worlds, whose answer is known, and its own losses."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config.compose import compose_cell
from tests.test_contract import small
from tests.test_offline import DATA, SAC, WORLD, agent
from tests.test_sac import context, rows_of
from tom.backbones.maac import PathwiseActorCritic
from tom.backbones.sac import SoftActorCritic
from tom.core.context import build
from tom.core.streams import streams
from tom.envs.spec import never
from tom.experiments.offline import KnownReward, OfflineAgent, Task
from tom.experiments.road_and_rocks import dataset, task_of
from tom.settings import names
from tom.settings.agent import AgentSettings, agent_settings
from tom.settings.backbones.maac import Settings
from tom.settings.fields import problems
from tom.train import Round, Trainer, train

CPU = torch.device("cpu")
ORIGIN, FREE = torch.zeros(2), torch.zeros(1, dtype=torch.float64)  # no entropy


@dataclass
class Quadratic:
    """s' = A s + B u + noise, r = -(s' Q s + R |u|^2): the world, a model of it, and the value P of u = -K s in it."""

    a: Tensor
    b: Tensor
    q: Tensor
    r: float
    noise: float
    gain: Tensor
    discount: float = 0.95
    std: float = 0.0  # of the policy
    terminated = staticmethod(never)

    @property
    def closed(self) -> Tensor:
        return self.a - self.b @ self.gain

    def value(self) -> Tensor:
        """P with V(s) = -s' P s + constant: P = Q + K' R K + g F' P F."""
        p = cost = self.q + self.r * self.gain.mT @ self.gain
        for _ in range(500):
            p = cost + self.discount * self.closed.mT @ p @ self.closed
        return p

    def visited(self, first: Tensor) -> Tensor:
        """E ss' over the discounted states that follow E s_0 s_0' = first."""
        spread = self.noise**2 * torch.eye(len(self.a)).double() + self.std**2 * self.b @ self.b.mT
        seen = first
        for _ in range(500):
            seen = (1.0 - self.discount) * first + self.discount * (self.closed @ seen @ self.closed.mT + spread)
        return seen

    def sample(self, obs_action: Tensor, uniform: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        obs, action = obs_action[..., : len(self.a)], obs_action[..., len(self.a) :]
        reward = -((obs @ self.q) * obs).sum(-1) - self.r * action.square().sum(-1)
        return reward, obs @ self.a.mT + action @ self.b.mT + self.noise * normal[..., 1:]

    def critic(self, p: Tensor) -> Any:
        """Twins that say r + g V(s'), up to a constant: [R, B, O + A] -> [R, 2, B]."""

        def twins(obs_action: Tensor) -> Tensor:
            reward, after = self.sample(obs_action, ORIGIN, torch.zeros(1 + len(self.a)).double())
            return (reward - self.discount * ((after @ p) * after).sum(-1))[:, None].expand(-1, 2, -1)

        return twins


class Linear(nn.Module):
    """u = -K s + std * noise; its density counts nothing here."""

    def __init__(self, world: Quadratic):
        super().__init__()
        self.gain, self.std = nn.Parameter(world.gain.clone()), world.std

    def sample_with_log_prob(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return -obs @ self.gain.mT + self.std * noise, torch.zeros_like(obs[..., 0])


def gradient(world: Quadratic, steps: int, starts: Tensor, model: Any = None, value: Any = None) -> Tensor:
    """d E V_L / dK, exact: a quadratic's mean over Gaussian draws is its mean over the points +-sqrt(n) e_i.

    `starts` is E s_0 s_0'; model and value are the world's own where they are not given.
    """
    dims, actions = len(world.a), world.b.shape[1]
    learner = PathwiseActorCritic(
        Settings(hidden=2, discount=world.discount), context(dims, actions, replicas=1, discount=world.discount)
    )
    learner.policy = Linear(world)  # type: ignore[assignment]
    learner.bind(model or world, world)
    width = (steps + 1) * actions + 2 * steps * (1 + dims)
    random = dims + width - steps * (1 + dims)  # the uniform draws come last, and nobody asks them
    points = torch.cat([torch.eye(random), -torch.eye(random)]).double() * math.sqrt(random)
    obs, noise = points[:, :dims] @ torch.linalg.cholesky(starts).mT, points[:, dims:]
    noise = torch.cat([noise, torch.zeros(len(points), width - noise.shape[1]).double()], -1)
    critic = world.critic(world.value() if value is None else value)
    found, *_ = learner.path(obs[None], noise[None], critic, [FREE] * (steps + 1))
    (slope,) = torch.autograd.grad(found.mean(), [learner.policy.gain])  # type: ignore[attr-defined]
    return slope.flatten()


def matrix(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def scalar(gain: float) -> Quadratic:
    return Quadratic(matrix([1.1]), matrix([0.5]), matrix([1.0]), 0.1, 0.0, matrix([gain]))


def plane(a: Tensor | None = None) -> Quadratic:
    there = matrix([1.0, 0.2], [-0.1, 0.95]) if a is None else a
    b, q = matrix([0.0], [0.3]), matrix([1.0, 0.0], [0.0, 0.5])
    return Quadratic(there, b, q, 0.1, 0.1, matrix([0.4, 0.6]), std=0.2)


FIRST, BUFFER = matrix([1.0, 0.3], [0.3, 0.5]), matrix([0.2, -0.3], [-0.3, 3.0])
EXACT = torch.tensor([2.12089, 4.84575]).double()  # the policy gradient of the plane's world


@pytest.mark.parametrize(
    ("steps", "slope"), [(0, 0.7529), (1, 1.0104), (2, 1.0984), (4, 1.1389), (11, 1.1442), (60, 1.1442)]
)
def test_the_longer_the_path_the_closer_to_the_policy_gradient(steps: int, slope: float) -> None:
    assert float(gradient(scalar(1.0), steps, matrix([1.0]))) == pytest.approx(slope, abs=5e-5)


@pytest.mark.parametrize("steps", [1, 2, 4, 11])
def test_the_best_policy_stays(steps: int) -> None:
    best = scalar(1.6828769)
    assert float(best.value()) == pytest.approx(1.37023, abs=5e-6)
    assert abs(float(gradient(best, steps, matrix([1.0])))) < 1e-6


@pytest.mark.parametrize(
    ("steps", "slope"),
    [
        (0, (1.15354, 0.95619)),
        (1, (2.03180, 1.36949)),
        (2, (2.58398, 1.53140)),
        (4, (2.86369, 1.75889)),
        (11, (1.90086, 3.60640)),
        (201, (2.12088, 4.84569)),
    ],
)
def test_paths_from_where_episodes_begin(steps: int, slope: tuple[float, float]) -> None:
    world = plane()
    torch.testing.assert_close(world.value(), matrix([5.90052, 2.06875], [2.06875, 3.12662]), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(gradient(world, steps, FIRST), torch.tensor(slope).double(), atol=1e-5, rtol=0.0)


def test_paths_from_where_the_policy_goes_and_from_a_buffer() -> None:
    """The policy's own states give the policy gradient's direction exactly at L = 0, a buffer's do not."""
    world = plane()
    for starts, cosines in (
        (world.visited(FIRST), (1.0, 0.9974, 0.9534, 0.9184)),
        (BUFFER, (0.8851, 0.9227, 0.9843, 0.9895)),
    ):
        slopes = [gradient(world, steps, starts) for steps in (0, 1, 4, 11)]
        found = [float(torch.cosine_similarity(slope, EXACT, dim=0)) for slope in slopes]
        assert found == pytest.approx(cosines, abs=5e-5)
    torch.testing.assert_close(
        gradient(world, 0, world.visited(FIRST)), (1.0 - world.discount) * EXACT, atol=1e-5, rtol=0.0
    )


@pytest.mark.parametrize(
    ("wrong", "errors"),
    [
        (("model",), (0.0, 0.141, 0.332, 0.574, 0.469)),
        (("critic",), (0.58, 0.521, 0.430, 0.228, 0.031)),
        (("model", "critic"), (0.58, 0.363, 0.154, 0.429, 0.481)),
    ],
)
def test_a_path_trades_the_critic_s_error_for_the_model_s(wrong: tuple[str, ...], errors: tuple[float, ...]) -> None:
    world = plane()
    starts, off = world.visited(FIRST), plane(world.a + 0.05 * matrix([0.0, 1.0], [1.0, 0.0]))
    skewed = world.value() + 0.3 * matrix([0.5, -1.0], [-1.0, 2.0])
    changes = {"model": {"model": off}, "critic": {"value": skewed}}
    given = {key: value for name in wrong for key, value in changes[name].items()}
    for steps, error in zip((0, 1, 2, 4, 11), errors, strict=True):
        ideal = gradient(world, steps, starts)
        found = float((gradient(world, steps, starts, **given) - ideal).norm() / ideal.norm())
        assert found == pytest.approx(error, abs=6e-4)


class Chain:
    """Reward 1 a step; the state counts up, and is terminal from `end` on."""

    def __init__(self, end: float = math.inf):
        self.end = end

    def sample(self, obs_action: Tensor, uniform: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(obs_action[..., 0]), obs_action[..., :1] + 1.0

    def terminated(self, next_obs: Tensor) -> Tensor:
        return next_obs[..., 0] >= self.end


def constant_learner(world: Any, critics: float = 0.0, targets: float = 0.0, **changes: Any) -> PathwiseActorCritic:
    """One whose critics say the same everywhere, in a world that it knows."""
    learner = PathwiseActorCritic(Settings(hidden=2, initial_temperature=1e-12, **changes), context())
    learner.bind(world, world)
    with torch.no_grad():
        for critic, value in ((learner.critic, critics), (learner.target, targets)):
            critic.net.weights.zero_()
            critic.net.biases.zero_()
            critic.net.layers()[-1][1].fill_(value)
    return learner


@pytest.mark.parametrize(("end", "value"), [(1.0, 1.0), (2.0, 1.99), (9.0, 1.0 + 0.99 + 0.99**2 + 0.99**3 + 96.059601)])
def test_what_follows_a_terminal_state_counts_nothing(end: float, value: float) -> None:
    """Rewards 1, critics 100 after four steps; the release brings a path that ended back to life: 99.02, not 1.99."""
    learner = constant_learner(Chain(end), critics=100.0, discount=0.99)
    noise = learner.noise(streams([0, 1], CPU)["replay"], 1, 5)[1][:, 0]
    found, _, q = learner.path(torch.zeros(2, 5, 1), noise, learner.critic, [torch.zeros(2)] * 5)
    torch.testing.assert_close(found, torch.full((2, 5), value), rtol=1e-6, atol=0.0)
    assert q.unique().tolist() == [100.0]


@pytest.mark.parametrize(("length", "off"), [(1, 0.27), (2, 0.243), (5, 0.177147)])
def test_an_expanded_target_shrinks_the_critic_s_error(length: int, off: float) -> None:
    """A reward of 1 for ever is worth 10 at g = 0.9; targets that say 10.3 are off by 0.3 g^H after H rewards."""
    changes: dict[str, Any] = {"critic_target": "expansion", "path_length": length, "discount": 0.9}
    learner = constant_learner(Chain(), critics=10.0, targets=10.3, **changes)
    noise = learner.noise(streams([0, 1], CPU)["replay"], 1, 1)[0][:, 0]
    loss = learner.critic_loss(rows_of(1.0, 0.0, 0.0), noise, torch.zeros(2))
    assert loss.tolist() == pytest.approx([2.0 * off**2] * 2, rel=1e-4)
    assert learner.critic_loss(rows_of(10.0, 1.0, 0.0), noise, torch.zeros(2)).tolist() == [0.0, 0.0]


def test_a_path_of_no_steps_is_sac_to_the_bit() -> None:
    """The loss, and two whole updates from the same start."""
    sac, learner = (
        cls(Settings(hidden=8, path_length=0), context(3, 2)) for cls in (SoftActorCritic, PathwiseActorCritic)
    )
    learner.load_state_dict(sac.state_dict())
    for draws in streams([0, 1], CPU)["replay"], streams([2, 3], CPU)["replay"]:
        rows, noise = draws.normal(16, 11), learner.noise(draws, 1, 16)
        numbers = [each.update(rows, *(part[:, 0] for part in noise)) for each in (sac, learner)]
        assert torch.equal(numbers[0], numbers[1][:, :5])
    for ours, theirs in zip(learner.policy.parameters(), sac.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert all(torch.equal(a, b) for a, b in zip(learner.critic.parameters(), sac.critic.parameters(), strict=True))


@pytest.mark.parametrize("entropy", ["path", "first"])
def test_the_price_of_entropy_by_hand(entropy: str) -> None:
    """A standard normal before the tanh, reward 1, critics 2, two steps: -(1 + g + 2 g^2), and alpha log pi."""
    learner = constant_learner(Chain(), critics=2.0, discount=0.9, path_length=2, entropy=entropy)
    with torch.no_grad():
        for parameter in learner.policy.parameters():
            parameter.zero_()
    noise = torch.zeros(2, 1, 11)
    noise[..., 1], noise[..., 2] = 1.0, -0.5
    loss, log_prob, q = learner.actor_loss(rows_of(0.0, 0.0, 0.0), noise, torch.tensor([0.5, 0.25]))
    first, *later = (
        -0.5 * n * n - 0.5 * math.log(2.0 * math.pi) - math.log(1.0 - math.tanh(n) ** 2) for n in (0.0, 1.0, -0.5)
    )
    spent = first + (0.9 * later[0] + 0.81 * later[1] if entropy == "path" else 0.0)
    assert loss.tolist() == pytest.approx([alpha * spent - 1.0 - 0.9 - 1.62 for alpha in (0.5, 0.25)], rel=1e-5)
    assert log_prob[:, 0].tolist() == pytest.approx([first] * 2, rel=1e-5)
    assert q.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("name", names("dynamics"))
def test_an_update_leaves_the_model_alone_and_says_how_long_the_actor_s_gradient_was(name: str) -> None:
    sizes = context(3, 2)
    model, learner = build("dynamics", small("dynamics", name), sizes), PathwiseActorCritic(Settings(hidden=8), sizes)
    learner.bind(model, Task(3, 2, torch.sum, never))
    before = [tensor.clone() for tensor in model.state_dict().values()]
    draws = streams([0, 1], CPU)["replay"]
    numbers = learner.update(draws.normal(16, 11), *(part[:, 0] for part in learner.noise(draws, 1, 16)))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, model.state_dict().values(), strict=True))
    slopes = torch.cat([parameter.grad for parameter in learner.policy.parameters()], 1)  # type: ignore[misc]
    assert dict(zip(learner.numbers, numbers.unbind(-1), strict=True))["actor_gradient_norm"].tolist() == (
        pytest.approx(slopes.norm(dim=1).tolist())
    )


def cell(*words: str) -> AgentSettings:
    short = ("train.total_env_steps=340", "train.round_env_steps=20", "backbone.updates_per_burst=5")
    return agent_settings(compose_cell("maac", "hopper", "smoke", [*short, *words]))


def test_a_model_is_fitted_before_the_first_path() -> None:
    """A round comes before the first burst, and the learner was told of the model that it fits."""
    trainer = Trainer(cell(), (0, 1), CPU)
    assert trainer.backbone.sac.model is trainer.model and trainer.backbone.sac.world is trainer.spec
    first, *later = [record for record in train(cell(), (0, 1), "cpu") if isinstance(record, Round)]
    assert first.env_steps == trainer.warmup_env_steps and first.numbers["updates_per_env_step"].tolist() == [0.0, 0.0]
    assert later[0].numbers["updates_per_env_step"].tolist() == [0.5, 0.5]
    assert all((record.numbers["policy/actor_gradient_norm"] > 0.0).all() for record in later)


def test_offline_the_path_sees_the_task_s_reward() -> None:
    settings = agent("uniform")
    settings.backbone = Settings(**SAC, path_length=2)  # type: ignore[arg-type]
    draws = streams((0, 1), CPU)
    learner = OfflineAgent(settings, task_of(WORLD), dataset(WORLD, DATA, draws["env"]), 1, draws)
    assert isinstance(learner.backbone.sac.model, KnownReward) and learner.backbone.sac.world is learner.task
    learner.fit_model()
    learner.improve_policy(20)
    assert learner.backbone.report()["actor_loss"].isfinite().all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"path_length": 0}, "path_length=0 is SAC's own actor loss; nearest valid choice: backbone=mbpo"),
        (
            {"critic_target": "expansion", "path_length": 1, "real_fraction": 1.0},
            "critic_target=expansion with path_length=1 and real_fraction=1 has no model row to expand; "
            "nearest valid value: real_fraction=0",
        ),
    ],
)
def test_what_has_no_path_is_refused(changes: dict[str, Any], sentence: str) -> None:
    assert list(problems(Settings(**changes), "backbone")) == [f"backbone: {sentence}"]


UPDATES, BATCH = 200, 64


def cost_ratios(learner_class: type[SoftActorCritic], kind: Any = Settings, **changes: Any) -> Tensor:
    """The scalar world with |u| <= 4, known exactly: discounted cost over the best there is, of three seeds [3].

    Every learner gets the same batches, of states in +-4 and actions alike; the cost is that of the deterministic
    policy from states in +-1.5, where the best one needs no more than |u| = 2.6.
    """
    world = Quadratic(*(each.float() for each in (matrix([1.1]), matrix([2.0]), matrix([1.0]))), 1.6, 0.0, ORIGIN)
    settings = kind(hidden=32, batch=BATCH, learning_rate=3e-3, discount=0.95, initial_temperature=1e-3, **changes)
    learner = learner_class(settings, context(replicas=3, discount=0.95))
    learner.bind(world, world)
    draws, noise = streams(range(3), CPU)["env"], learner.noise(streams(range(3), CPU)["replay"], UPDATES, BATCH)
    still = torch.zeros(2)
    for update in range(UPDATES):
        obs_action = (2.0 * draws.uniform(BATCH, 2) - 1.0) * torch.tensor([4.0, 1.0])
        reward, next_obs = world.sample(obs_action, still, still)
        rows = torch.cat([obs_action, next_obs, reward[..., None], torch.zeros(3, BATCH, 2)], -1)
        learner.update(rows, *(part[:, update] for part in noise))
    starts = obs = torch.linspace(-1.5, 1.5, 20)[None, :, None].expand(3, -1, -1)
    cost = torch.zeros(3, 20)
    with torch.no_grad():
        for step in range(200):
            reward, obs = world.sample(torch.cat([obs, learner.policy.mode(obs)], -1), still, still)
            cost -= 0.95**step * reward
    return cost.sum(-1) / (1.37023 * starts[..., 0].square()).sum(-1)


def test_paths_of_four_steps_find_the_best_policy_in_200_updates_and_sac_does_not() -> None:
    """Of twelve seeds all are below 1.08, and of SAC's eleven above 1.3, the twelfth at it."""
    assert (cost_ratios(PathwiseActorCritic) <= 1.10).all()
    assert (cost_ratios(SoftActorCritic) > 1.3).sum() >= 2
