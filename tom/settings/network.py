"""The settings of one network of agents, whole and checked: world and loop, the model of an agent, its weighting."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tom.settings import settings_class
from tom.settings.experiments.networked import AGENTS, HORIZONS, Settings
from tom.settings.fields import SettingsError, nearest, problems
from tom.settings.weightings.ratio import FALLBACK, OF_ROWS_ALONE


@dataclass
class NetworkSettings:
    """Everything that decides a run but its seed."""

    env: str
    train: Settings
    dynamics: Any
    weighting: Any

    def problems(self) -> Iterator[str]:
        """One sentence per value that is out of range or contradicts another."""
        for key in ("train", "dynamics", "weighting"):
            yield from problems(getattr(self, key), key)
        yield from self._uneven()
        yield from self._unweighed()
        kappa, most = self.train.kappa, AGENTS[self.env] - 1
        if kappa > most:
            yield f"train.kappa={kappa} is above the diameter of {self.env}; nearest valid value: {most}"
        if self.train.critic == "central" and kappa < most:
            yield (
                f"train.critic=central with train.kappa={kappa} sees more than it is asked for; "
                f"nearest valid choice: train.kappa={most}"
            )

    def _unweighed(self) -> Iterator[str]:
        """A weighting that cannot be asked here, or that would weigh nothing."""
        loop, weighting = self.train, self.weighting
        if weighting.name not in OF_ROWS_ALONE:
            yield (
                f"weighting={weighting.name} asks for more than rows and their age, such as the policy of the joint "
                f"state, and a neighbourhood is not closed; nearest valid choice: weighting={FALLBACK}"
            )
        if loop.model != "learned" and weighting.name != "uniform":
            yield (
                f"weighting={weighting.name} has no model to fit with train.model={loop.model}; nearest valid choice: "
                "weighting=uniform"
            )
        kept = min(loop.buffer_episodes * HORIZONS[self.env] or loop.total_env_steps, loop.total_env_steps)
        pool = getattr(weighting, "pool_env_steps", 0)
        if pool >= kept:
            yield (
                f"weighting.pool_env_steps={pool} of {kept} that are kept: there is nothing to tell the newest from; "
                f"nearest valid value: {max(kept // 2, 2)}"
            )

    def _uneven(self) -> Iterator[str]:
        """Lengths that are no whole number of rounds, in which so many episodes are collected side by side."""
        loop, horizon = self.train, HORIZONS[self.env]
        units = dict.fromkeys(("total_env_steps", "eval_every_env_steps"), loop.episodes * horizon)
        units |= {"warmup_episodes": loop.episodes} if loop.model == "learned" else {}
        for key, unit in units.items():
            value = getattr(loop, key)
            if value % unit:
                least = unit if key != "warmup_episodes" else 0
                close = max(least, round(value / unit) * unit)
                yield f"train.{key}={value} is no whole number of rounds of {unit}; nearest valid value: {close}"
        if loop.rollout_length > horizon:
            length = loop.rollout_length
            yield f"train.rollout_length={length} is longer than an episode; nearest valid value: {horizon}"
        warmup = loop.warmup_episodes * horizon
        if loop.model == "learned" and warmup >= loop.total_env_steps:
            yield (
                f"train.warmup_episodes={loop.warmup_episodes} leaves none of total_env_steps={loop.total_env_steps}; "
                "nearest valid value: 0"
            )


def network_settings(config: Mapping[str, Any]) -> NetworkSettings:
    """Settings from plain nested mappings; SettingsError names every value that cannot be used."""
    if config["env"] not in AGENTS:
        raise SettingsError(f"env={config['env']} is no network; {nearest(config['env'], AGENTS)}")
    parts = {kind: settings_class(kind, config[kind]["name"])(**config[kind]) for kind in ("dynamics", "weighting")}
    settings = NetworkSettings(config["env"], Settings(**config.get("train", {})), **parts)
    if found := list(settings.problems()):
        raise SettingsError("; ".join(found))
    return settings
