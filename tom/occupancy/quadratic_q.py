"""Q of the dual as a quadratic function of (s, a), solved to its minimum by Newton's method.

    min_Q  (1 - g) E_{mu0, pi} Q  +  E_q f*_+(e)  +  ridge F / 2 N |theta|^2,      Q(x) = theta . phi(x) + constant

phi holds the inputs, in the buffer's units, and their products. A multiplier of this form asks of the weights that the
first and second moments of (s, a) obey the flow of the policy, which a finite data set can do or nearly do; a network
asks it of every function it can represent, which no finite data set can, so that its dual has no minimum. The penalty
lets the F moments miss the flow at a price and makes the minimum unique whatever the data (cf. the regularised
Lagrangian of Yang et al., 2020); it is in proportion to the coefficients per row, as the ridge of Hoerl, Kennard and
Baldwin (1975) is, since so is what N rows leave unknown. So the weights are a property of the buffer, r and the policy:
nothing is kept from round to round, and no step size or number of steps matters.
"""

import math

import torch
from torch import Tensor

from tom.core.context import Context
from tom.core.networks import Policy
from tom.core.replay import RESETS_KEPT, Replay, take
from tom.core.streams import Stream
from tom.occupancy.divergences import conjugate, curvature, slope
from tom.occupancy.dual import (
    ROWS_PER_CHUNK,
    OccupancyQ,
    bellman_error,
    best_constant,
    constant_direction,
    dual_at_zero,
    dual_loss,
    policy_inputs,
)
from tom.settings.dual import DualSettings

NEWTON_STEPS, HALVINGS = 100, 40
DECREMENT = 1e-9  # nats that another Newton step would gain: where it stops
DECREASE = 1e-4  # share of the promised decrease that a step must bring (Armijo)
FLOOR = 1e-9  # on the Hessian's diagonal, where no row bends
REACH = 5.0  # standard deviations that an input may lie from its mean; beyond, it counts as there


class QuadraticQ(OccupancyQ):
    """Coefficients [R, F] and a constant [R, 1], found afresh each round."""

    def __init__(self, settings: DualSettings, context: Context):
        super().__init__(settings, context)
        self.width = context.observation_dim + context.action_dim
        self.pairs = tuple(torch.triu_indices(self.width, self.width, device=context.init.device))
        self.scale = 1.0 / math.sqrt(self.width + len(self.pairs[0]))
        self.linear = self.square = self.constant = torch.tensor(math.nan)

    @torch.no_grad()
    def solve(
        self, replay: Replay, log_ratio: Tensor, policy: Policy, stream: Stream, seen: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The minimum on at most `q_rows` rows; `dual` is its value on rows that are held out."""
        settings, terminated = self.settings, replay.all().terminated
        self.observe(replay)
        held, index = self.split(len(replay), stream, seen)
        columns, initial = self.flow(replay, policy, index, stream)
        direction = constant_direction(terminated, self.discount, settings.termination)
        ratios, directions = log_ratio.gather(1, index), direction.gather(1, index)
        start = (1.0 - self.discount) * initial
        ridge = settings.q_ridge * columns.shape[2] / columns.shape[1]
        solution = minimise(columns, ratios, directions, start, ridge, settings.divergence)
        theta = self.adopt(solution.to(columns.dtype))
        error = self.errors(replay, log_ratio, policy, stream)
        q_initial = (initial * theta).sum(-1, keepdim=True) + self.constant
        judged, probability = error.gather(1, held), torch.full(held.shape, 1.0 / held.shape[1], device=held.device)
        dual = dual_loss(judged, q_initial, probability, self.discount, settings.divergence)
        at_zero = dual_at_zero(log_ratio.gather(1, held), terminated.gather(1, held), settings, self.discount)
        return error, {"dual": dual, "mass_residual": self.residual(error, terminated), "dual_at_zero": at_zero}

    def split(self, count: int, stream: Stream, seen: Tensor | None) -> tuple[Tensor, Tensor]:
        """Slots that are held out and slots that are solved on, int64 [R, n] each."""
        order = stream.permutation(count)
        held = max(1, int(self.settings.q_holdout * count))
        index = order[:, held : held + self.settings.q_rows]
        return order[:, :held], index if seen is None else seen.gather(1, index)

    def adopt(self, solution: Tensor) -> Tensor:
        """Takes over the minimum (theta, b) [R, F + 1]; returns theta."""
        theta = solution[:, :-1]
        scaled = self.scale * theta
        self.linear = scaled[:, : self.width, None]
        self.square = theta.new_zeros(len(theta), self.width, self.width)
        self.square[:, self.pairs[0], self.pairs[1]] = scaled[:, self.width :]
        self.constant = -solution[:, -1:] / (1.0 - self.discount)
        return theta

    def values(self, inputs: Tensor) -> Tensor:
        x = self.inputs(inputs)
        return (x @ self.linear)[..., 0] + (x @ self.square * x).sum(-1) + self.constant

    def inputs(self, raw: Tensor) -> Tensor:
        """Raw inputs [R, B, O + A] in the buffer's units."""
        return self.normalise(raw).clamp(-REACH, REACH)

    def features(self, x: Tensor) -> Tensor:
        """phi, about 1 long, of inputs [R, B, K, O + A], its mean over K: [R, B, F]."""
        products = (x.mT @ x / x.shape[-2])[..., self.pairs[0], self.pairs[1]]
        return torch.cat([x.mean(-2), products], -1) * self.scale

    def flow(self, replay: Replay, policy: Policy, index: Tensor, stream: Stream) -> tuple[Tensor, Tensor]:
        """What a unit of each coefficient adds to e of the rows index: [R, n, F], and to E_{mu0, pi} Q: [R, F]."""
        samples = self.settings.action_samples

        def expected(obs: Tensor) -> Tensor:
            noise = stream.normal(samples, obs.shape[1], self.action_dim)
            drawn = self.inputs(policy_inputs(obs, policy, noise))
            return self.features(drawn.unflatten(1, (samples, -1)).transpose(1, 2))

        first = expected(take(replay.resets, stream.below(replay.resets_kept(), RESETS_KEPT))).mean(1, keepdim=True)
        parts = []
        for some in index.split(ROWS_PER_CHUNK, 1):
            rows = replay.rows(some)
            now, following = self.features(self.inputs(rows.obs_action)[:, :, None]), expected(rows.next_obs)
            ends = rows.terminated[..., None]
            nothing = torch.zeros_like(ends)
            parts.append(bellman_error(nothing, now, following, first, ends, self.discount, self.settings.termination))
        return torch.cat(parts, 1), first[:, 0]


def minimise(
    columns: Tensor,
    log_ratio: Tensor,
    direction: Tensor,
    initial: Tensor,
    ridge: float,
    divergence: str,
    probability: Tensor | None = None,
) -> Tensor:
    """The z = (theta, b) that minimises the penalised dual, by Newton's method with halved steps: float64 [R, F + 1].

        initial . theta - b + E_q f*_+(log_ratio + columns . theta + b direction) + ridge / 2 |theta|^2

    columns [R, n, F]; log_ratio, direction and probability (q; without it rows count alike) [R, n]; initial [R, F]. The
    b, which a constant of -b / (1 - g) in Q brings, is free.
    `kl_simplex` is solved as `kl`: with the best constant both have the same weights.
    """
    divergence = "kl" if divergence == "kl_simplex" else divergence
    columns = torch.cat([columns, direction[..., None]], -1)
    exact, log_ratio = columns.double(), log_ratio.double()
    linear = torch.nn.functional.pad(initial.double(), (0, 1), value=-1.0)
    penalty = torch.full_like(linear, ridge)
    penalty[..., -1] = 0.0
    if probability is None:
        probability = torch.full_like(log_ratio, 1.0 / log_ratio.shape[-1])

    def error_of(z: Tensor) -> Tensor:
        return log_ratio + (exact @ z[..., None])[..., 0]

    def objective(z: Tensor) -> Tensor:
        value = (linear * z + penalty * z.square() / 2.0).sum(-1)
        return value + conjugate(divergence, error_of(z), probability)

    z = torch.zeros_like(linear)
    z[..., -1:] = best_constant(log_ratio, direction.double(), divergence)
    for _ in range(NEWTON_STEPS):
        error = error_of(z)
        slopes = probability * slope(divergence, error, probability)
        gradient = linear + penalty * z + (slopes[:, None] @ exact)[:, 0]
        # The curvature only decides the way there: float32 is half the work.
        bent = (probability * curvature(divergence, error)).to(columns.dtype)
        hessian = ((columns * bent[..., None]).mT @ columns).double() + torch.diag_embed(penalty + FLOOR)
        step = torch.linalg.solve(hessian, gradient)
        decrement = (gradient * step).sum(-1)
        going = decrement > DECREMENT
        if not going.any():
            break
        before, length = objective(z), going.double()
        for _ in range(HALVINGS):
            worse = ~(objective(z - length[:, None] * step) <= before - DECREASE * length * decrement)
            if not (worse & going).any():
                break
            length = torch.where(worse, length / 2.0, length)
        z = z - length[:, None] * step
    return z
