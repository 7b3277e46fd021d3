"""The training loop: a generator of records, and the only place where the parts of an agent meet."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tom.core.context import Context, View, build
from tom.core.replay import Replay, rows_of
from tom.core.streams import streams
from tom.dynamics.diagnostics import errors_on, model_errors
from tom.dynamics.fit import fit
from tom.envs import spec_of
from tom.envs.simulator import Lockstep
from tom.evaluate import evaluate
from tom.fresh import Fresh
from tom.settings.agent import AgentSettings
from tom.settings.fields import SettingsError
from tom.states import restore, state_of
from tom.weightings.base import summary

SUM = "sum of "  # what must be finite is summed up, and looked at when a round's numbers reach the host anyway


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns and lengths of deterministic episodes, [R, episodes]."""

    env_steps: int
    returns: np.ndarray
    lengths: np.ndarray


@dataclass(frozen=True)
class Probe:
    """The model's errors on fresh rows of the policy as it is now, [R] each; nothing else of a run depends on them."""

    env_steps: int
    numbers: dict[str, np.ndarray]


@dataclass(frozen=True)
class Round:
    """Numbers of one model round, [R] each: the same names every time, NaN for what is not known yet."""

    env_steps: int
    numbers: dict[str, np.ndarray]


@dataclass(frozen=True)
class Final:
    """The end of the run, or of a part of it: the policy's parameters by name, [R, ...]."""

    env_steps: int
    policy: dict[str, np.ndarray]


@dataclass(frozen=True)
class Step:
    """An environment step is done, and with it all that was due: a run can stop here and go on later."""

    env_steps: int
    state: Callable[[], dict[str, Any]]  # what `train(..., state=)` goes on from; to be saved before the next step


Record = Evaluation | Probe | Round | Step | Final


class Diverged(ArithmeticError):
    """Numbers of some replicas that are not finite: the message says where; `numbers` are those of the round, [R]."""

    def __init__(self, env_steps: int, where: dict[str, np.ndarray], numbers: dict[str, np.ndarray]):
        """`where` tells for each name at fault which replicas are, bool [R]."""
        super().__init__(f"diverged: {', '.join(where)} not finite at env step {env_steps}")
        self.env_steps, self.where, self.numbers = env_steps, list(where), numbers
        self.replicas = np.flatnonzero(np.any(list(where.values()), 0)).tolist()


def pick_device(word: str) -> torch.device:
    """auto: CUDA where there is one."""
    return torch.device("cuda" if word == "auto" and torch.cuda.is_available() else "cpu" if word == "auto" else word)


def train(
    settings: AgentSettings,
    seeds: Sequence[int],
    device: str = "auto",
    state: dict[str, Any] | None = None,
    threads: int = 1,
    until: int | None = None,
) -> Iterator[Record]:
    """Trains R = len(seeds) independent replicas of one agent; each depends on its own seed alone.

    The clock is the environment step. With the state of an earlier Step, which is used up, it goes on from there: the
    records are those that would have followed. With `until` it ends after that env step, where the run would have gone
    on: what it yields up to there, but for Final, is the same. Environments are stepped in so many threads.
    SettingsError if a part needs what the backbone does not have; Diverged.
    """
    torch.set_flush_denormal(True)  # products with denormal numbers are several times slower on a CPU
    trainer = Trainer(settings, seeds, pick_device(device), threads)
    loop = settings.train
    end = loop.total_env_steps if until is None else min(until, loop.total_env_steps)
    if state is None:
        yield trainer.evaluation()
    else:
        restore(trainer, state)
    while trainer.env_steps < end:
        since_warmup = trainer.env_steps - loop.warmup_env_steps
        if since_warmup >= 0 and since_warmup % loop.round_env_steps == 0:
            yield trainer.round()
        trainer.step(explore=since_warmup < 0)
        trainer.improve()
        if trainer.env_steps % loop.eval_every_env_steps == 0 or trainer.env_steps == loop.total_env_steps:
            yield trainer.evaluation()
        if trainer.is_probed:
            yield trainer.probe()
        yield Step(trainer.env_steps, partial(state_of, trainer))
    yield trainer.final()


def _diverged(name: str, values: np.ndarray) -> np.ndarray:
    """Which replicas' value is at fault, [R]: a sum must be finite; a number may be unknown (NaN), not infinite."""
    return ~np.isfinite(values) if name.startswith(SUM) else np.isinf(values)


class Trainer:
    """R replicas in the middle of a run."""

    def __init__(self, settings: AgentSettings, seeds: Sequence[int], device: torch.device, threads: int = 1):
        self.settings, self.device, self.replicas = settings, device, len(seeds)
        self.spec = spec_of(settings.env, settings.train.contact_cost)
        self.streams = streams(seeds, device)
        context = Context(
            self.replicas,
            self.spec.observation_dim,
            self.spec.action_dim,
            settings.backbone.discount,
            device,
            self.streams["init"],
        )
        self.backbone = build("backbone", settings.backbone, context)
        self.model = build("dynamics", settings.dynamics, context)
        self.weighting = build("weighting", settings.weighting, context)
        self.loss = build("loss", settings.loss, context)
        self.replay = Replay(
            self.replicas, settings.train.total_env_steps, self.spec.observation_dim, self.spec.action_dim, device
        )
        self.envs = Lockstep(self.spec, self.replicas, threads)
        self.eval_envs = Lockstep(self.spec, self.replicas * settings.train.eval_episodes, threads)
        self.fresh = Fresh(self.spec, self.replicas, settings.train, threads)
        self.observations = torch.zeros(self.replicas, self.spec.observation_dim)
        self.episode_seeds, self.episode_steps = [0] * self.replicas, np.zeros(self.replicas, dtype=np.int64)
        self.env_steps = self.rounds = 0
        self._check_needs()
        for replica in range(self.replicas):
            self._reset(replica)

    def _check_needs(self) -> None:
        """SettingsError, before the first step, if a part needs what the backbone does not have."""
        view = self.view()
        for part, settings in ((self.weighting, self.settings.weighting), (self.loss, self.settings.loss)):
            for need in sorted(part.needs):
                if getattr(view, need) is None:
                    raise SettingsError(f"{settings.name} needs a {need}; {self.settings.backbone.name} has none")

    def _reset(self, replica: int) -> None:
        stream = self.streams["env"]
        seed = int(torch.randint(2**31, (), generator=stream.generators[replica]))
        self.episode_seeds[replica] = seed
        self.observations[replica] = torch.as_tensor(self.envs.reset(replica, seed), dtype=torch.float32)
        self.replay.push_reset(replica, self.observations[replica].to(self.device, non_blocking=True))
        self.episode_steps[replica] = 0

    def step(self, explore: bool) -> None:
        """One environment step of every replica, into the replay."""
        stream = self.streams["policy"]
        if explore and self.settings.train.warmup_actions == "uniform":
            actions = 2.0 * stream.uniform(self.spec.action_dim) - 1.0
        else:
            actions = self.backbone.act(self.observations, stream)
        stepped, rewards, terminated, truncated = self.envs.step(actions.numpy(), range(self.replicas))
        self.episode_steps += 1
        truncated |= (self.episode_steps >= self.settings.train.episode_env_steps) & ~terminated
        next_obs = torch.as_tensor(stepped, dtype=torch.float32)
        if self.settings.train.time_limits == "terminal":
            terminated |= truncated
        row = rows_of(self.observations, actions, next_obs, rewards, terminated, truncated)
        self.replay.push(row.to(self.device, non_blocking=True), self.env_steps, self.rounds)
        self.observations = next_obs
        self.env_steps += 1
        for replica in np.flatnonzero(terminated | truncated):
            self._reset(int(replica))

    def improve(self) -> None:
        """The policy updates that are due."""
        since_warmup = self.env_steps - self.settings.train.warmup_env_steps
        self.backbone.improve(since_warmup, self.replay, self.streams["replay"])

    def round(self) -> Round:
        """One model round, where there is a model; reports what the last one led to."""
        numbers = self.fit_model() if self.backbone.uses_model else {}
        numbers |= {f"policy/{name}": value for name, value in self.backbone.report().items()}
        numbers["updates_per_env_step"] = self._updates_per_env_step()
        self.rounds += 1
        found = {name: value.double().cpu().numpy() for name, value in (numbers | self._sums()).items()}
        faults = {name.removeprefix(SUM): _diverged(name, values) for name, values in found.items()}
        where = {name: fault for name, fault in faults.items() if fault.any()}
        kept = {name: found[name] for name in numbers}
        if where:
            raise Diverged(self.env_steps, where, kept)
        return Round(self.env_steps, kept)

    def _sums(self) -> dict[str, Tensor]:
        """The sum of everything that must be finite, [R] each."""
        sac, model = self.backbone.sac, self.model
        parts = {"policy": sac.policy.parameters(), "critics": sac.critic.parameters(), "model": model.parameters()}
        parts |= {"temperature": [sac.log_temperature], "observations": [self.observations]}
        if self.backbone.uses_model:
            parts["model outputs"] = [self.backbone.model_buffer.all().data]
        return {
            SUM + name: sum(tensor.detach().reshape(self.replicas, -1).sum(1) for tensor in tensors)
            for name, tensors in parts.items()
        }

    def fit_model(self) -> dict[str, Tensor]:
        """Weighs the data, refits the model and branches new rollouts from it (Ma et al., 2023, Algorithm 1)."""
        view, stream = self.view(), self.streams["model"]
        numbers = {f"weighting/{name}": value for name, value in self.weighting.prepare(view).items()}
        weights = self.weighting.weights(view)
        numbers |= {f"weights/{name}": value for name, value in summary(weights, self.replay).items()}
        fitted = fit(self.model, self.replay.all(), weights, self.loss.columns(view), self.loss, stream)
        fitted |= model_errors(self.model, self.replay, weights, stream)
        numbers |= {f"model/{name}": value for name, value in fitted.items()}
        starts = self.weighting.rollout_weights(view)
        self.backbone.rollout(self.model, self.replay, self.spec, self.streams["rollout"], starts)
        return numbers

    def view(self) -> View:
        """What weightings and losses may look at."""
        return View(
            self.replay,
            self.backbone.sac.policy,
            self.backbone.sac.critic,
            self.env_steps,
            self.settings.train.warmup_env_steps,
            self.streams["weighting"],
            self.backbone.sac.target,
            self.backbone.burst_env_steps,
        )

    def _updates_per_env_step(self) -> Tensor:
        steps = max(1, self.env_steps - self.settings.train.warmup_env_steps)
        return torch.full((self.replicas,), self.backbone.updates / steps)

    def evaluation(self) -> Evaluation:
        """Deterministic episodes of the current policies."""
        seeds = self.streams["eval"].seeds(self.settings.train.eval_episodes)
        returns, lengths = evaluate(self.backbone.acting.policy, self.eval_envs, seeds)
        lost = ~np.isfinite(returns).all(1)
        if lost.any():
            raise Diverged(self.env_steps, {"returns": lost}, {"return": returns.mean(1)})
        return Evaluation(self.env_steps, returns, lengths)

    @property
    def is_probed(self) -> bool:
        """Whether the model is to be tried on fresh rows here; one that has never been fitted is not."""
        every = self.settings.train.probe_every_env_steps if self.backbone.uses_model else 0
        since_warmup = self.env_steps - self.settings.train.warmup_env_steps
        return every > 0 and since_warmup > 0 and since_warmup % every == 0

    def probe(self) -> Probe:
        """The errors of the model, as the last round left it, where the policy goes now."""
        rows = self.fresh.rows(self.backbone.acting.policy, self.streams["probe"]).to(self.device)
        errors = errors_on(self.model, self.replay.all().like(rows))
        return Probe(self.env_steps, {name: value.double().cpu().numpy() for name, value in errors.items()})

    def final(self) -> Final:
        """The policies as they are now."""
        policy = self.backbone.sac.policy.state_dict()
        return Final(self.env_steps, {name: value.cpu().numpy() for name, value in policy.items()})
