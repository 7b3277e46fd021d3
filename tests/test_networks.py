"""Stacks of networks against separate ones, the policy's density against quadrature, the normaliser, the descent."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tom.core.networks import LOG_STD_RANGE, Normaliser, Policy, StackedMLP, TwinCritic, descend, xavier
from tom.core.streams import Stream, streams

CPU = torch.device("cpu")


def stream(*seeds: int) -> Stream:
    return streams(seeds, CPU)["init"]


@pytest.mark.parametrize("lead", [(3,), (2, 2)])
def test_a_stack_computes_what_separate_networks_compute(lead: tuple[int, ...]) -> None:
    net = StackedMLP(lead, (4, 7, 5, 2), torch.tanh, stream(*range(lead[0])))
    x = torch.randn(*lead, 11, 4)
    rows = x.reshape(-1, 11, 4)
    with torch.no_grad():
        for _, bias in net.layers():
            bias.normal_()
    out = net(x).reshape(-1, 11, 2)
    for member in range(len(rows)):
        layers: list[nn.Module] = []
        for weight, bias in net.layers():
            linear = nn.Linear(weight.shape[1], weight.shape[2])
            linear.load_state_dict({"weight": weight[member].T, "bias": bias[member, 0]})
            layers += [linear, nn.Tanh()]
        torch.testing.assert_close(nn.Sequential(*layers[:-1])(rows[member]), out[member], atol=1e-5, rtol=1e-5)


def test_first_weights_are_uniform_within_their_bound_and_biases_zero() -> None:
    net = StackedMLP((2,), (300, 200, 1), torch.relu, stream(0, 1))
    weight, bound = net.layers()[0][0].detach(), xavier(300, 200)
    assert bound == pytest.approx(math.sqrt(6.0 / 500.0))
    assert weight.abs().max() <= bound
    # The variance of a uniform is bound^2 / 3, that of its square 4 bound^4 / 45: five standard errors.
    assert abs(float(weight.var()) - bound**2 / 3.0) < 5.0 * math.sqrt(4.0 / 45.0 / weight.numel()) * bound**2
    assert all(not bias.any() for _, bias in net.layers())


def test_first_weights_like_torch_s_have_the_moments_of_an_nn_linear() -> None:
    """Uniform in +-1/sqrt(in), biases too, in replicas that differ; the published discriminator and MDN begin so."""
    net = StackedMLP((2,), (400, 300, 5), torch.tanh, stream(0, 1), "torch")
    linears = [nn.Linear(400, 300), nn.Linear(300, 5)]
    for (weight, bias), linear in zip(net.layers(), linears, strict=True):
        bound = 1.0 / math.sqrt(linear.in_features)
        for ours, theirs in ((weight.detach(), linear.weight), (bias.detach(), linear.bias)):
            assert 0.8 * bound < ours.abs().max() <= bound >= theirs.detach().abs().max()
            spread = 5.0 * math.sqrt(4.0 / 45.0 / (ours.numel() // 2)) * bound**2
            assert abs(float(ours[0].var(correction=0)) - bound**2 / 3.0) < spread + bound**2 / ours[0].numel()
            assert not torch.equal(ours[0], ours[1])


BUILDERS: dict[str, Callable[[int, Stream], nn.Module]] = {
    "policy": lambda r, s: Policy(r, 3, 2, 8, s, 0.5),
    "critic": lambda r, s: TwinCritic(r, 3, 2, 8, s),
    "mlp": lambda r, s: StackedMLP((r, 3), (3, 8, 2), torch.relu, s),
    "mlp_as_torch": lambda r, s: StackedMLP((r, 3), (3, 8, 2), torch.relu, s, "torch"),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_two_replicas_begin_as_each_would_alone(name: str) -> None:
    both = BUILDERS[name](2, stream(0, 1))
    for replica in range(2):
        alone = BUILDERS[name](1, stream(replica))
        for together, single in zip(both.parameters(), alone.parameters(), strict=True):
            share = together.shape[0] // 2
            assert torch.equal(together[replica * share : (replica + 1) * share], single)


def test_a_replica_does_not_see_the_other_s_rows() -> None:
    critic, rows = TwinCritic(2, 3, 2, 8, stream(0, 1)), torch.randn(2, 6, 5)
    changed = rows.clone()
    changed[1] += 1.0
    before, after = critic(rows), critic(changed)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_twins_are_two_networks_on_the_same_rows() -> None:
    critic, rows = TwinCritic(2, 3, 2, 8, stream(0, 1)), torch.randn(2, 6, 5)
    values = critic(rows)
    assert values.shape == (2, 2, 6)
    assert not torch.allclose(values[:, 0], values[:, 1])
    for parameter in critic.parameters():  # the second twin becomes the first
        parameter.data.view(2, 2, *parameter.shape[1:])[:, 1] = parameter.data.view(2, 2, *parameter.shape[1:])[:, 0]
    torch.testing.assert_close(critic(rows)[:, 0], critic(rows)[:, 1])


def test_a_critic_with_layer_normalisation_is_torch_s_and_bounded() -> None:
    """64 normalised units have norm 8, less once cut at 0: |Q| <= 8 |w| however far away, where a plain Q is linear."""
    plain, normed = (TwinCritic(1, 3, 2, 64, stream(0), layer_norm) for layer_norm in (False, True))
    normed.load_state_dict(plain.state_dict())
    x = torch.randn(1, 11, 5)
    *inner, (last, _) = normed.net.layers()
    for twin in range(2):
        hidden = x[0]
        for weight, _ in inner:
            hidden = nn.LayerNorm(64, elementwise_affine=False)(hidden @ weight[twin]).relu()
        torch.testing.assert_close((hidden @ last[twin])[:, 0], normed(x)[0, twin], atol=1e-5, rtol=1e-5)
    far = 1e6 * x
    torch.testing.assert_close(plain(far), 1e6 * plain(x), rtol=1e-4, atol=1.0)
    assert (normed(far).abs() <= 8.0 * last.norm(dim=1)[None]).all()


def test_log_prob_is_that_of_a_squashed_normal() -> None:
    policy, obs = Policy(2, 3, 2, 16, stream(0, 1)), torch.randn(2, 50, 3)
    noise = torch.randn(2, 50, 2)
    action, log_prob = policy.sample_with_log_prob(obs, noise)
    mean, std = policy(obs)
    base = torch.distributions.Normal(mean.double(), std.double())
    reference = torch.distributions.TransformedDistribution(base, [torch.distributions.TanhTransform(cache_size=1)])
    exact = torch.tanh(mean.double() + std.double() * noise.double())
    torch.testing.assert_close(log_prob.double(), reference.log_prob(exact).sum(-1), atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(action, policy.sample(obs, noise))
    torch.testing.assert_close(policy.samples(obs, noise[:, None])[:, 0], action)
    torch.testing.assert_close(policy.mode(obs), torch.tanh(mean))


def test_the_density_of_an_action_integrates_to_one() -> None:
    """Integrate exp(log pi) over actions by the trapezoid rule, with noise placed so that it reaches every action."""
    policy = Policy(1, 1, 1, 4, stream(3)).double()
    noise = torch.linspace(-9.0, 9.0, 20_001, dtype=torch.float64)[None, :, None]
    action, log_prob = policy.sample_with_log_prob(torch.full((1, 20_001, 1), 0.7, dtype=torch.float64), noise)
    assert torch.trapezoid(log_prob.exp()[0], action[0, :, 0]).item() == pytest.approx(1.0, abs=1e-4)


def test_log_prob_stays_finite_where_the_tanh_saturates() -> None:
    policy = Policy(1, 1, 1, 4, stream(0))
    with torch.no_grad():
        policy.net.layers()[-1][1][0, 0] = torch.tensor([50.0, 100.0])
    action, log_prob = policy.sample_with_log_prob(torch.zeros(1, 3, 1), torch.tensor([[[0.0], [1.0], [-1.0]]]))
    std = math.exp(LOG_STD_RANGE[1])  # the deviation is clamped
    exact = [
        -0.5 * n * n - math.log(std * math.sqrt(2 * math.pi)) + 2 * (50 + std * n - math.log(2)) for n in (0, 1, -1)
    ]
    assert log_prob[0].tolist() == pytest.approx(exact, rel=1e-5)
    assert action.abs().max() <= 1.0


def test_head_scale_zero_starts_at_the_middle_with_unit_spread() -> None:
    mean, std = Policy(2, 3, 2, 8, stream(0, 1), head_scale=0.0)(torch.randn(2, 5, 3))
    assert not mean.any()
    assert (std == 1.0).all()


def test_the_normaliser_standardises_and_comes_back() -> None:
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([[1.0, 10.0, 0.0], [0.1, 1.0, 5.0]])[:, None]
    rows = torch.randn(2, 400, 3, generator=generator) * scales + 3.0
    normaliser = Normaliser(2, 3, CPU)
    normaliser.fit(rows)
    normal = normaliser(rows)
    torch.testing.assert_close(normal.mean(1), torch.zeros(2, 3), atol=1e-4, rtol=0.0)
    expected = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])  # a constant column is only shifted
    torch.testing.assert_close(normal.std(1, correction=0), expected, atol=1e-4, rtol=0.0)
    torch.testing.assert_close(normaliser.inverse(normal), rows, atol=1e-4, rtol=1e-5)


def test_each_replica_descends_its_own_gradient() -> None:
    """One step of plain gradient descent on loss_r = c_r |p_r|^2 / 2: p_r (1 - rate c_r), whatever the other's c."""
    parameter, bystander = torch.ones(2, 3, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = torch.optim.SGD([parameter, bystander], lr=0.1)
    curvature = torch.tensor([1.0, 5.0])
    descend(optimizer, curvature * parameter.square().sum(-1) / 2.0 + bystander, [parameter])
    torch.testing.assert_close(parameter.detach(), torch.tensor([[0.9] * 3, [0.5] * 3]))
    assert bystander.grad is None
    assert bystander.tolist() == [1.0, 1.0]


def test_training_two_replicas_is_training_each() -> None:
    def trained(seeds: list[int], x: Tensor) -> list[Tensor]:
        net = StackedMLP((len(seeds),), (4, 8, 1), torch.relu, stream(*seeds))
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(20):
            descend(optimizer, (net(x)[..., 0] - x.sum(-1)).square().mean(-1), list(net.parameters()))
        return [p.detach() for p in net.parameters()]

    x = torch.randn(2, 32, 4)
    both = trained([0, 1], x)
    for replica in range(2):
        for together, alone in zip(both, trained([replica], x[replica : replica + 1]), strict=True):
            torch.testing.assert_close(together[replica], alone[0], atol=1e-5, rtol=1e-4)
