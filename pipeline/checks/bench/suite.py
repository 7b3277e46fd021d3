"""The measurements of `make bench`: parts of a step, how its cost grows, hours of whole runs."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from pipeline.checks.bench.measure import Part, Timing, measure, measure_in_turn, step_ms
from pipeline.checks.bench.parts import agent, parts
from pipeline.config.compose import compose_cell

ENVS = ("hopper", "walker2d", "halfcheetah", "ant", "humanoid")
PROTOCOLS = ("paper", "janner")
METHODS = ("mbpo", "tom")
REPLAY_ROWS = 20_000
GROWN = (10_000, 300_000)  # replay rows between which the cost of a step must not grow
REPLICAS = (1, 2, 4, 8, 16)
EPOCHS = 10  # of 100 minibatches in a round of 250 env steps: 4 minibatches a step
QUICK = 3  # repeats where many things are measured

Said = Callable[[str], None]


def steps_in_parts(say: Said, device: str = "cpu") -> dict[str, list[dict[str, Any]]]:
    """The parts of an environment step of tom at the published sizes, on the smallest and the largest environment."""
    found = {}
    for env in ("hopper", "humanoid"):
        say(f"the parts of a step on {env}")
        made = agent(compose_cell("tom", env, "paper"), REPLAY_ROWS, device=device)
        found[env] = [asdict(measure(part)) for part in parts(made, EPOCHS)]
    return found


def growth_with_replay(say: Said, device: str) -> dict[str, float]:
    """Milliseconds of a step with few and with many stored rows, and their ratio."""
    say(f"replays of {GROWN[0]:,} and {GROWN[1]:,} rows")
    config = compose_cell("tom", "hopper", "paper")
    few, many = (parts(agent(config, rows, device=device), EPOCHS) for rows in GROWN)
    before, after = measure_in_turn(few, many)
    return {"rows": GROWN[0], "rows_grown": GROWN[1], "ms": before, "ms_grown": after, "ratio": after / before}


def growth_with_seeds(say: Said, device: str) -> list[dict[str, float]]:
    """Milliseconds of a step for each of R seeds that train together, and how many times a single one's that is."""
    config = compose_cell("tom", "hopper", "paper")
    each: list[float] = []
    for replicas in REPLICAS:
        say(f"{replicas} seeds together")
        made = agent(config, REPLAY_ROWS, tuple(range(replicas)), device)
        each.append(step_ms(measure(part, QUICK) for part in parts(made, EPOCHS)) / replicas)
    return [{"seeds": r, "ms_per_seed": ms, "ratio": ms / each[0]} for r, ms in zip(REPLICAS, each, strict=True)]


def hours_of_runs(say: Said, device: str) -> list[dict[str, Any]]:
    """Hours of a run of each method, environment and protocol, if no fit stops early and no evaluation ends early."""
    known: dict[tuple[Any, ...], Timing] = {}
    found = []
    for protocol in PROTOCOLS:
        for env in ENVS:
            say(f"hours on {env}, protocol {protocol}")
            for method in METHODS:
                config = compose_cell(method, env, protocol)
                timings = [_remembered(known, part, env) for part in parts(agent(config, REPLAY_ROWS, device=device))]
                steps = config["train"]["total_env_steps"]
                row = {"protocol": protocol, "env": env, "method": method, "env_steps": steps}
                found.append(row | {"ms_per_env_step": step_ms(timings), "hours": _hours(timings, steps)})
    return found


def hours(config: Mapping[str, Any], seeds: int = 1, device: str = "cpu") -> float:
    """Hours of one run with these settings on this core or GPU, at most: its share of so many seeds together."""
    made = agent(config, REPLAY_ROWS, tuple(range(seeds)), device)
    return _hours([measure(part, repeats=1) for part in parts(made)], config["train"]["total_env_steps"]) / seeds


def _hours(timings: list[Timing], env_steps: int) -> float:
    return sum(timing.ms * timing.per_env_step for timing in timings) * env_steps / 3.6e6


def _remembered(known: dict[tuple[Any, ...], Timing], part: Part, env: str) -> Timing:
    """A part that is the same in two methods or protocols is timed once."""
    counts = part.counts()
    key = (env, part.name, part.units, frozenset(counts.items()))
    if key not in known:
        known[key] = measure(part, 1, counts)
    return Timing(**{**asdict(known[key]), "per_env_step": part.per_env_step})
