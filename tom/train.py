"""Training with the world at hand: a loop that yields records, and the agent that it steps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tom.agent import Agent
from tom.contract import check_data, check_weights
from tom.core.finite import Diverged, check_finite
from tom.core.recording import Recording
from tom.core.replay import Replay
from tom.core.streams import streams
from tom.dynamics.diagnostics import errors_on, model_errors
from tom.envs import spec_of
from tom.envs.episodes import Episodes, uniform_actions
from tom.envs.simulator import Lockstep
from tom.evaluate import evaluate
from tom.fresh import Fresh
from tom.settings.agent import AgentSettings
from tom.states import tensors

PARTS = ("replay", "backbone", "model", "weighting")  # a loss keeps nothing from round to round


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns and lengths of deterministic episodes, [R, episodes]."""

    env_steps: int
    returns: np.ndarray
    lengths: np.ndarray


@dataclass(frozen=True)
class Planned:
    """The same episodes as the last evaluation's, played by the policy's planner, [R, episodes]."""

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


Record = Evaluation | Planned | Probe | Round | Step | Final


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
    data: Sequence[Recording] = (),
) -> Iterator[Record]:
    """Trains R = len(seeds) independent replicas of one agent; each depends on its own seed alone.

    The clock is the environment step. With the state of an earlier Step, which is used up, it goes on from there: the
    records are those that would have followed. With `until` it ends after that env step, where the run would have gone
    on: what it yields up to there, but for Final, is the same. Environments are stepped in so many threads.
    The first `offline_env_steps` of the clock are taken on `data` alone, a recording for each seed: rounds and updates
    as they are due, no step of the environment. SettingsError if a part needs what the backbone does not have, or the
    data are not what the settings ask for; Diverged.
    """
    torch.set_flush_denormal(True)  # products with denormal numbers are several times slower on a CPU
    trainer, loop = Trainer(settings, seeds, pick_device(device), threads, data), settings.train
    end = loop.total_env_steps if until is None else min(until, loop.total_env_steps)
    if state is None:
        yield trainer.evaluation()
    else:
        trainer.load_state_dict(state)
    while trainer.env_steps < end:
        if trainer.since_warmup >= 0 and trainer.since_warmup % loop.round_env_steps == 0:
            yield trainer.round()
        trainer.step(explore=trainer.since_warmup < 0)
        trainer.improve()
        if trainer.env_steps % loop.eval_every_env_steps == 0 or trainer.env_steps == loop.total_env_steps:
            yield trainer.evaluation()
        if trainer.env_steps == loop.total_env_steps:
            yield from trainer.planned()
        if trainer.is_probed:
            yield trainer.probe()
        yield Step(trainer.env_steps, trainer.state_dict)
    yield trainer.final()


class Trainer(Agent):
    """R replicas in the middle of a run: an agent that collects its data as it goes."""

    def __init__(
        self,
        settings: AgentSettings,
        seeds: Sequence[int],
        device: torch.device,
        threads: int = 1,
        data: Sequence[Recording] = (),
    ):
        loop, replicas = settings.train, len(seeds)
        self.spec = spec = spec_of(settings.env, loop.contact_cost)
        check_data(settings, spec, data, replicas)
        room = loop.total_env_steps - loop.offline_env_steps + sum(map(len, data[:1]))
        replay = Replay(replicas, room, spec.observation_dim, spec.action_dim, device)
        if data:
            rows = torch.stack([each.rows(loop.time_limits) for each in data])
            replay.preload(rows, [torch.from_numpy(each.resets) for each in data])
        super().__init__(settings, spec, replay, streams(seeds, device))
        self.warmup_env_steps = max(loop.warmup_env_steps, loop.offline_env_steps)  # no row before is the policy's
        self.burst_env_steps = self.backbone.burst_env_steps
        self.episodes = Episodes(spec, loop, replay, self.streams["env"], threads)
        self.eval_envs = Lockstep(spec, replicas * loop.eval_episodes, threads)
        self.fresh = Fresh(spec, replicas, loop, threads)
        self.rounds = self.checked = 0  # model rounds, and rows that were looked at in them

    @property
    def since_warmup(self) -> int:
        """Environment steps since learning began, offline ones too; negative within the warm-up."""
        return self.env_steps - self.settings.train.warmup_env_steps

    def step(self, explore: bool) -> None:
        """One environment step of every replica, into the replay; while they learn offline nobody takes it."""
        if self.env_steps < self.settings.train.offline_env_steps:
            self.replay.skip()
            return
        stream = self.streams["policy"]
        if explore and self.settings.train.warmup_actions == "uniform":
            actions = uniform_actions(stream, self.spec.action_dim)
        else:
            actions = self.backbone.act(self.episodes.observations, stream)
        self.episodes.step(actions, self.rounds)

    def improve(self) -> None:
        """The policy updates that are due."""
        self.improve_policy(self.backbone.updates_per_env_step * self.since_warmup)

    def round(self) -> Round:
        """One model round, where there is a model; reports what the last one led to.

        Diverged for numbers that are not finite; SettingsError for a part that does not keep its contract.
        """
        numbers, moments = dict[str, Tensor](), dict[str, Tensor]()
        if self.backbone.uses_model:
            weights, numbers, moments = self.fit_model()
            errors = model_errors(self.model, self.replay, weights, self.streams["model"])
            numbers |= {f"model/{name}": value for name, value in errors.items()}
        numbers |= {f"policy/{name}": value for name, value in self.backbone.report().items()}
        updates_per_env_step = self.backbone.updates / max(1, self.since_warmup)
        numbers["updates_per_env_step"] = torch.full((self.replicas,), updates_per_env_step)
        self.rounds += 1
        found, sums, given = (on_host(part) for part in (numbers, self._sums(), moments))
        weights_sums = {f"{name} of {self.weigher}": of_rows[:, 1] for name, of_rows in given.items()}
        check_finite(self.env_steps, found, sums | weights_sums)
        check_weights(self.weigher, given)
        return Round(self.env_steps, found)

    def _sums(self) -> dict[str, Tensor]:
        """Sums of all that must be finite, [R] each: they reach the host with a round's numbers."""
        rows = self.replay.all()
        new, self.checked = rows.like(rows.data[:, self.checked :]), self.replay.added
        parts = self.backbone.tensors() | {"model": self.model.parameters()}
        parts |= {"weighting": list(tensors(self.weighting.state_dict()))}
        parts |= {"observations": [self.episodes.observations], "next observations": [new.next_obs]}
        parts |= {f"rewards of env={self.settings.env}": [new.reward]}
        return {
            name: torch.stack([each.detach().reshape(self.replicas, -1).sum(1) for each in found]).sum(0)
            for name, found in parts.items()
            if found
        }

    def evaluation(self) -> Evaluation:
        """Deterministic episodes of the current policies; Diverged if a return is not finite."""
        self.eval_seeds = seeds = self.streams["eval"].seeds(self.settings.train.eval_episodes)
        returns, lengths = evaluate(self.backbone.acting.policy, self.eval_envs, seeds)
        lost = ~np.isfinite(returns).all(1)
        if lost.any():
            raise Diverged(self.env_steps, {"returns": lost}, {"return": returns.mean(1)})
        return Evaluation(self.env_steps, returns, lengths)

    def planned(self) -> Iterator[Planned]:
        """The last evaluation's episodes again as the backbone's planner plays them; nothing where it has none."""
        planning = self.backbone.planning(self.streams["eval"].fork())
        if planning is not None:
            yield Planned(self.env_steps, *evaluate(planning, self.eval_envs, self.eval_seeds))

    @property
    def is_probed(self) -> bool:
        """Whether the model is to be tried on fresh rows here; one that has never been fitted is not."""
        every = self.settings.train.probe_every_env_steps if self.backbone.uses_model else 0
        return every > 0 and self.since_warmup > 0 and self.since_warmup % every == 0

    def probe(self) -> Probe:
        """The errors of the model, as the last round left it, where the policy goes now."""
        rows = self.fresh.rows(self.backbone.acting.policy, self.streams["probe"]).to(self.device)
        return Probe(self.env_steps, on_host(errors_on(self.model, self.replay.all().like(rows))))

    def final(self) -> Final:
        """The policies as they are now."""
        policy = self.backbone.policy.state_dict()
        return Final(self.env_steps, {name: value.cpu().numpy() for name, value in policy.items()})

    def state_dict(self) -> dict[str, Any]:
        """The state between two environment steps; its tensors are those in use, so it is to be saved before the next.

        So a run goes on as if nothing had happened. What is in it of tensors and numbers: tom/states.py.
        """
        optimizer = self.model.optimizer
        return {
            "env_steps": self.env_steps,
            "rounds": self.rounds,
            **self.episodes.state_dict(),
            "streams": {purpose: stream.state_dict() for purpose, stream in self.streams.items()},
            "model_optimizer": None if optimizer is None else optimizer.state_dict(),
            **{part: getattr(self, part).state_dict() for part in PARTS},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts a fresh trainer where `state_dict` was taken; RuntimeError if the simulator does not repeat an episode.

        The state is used up: what the trainer does next changes its tensors.
        """
        self.rounds = state["rounds"]
        for purpose, stream in state["streams"].items():  # one that was not there then has drawn nothing
            self.streams[purpose].load_state_dict(stream)
        for part in PARTS:
            getattr(self, part).load_state_dict(state[part])
        if state["model_optimizer"] is not None:
            self.model.optimizer.load_state_dict(state["model_optimizer"])
        self.episodes.load_state_dict(state)


def on_host(numbers: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Numbers [R] in double precision, off the device."""
    return {name: value.double().cpu().numpy() for name, value in numbers.items()}
