"""A weighting's weights on a buffer whose order is known, fully offline (Ma et al., 2023, Figure 4).

The buffer: random transitions, as many of SAC's replay in the order they were made, and last a footprint, fresh
transitions of the final policy. That policy is the policy of interest, and the footprint stands for it where a
weighting looks at "the newest transitions". What is asked for is the mean weight of each chunk of the first two parts.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tom.contract import check_weighting, check_weights, moments
from tom.core.context import Context, View, build
from tom.core.networks import Policy
from tom.core.recording import Recording
from tom.core.replay import Replay
from tom.core.streams import Stream, streams
from tom.envs import spec_of
from tom.envs.episodes import Episodes, uniform_actions
from tom.settings.agent import AgentSettings
from tom.settings.fields import SettingsError
from tom.weightings.base import summary

CHUNKS = 20  # bars of the figure, half of them for each part (paper: one per 0.1 M of 2 M transitions)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Weigher:
    """What decides the weights beside the data: the weighting, the discount, and whether a time limit is an end."""

    weighting: Any
    discount: float
    time_limits: str = "bootstrap"

    @property
    def footprint_env_steps(self) -> int:
        """How many transitions of the policy of interest the weighting looks at; 0 if it looks at none."""
        return int(getattr(self.weighting, "pool_env_steps", 0))


def seed_for(purpose: int, seed: int) -> int:
    """A seed of its own for the random part (1), the footprint (2) and the weights (3) of each seed."""
    return int(np.random.SeedSequence([seed, purpose]).generate_state(1)[0])


def random_transitions(settings: AgentSettings, seed: int) -> Recording:
    """`total_env_steps` transitions of uniform actions, with episodes as in training."""
    draws, env_steps = streams([seed_for(1, seed)], CPU), settings.train.total_env_steps
    episodes = _episodes(settings, draws["env"], env_steps)
    size = episodes.replay.action_dim
    return _recorded(episodes, env_steps, lambda _: uniform_actions(draws["policy"], size))


def footprint(
    settings: AgentSettings, parameters: Mapping[str, np.ndarray], seed: int, env_steps: int
) -> tuple[Recording, Policy]:
    """`env_steps` transitions of the stochastic policy with these parameters, episodes as in training; the policy."""
    draws, discount = streams([seed_for(2, seed)], CPU), settings.backbone.discount
    episodes = _episodes(settings, draws["env"], env_steps)
    sizes = episodes.replay.observation_dim, episodes.replay.action_dim
    backbone = build("backbone", settings.backbone, Context(1, *sizes, discount, CPU, draws["init"]))
    backbone.policy.load_state_dict({name: torch.as_tensor(value)[None] for name, value in parameters.items()})
    trail = _recorded(episodes, env_steps, lambda obs: backbone.act(obs, draws["policy"]))
    return trail, backbone.policy


def curated(parts: Sequence[Recording], time_limits: str = "bootstrap") -> Replay:
    """The replay that holds the parts one after the other; with `terminal`, a cut episode counts as an ended one."""

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    names = [field.name for field in dataclasses.fields(Recording)]
    arrays = {name: joined(name) for name in names}
    if time_limits == "terminal":
        arrays["terminated"] = np.maximum(arrays["terminated"], arrays["truncated"])
    return Replay.from_arrays(**arrays)


def offline_weights(weigher: Weigher, replay: Replay, policy: Any, seed: int) -> tuple[Tensor, dict[str, float]]:
    """The weights [N] of a replay's rows for a policy, the oldest row's first, and what the weighting reports of them.

    SettingsError, before any compute, if the weighting needs a critic, or the replay holds less than it works with.
    """
    return next(offline_rounds(weigher, replay, policy, seed))


def offline_rounds(
    weigher: Weigher, replay: Replay, policy: Any, seed: int
) -> Iterator[tuple[Tensor, dict[str, float]]]:
    """What `offline_weights` gives, round after round of one weighting on the same data.

    Rounds may differ in what the weighting keeps of the ones before, and in what it draws.
    """
    refuse(weigher, len(replay))
    draws = streams([seed_for(3, seed)], CPU)
    sizes = replay.observation_dim, replay.action_dim
    weighting = build("weighting", weigher.weighting, Context(1, *sizes, weigher.discount, CPU, draws["init"]))
    if weighting.needs:
        raise SettingsError(f"{weigher.weighting.name} needs a {min(weighting.needs)}; a stored buffer has none")
    view = View(replay, policy, None, env_step=len(replay), warmup_env_steps=0, stream=draws["weighting"])
    whose = f"weighting={weigher.weighting.name}"
    while True:
        numbers = {name: float(value) for name, value in weighting.prepare(view).items()}
        weights = weighting.weights(view)
        check_weighting(whose, {}, weights, replay)
        check_weights(whose, moments({"weights": weights}))
        numbers["ess"] = float(summary(weights, replay)["ess"])
        yield weights[0, replay.by_age()], numbers


def refuse(weigher: Weigher, rows: int) -> None:
    """SettingsError with one sentence if a buffer of so many transitions holds less than the weighting works with."""
    pool = weigher.footprint_env_steps
    if pool and rows <= pool:
        raise SettingsError(
            f"weighting.pool_env_steps={pool} leaves none of the {rows} stored transitions to compare with; "
            f"nearest valid value: {max(rows // 2, 2)}"
        )
    for name in (field.name for field in dataclasses.fields(weigher.weighting) if field.name.endswith("_batch")):
        if getattr(weigher.weighting, name) > rows:
            raise SettingsError(
                f"weighting.{name}={getattr(weigher.weighting, name)} is more than the {rows} stored transitions; "
                f"nearest valid value: {rows}"
            )


def chunk_means(weights: Tensor, lengths: Sequence[int], chunks: int = CHUNKS) -> list[list[float]]:
    """Mean weights of `chunks` chunks over parts of these lengths, as many in each part: [parts][chunks / parts].

    weights [N] begin with the parts, the oldest first; SettingsError for a part with fewer transitions than chunks.
    """
    each = chunks // len(lengths)
    if min(lengths) < each:
        raise SettingsError(f"a part of {min(lengths)} transitions cannot be cut into {each} chunks")
    parts = weights[: sum(lengths)].double().split(list(lengths))
    return [[float(chunk.mean()) for chunk in torch.tensor_split(part, each)] for part in parts]


def _episodes(settings: AgentSettings, stream: Stream, env_steps: int) -> Episodes:
    """Episodes as in training, with room for so many steps."""
    spec = spec_of(settings.env, settings.train.contact_cost)
    replay = Replay(1, max(env_steps, 1), spec.observation_dim, spec.action_dim, CPU)
    return Episodes(spec, settings.train, replay, stream)


def _recorded(episodes: Episodes, env_steps: int, act: Callable[[Tensor], Tensor]) -> Recording:
    """What `env_steps` steps by the actions act(obs [1, O]), [1, A], lead to."""
    for _ in range(env_steps):
        episodes.step(act(episodes.observations))
    replay = episodes.replay
    rows = replay.all()
    return Recording.of(rows.like(rows.data[0]), replay.resets[0, : replay.resets_kept()[0]])
