"""What `road` in params.yaml and the method entries say, resolved and checked."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from pipeline.config.like import DEFAULT_PARTS
from pipeline.config.params import GORGE, Params, at
from pipeline.config.refusals import Section
from tom.settings import settings_class
from tom.settings.agent import AgentSettings, agent_settings
from tom.settings.experiments.road_and_rocks import Offline, World
from tom.settings.fields import SettingsError, problems

PARTS = {"dynamics": "linear", "backbone": "mbpo"}  # of every method here: the paper's Figure 2 has a linear model
FOOTPRINT = "pool_env_steps"  # of a weighting that looks at the policy's own rows: here as many as an expert left


@dataclass(frozen=True)
class Job:
    """One method at one strength of the rocks, all seeds at once."""

    method: str
    world: World
    offline: Offline
    agent: AgentSettings
    seeds: tuple[int, ...]


def jobs(params: Params) -> list[Job]:
    """Every method at the world's own strength, then those compared at the others; SettingsError for a fault."""
    section = checked(params)
    methods, own = section["methods"], world_of(params).strength
    others = [strength for strength in map(float, section["strengths"]) if strength != own]
    return jobs_of(params, [*product([own], methods), *product(others, section["compared"])])


def gorge_jobs(params: Params) -> list[Job]:
    """Every method in the second world, which is the first but for what `road.gorge` changes; SettingsError."""
    section, world = checked(params), world_of(params, GORGE)
    if world.far_pay <= 0.0:
        raise SettingsError(f"params.yaml: road.gorge.world.far_pay={world.far_pay} is no gorge; valid example: 8.0")
    return jobs_of(params, [*product([world.strength], section["methods"])], GORGE)


def jobs_of(params: Params, pairs: Sequence[tuple[float, str]], *changes: str) -> list[Job]:
    """The methods, each at a strength of the rocks, with the changes by name; SettingsError for a fault."""
    seeds, world = tuple(checked(params)["seeds"]), world_of(params, *changes)
    data, where = Offline(**merged(params, "offline", *changes)), ".".join(("road", *changes))
    found = [*problems(world, f"{where}.world"), *problems(data, f"{where}.offline")]
    if found:
        raise SettingsError(f"params.yaml: {'; '.join(found)}")
    agents = {method: agent_of(params, method, data) for _, method in pairs}
    return [
        Job(method, dataclasses.replace(world, strength=strength), data, agents[method], seeds)
        for strength, method in pairs
    ]


def checked(params: Params) -> Section:
    """The section `road`, if it has every list; else SettingsError."""
    for key in ("methods", "seeds", "compared", "strengths"):
        if key not in params.road:
            raise SettingsError(f"params.yaml: road.{key} is missing; write it as a list")
    return params.road


def world_of(params: Params, *changes: str) -> World:
    """The world of the figure, or with changes another one."""
    return World(**merged(params, "world", *changes))


def merged(params: Params, part: str, *changes: str) -> dict[str, Any]:
    """What `road` sets of a part, and above it what each of the changes, by its name in `road`, does."""
    values = at(params.road, part)
    for name in changes:
        values |= at(params.road, name, part)
    return values


def agent_of(params: Params, method: str, data: Offline) -> AgentSettings:
    """The method's weighting and loss with a linear model inside MBPO; what `road` says, then what the method says."""
    if (backbone := params.part(method, "backbone")) != DEFAULT_PARTS["backbone"]:
        raise SettingsError(f"params.yaml: road.methods: {method} has no model to learn in (backbone {backbone})")
    config: dict[str, Any] = {"env": "road_and_rocks"}
    for kind in ("weighting", "loss", "dynamics", "backbone"):
        name = PARTS.get(kind) or params.part(method, kind)
        fields = {field.name for field in dataclasses.fields(settings_class(kind, name))}
        here = at(params.road, kind, name)
        if FOOTPRINT in here:
            raise SettingsError(
                f"params.yaml: road.{kind}.{name}.{FOOTPRINT} is that of the data; "
                "nearest valid choice: road.offline.expert_transitions"
            )
        own = {key: value for key, value in params.own(method, kind).items() if key in fields}  # of another model too
        config[kind] = {"name": name, **here, **own}
        if FOOTPRINT in fields:
            config[kind][FOOTPRINT] = data.expert_transitions
    try:
        agent = agent_settings(config)
    except SettingsError as error:
        raise SettingsError(f"params.yaml: road with method {method}: {error}") from None
    updates, burst = data.updates_per_round, agent.backbone.updates_per_burst
    if rest := updates % burst:
        raise SettingsError(
            f"params.yaml: road.offline.updates_per_round={updates} is not a multiple of updates_per_burst={burst}; "
            f"nearest valid value: {updates + burst - rest}"
        )
    return agent
