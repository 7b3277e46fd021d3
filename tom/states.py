"""Everything a run needs to go on as if nothing had happened, as tensors and plain numbers.

A tensor with axes has a row, or several, for each of the R replicas; whatever else is there is true of all of them. So
the states of replicas that trained together can be taken apart, and those of replicas that did not be put together.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:  # the loop offers its state
    from tom.train import Trainer

PARTS = ("replay", "backbone", "model", "weighting")  # a loss keeps nothing from round to round


def state_of(trainer: "Trainer") -> dict[str, Any]:
    """The state between two environment steps; its tensors are those in use, so it is to be saved before the next."""
    optimizer = getattr(trainer.model, "optimizer", None)
    return {
        "env_steps": trainer.env_steps,
        "rounds": trainer.rounds,
        "episode_steps": torch.tensor(trainer.episode_steps),
        "episode_seeds": torch.tensor(trainer.episode_seeds),
        "observations": trainer.observations,
        "streams": {purpose: stream.state_dict() for purpose, stream in trainer.streams.items()},
        "model_optimizer": None if optimizer is None else optimizer.state_dict(),
        **{part: getattr(trainer, part).state_dict() for part in PARTS},
    }


def is_finite(state: Any) -> bool:
    """Whether every number in the nested state is."""
    if isinstance(state, torch.Tensor):
        return bool(state.isfinite().all())
    if isinstance(state, dict):
        return all(map(is_finite, state.values()))
    return all(map(is_finite, state)) if isinstance(state, list | tuple) else True


def split(state: Any, replicas: int) -> list[Any]:
    """The state of each replica, as if it had been alone; shares no memory with the state unless there is just one."""
    if replicas == 1:
        return [state]
    if isinstance(state, torch.Tensor) and state.dim():
        return [part.clone() for part in state.chunk(replicas)]
    if isinstance(state, dict):
        parts = {key: split(value, replicas) for key, value in state.items()}
        return [{key: part[replica] for key, part in parts.items()} for replica in range(replicas)]
    return [state] * replicas


def join(states: Sequence[Any]) -> Any:
    """The state of replicas side by side; ValueError if they have not come equally far."""
    first = states[0]
    if len(states) == 1:
        return first
    if isinstance(first, torch.Tensor) and first.dim():
        return torch.cat(list(states))
    if isinstance(first, dict):
        if any(state.keys() != first.keys() for state in states):
            raise ValueError("the states of the replicas do not have the same parts")
        return {key: join([state[key] for state in states]) for key in first}
    if any(state != first for state in states):
        raise ValueError(f"the replicas have not come equally far: {', '.join(map(str, states))}")
    return first


def restore(trainer: "Trainer", state: dict[str, Any]) -> None:
    """Puts a fresh trainer where `state_of` was taken; RuntimeError if the simulator does not repeat the episode.

    The state is used up: what the trainer does next changes its tensors.
    """
    trainer.env_steps, trainer.rounds = state["env_steps"], state["rounds"]
    trainer.episode_steps = state["episode_steps"].numpy()
    trainer.episode_seeds = state["episode_seeds"].tolist()
    for purpose, stream in state["streams"].items():  # one that was not there then has drawn nothing
        trainer.streams[purpose].load_state_dict(stream)
    for part in PARTS:
        getattr(trainer, part).load_state_dict(state[part])
    if state["model_optimizer"] is not None:
        trainer.model.optimizer.load_state_dict(state["model_optimizer"])
    for replica, (seed, steps) in enumerate(zip(trainer.episode_seeds, trainer.episode_steps, strict=True)):
        actions = trainer.replay.actions_since(replica, int(steps)).cpu().numpy()
        observation = trainer.envs.replay(replica, seed, actions)
        trainer.observations[replica] = torch.as_tensor(observation, dtype=torch.float32)
    if not torch.equal(trainer.observations.cpu(), state["observations"].cpu()):
        raise RuntimeError(
            "the simulator does not repeat the episode that was saved; nearest valid choice: resume=false"
        )
