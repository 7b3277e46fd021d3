"""Everything a run needs to go on as if nothing had happened, as tensors and plain numbers."""

from typing import TYPE_CHECKING, Any

import numpy as np
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
        "episode_steps": trainer.episode_steps.tolist(),
        "episode_seeds": list(trainer.episode_seeds),
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


def restore(trainer: "Trainer", state: dict[str, Any]) -> None:
    """Puts a fresh trainer where `state_of` was taken; RuntimeError if the simulator does not repeat the episode.

    The state is used up: what the trainer does next changes its tensors.
    """
    trainer.env_steps, trainer.rounds = state["env_steps"], state["rounds"]
    trainer.episode_steps = np.array(state["episode_steps"], dtype=np.int64)
    trainer.episode_seeds = list(state["episode_seeds"])
    for purpose, stream in trainer.streams.items():
        stream.load_state_dict(state["streams"][purpose])
    for part in PARTS:
        getattr(trainer, part).load_state_dict(state[part])
    if state["model_optimizer"] is not None:
        trainer.model.optimizer.load_state_dict(state["model_optimizer"])
    for replica, (seed, steps) in enumerate(zip(trainer.episode_seeds, state["episode_steps"], strict=True)):
        actions = trainer.replay.actions_since(replica, steps).cpu().numpy()
        observation = trainer.envs.replay(replica, seed, actions)
        trainer.observations[replica] = torch.as_tensor(observation, dtype=torch.float32)
    if not torch.equal(trainer.observations.cpu(), state["observations"].cpu()):
        raise RuntimeError(
            "the simulator does not repeat the episode that was saved; nearest valid choice: resume=false"
        )
