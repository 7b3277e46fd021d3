"""The settings of one experiment on a family of tasks, whole and checked: the family, PACOH-RL's, and the arms."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tom.settings import settings_class
from tom.settings.experiments.pacoh import ARMS, Adaptation, Control, Network, Prior, Tasks
from tom.settings.fields import SettingsError, nearest, problems
from tom.settings.weightings.ratio import FALLBACK, OF_ROWS_ALONE


@dataclass
class MetaSettings:
    """Everything that decides a run but its seed: family, the sections above, and what each pooled arm weighs by."""

    family: Any
    tasks: Tasks
    network: Network
    prior: Prior
    adaptation: Adaptation
    control: Control
    arms: tuple[str, ...]
    weightings: Mapping[str, Any]  # by arm; those without one have a prior

    SECTIONS: ClassVar[dict[str, Any]] = {
        "tasks": Tasks,
        "network": Network,
        "prior": Prior,
        "adaptation": Adaptation,
        "control": Control,
    }

    def problems(self) -> Iterator[str]:
        """One sentence per value that is out of range or contradicts another."""
        for key in ("family", *self.SECTIONS):
            yield from problems(getattr(self, key), key)
        for arm in (arm for arm in self.arms if arm not in ARMS):
            yield f"arms={arm} does not exist; {nearest(arm, ARMS)}"
        for arm, weighting in self.weightings.items():
            yield from problems(weighting, f"{arm}.weighting")
            if weighting.name not in OF_ROWS_ALONE:
                yield (
                    f"{arm}.weighting.name={weighting.name} asks for more than rows and their age, such as a policy, "
                    f"and a planner acts here; nearest valid choice: {FALLBACK}"
                )
        if self.control.optimism > 0.0 and self.adaptation.particles == 1:
            yield (
                f"control.optimism={self.control.optimism} with adaptation.particles=1 has no uncertainty to plan "
                "with; nearest valid choice: optimism=0"
            )
        if self.prior.tasks_per_step > self.tasks.train_tasks:
            yield (
                f"prior.tasks_per_step={self.prior.tasks_per_step} is more than tasks.train_tasks="
                f"{self.tasks.train_tasks}; nearest valid value: {self.tasks.train_tasks}"
            )
        if self.adaptation.particles % self.prior.hyper_particles:
            close = -(-self.adaptation.particles // self.prior.hyper_particles) * self.prior.hyper_particles
            yield (
                f"adaptation.particles={self.adaptation.particles} cannot be shared out among prior.hyper_particles="
                f"{self.prior.hyper_particles}; nearest valid value: {close}"
            )


def families() -> list[str]:
    """The names of the families of tasks, alphabetically."""
    package = importlib.import_module("tom.settings.families")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def family_settings(name: str) -> Any:
    """The settings class of a family; ModuleNotFoundError if there is no such one."""
    return importlib.import_module(f"tom.settings.families.{name}").Settings


def meta_settings(config: Mapping[str, Any]) -> MetaSettings:
    """Settings from plain nested mappings: `family` with its name, the sections, `arms`, and `weightings` by arm.

    Keys that are absent take their default; SettingsError names every value that cannot be used.
    """
    family = config["family"]["name"]
    if family not in families():
        raise SettingsError(f"family={family} does not exist; {nearest(family, families())}")
    settings = MetaSettings(
        family=family_settings(family)(**config["family"]),
        arms=tuple(config["arms"]),
        weightings={
            arm: settings_class("weighting", values["name"])(**values) for arm, values in config["weightings"].items()
        },
        **{key: kind(**config.get(key, {})) for key, kind in MetaSettings.SECTIONS.items()},
    )
    found = list(settings.problems())
    if found:
        raise SettingsError("; ".join(found))
    return settings
