"""The settings of one agent on one environment, whole and checked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tom.settings import KINDS, settings_class
from tom.settings import train as train_settings
from tom.settings.fields import SettingsError, problems

WITHOUT_MODEL = {"weighting": "uniform", "loss": "nll"}  # what a backbone that fits no model is named with


@dataclass
class AgentSettings:
    """Everything that decides a run but its seed: the environment, the loop and one part of each kind."""

    env: str
    train: train_settings.Settings
    weighting: Any
    loss: Any
    dynamics: Any
    backbone: Any

    def problems(self) -> Iterator[str]:
        """One sentence per value that is out of range or contradicts another."""
        for key in ("train", *KINDS):
            yield from problems(getattr(self, key), key)
        uses_model = getattr(self.backbone, "uses_model", False)  # as in tom/backbones/base.py
        for key, only in {} if uses_model else WITHOUT_MODEL.items():
            if (name := getattr(self, key).name) != only:
                yield (
                    f"{key}={name} has no model to fit with backbone={self.backbone.name}; "
                    f"nearest valid choice: {key}={only}"
                )
        online = self.train.total_env_steps - self.train.offline_env_steps
        pool = getattr(self.weighting, "pool_env_steps", 0)  # of a weighting that has the newest rows for the policy's
        if self.train.offline_env_steps and pool >= online:
            yield (
                f"weighting.pool_env_steps={pool} of {online} steps after the offline ones: nothing would ever be "
                f"weighed; nearest valid value: {max(online // 2, 2)}"
            )
        for kind, verb in (("dynamics", "be fitted to"), ("backbone", "use a model of")):
            part = getattr(self, kind)
            losses = getattr(part, "losses", (self.loss.name,))  # one without the attribute takes any
            if self.loss.name not in losses:
                yield (
                    f"{kind}: {part.name} cannot {verb} loss={self.loss.name}; nearest valid choice: loss={losses[0]}"
                )
        yield from self._lacking()
        cause = getattr(self.loss, "leaves_variance", "")  # empty for a loss without the attribute
        if cause and not getattr(self.dynamics, "deterministic", False):
            yield (
                f"loss: {cause} leaves the variance of {self.dynamics.name} as it began, and rollouts sample it; "
                "nearest valid choice: dynamics=ensemble with dynamics.deterministic=true"
            )

    def _lacking(self) -> Iterator[str]:
        """What the backbone asks of the model, or the weighting of the backbone, that is not there."""
        price, members = getattr(self.backbone, "penalty", 0.0), getattr(self.dynamics, "members", 1)
        if price > 0.0 and members < 2:
            yield (
                f"backbone.penalty={price} asks how far the members of a model are apart, and {self.dynamics.name} has "
                f"{members}; nearest valid choice: dynamics=ensemble"
            )
        asked = getattr(self.weighting, "rows_of_policy", False)  # whether the newest rows stand for the policy
        if asked and getattr(self.backbone, "plan_probability", 0.0) == 1.0:
            yield (
                f"backbone.plan_probability=1 leaves no row to the policy, which weighting={self.weighting.name} asks "
                "for; nearest valid value: 0.5"
            )
        starts = getattr(self.weighting, "rollout_starts", "uniform")
        if starts != "uniform" and not hasattr(self.backbone, "rollout_starts"):
            yield (
                f"weighting.rollout_starts={starts}: backbone={self.backbone.name} has no rollouts to start; nearest "
                "valid choice: uniform"
            )


def agent_settings(config: Mapping[str, Any]) -> AgentSettings:
    """Settings from plain nested mappings, e.g. {"env": "hopper", "weighting": {"name": "tom", "clip": 5.0}, ...}.

    Keys that are absent take their default; SettingsError names every value that cannot be used.
    """
    parts = {kind: settings_class(kind, config[kind]["name"])(**config[kind]) for kind in KINDS}
    settings = AgentSettings(env=config["env"], train=train_settings.Settings(**config.get("train", {})), **parts)
    found = list(settings.problems())
    if found:
        raise SettingsError("; ".join(found))
    return settings
