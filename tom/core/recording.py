"""Transitions in the order somebody made them: what a data set holds, and what an agent may begin with."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tom.core.arrays import checked
from tom.core.replay import Transitions, rows_of
from tom.settings.fields import SettingsError


@dataclass(frozen=True)
class Recording:
    """N transitions in the order they were made and the M states that episodes began in, float32."""

    obs: np.ndarray  # [N, O]
    action: np.ndarray  # [N, A], in [-1, 1]
    reward: np.ndarray  # [N]
    next_obs: np.ndarray  # [N, O]
    terminated: np.ndarray  # [N], 1 where the episode ended in a terminal state
    truncated: np.ndarray  # [N], 1 where a time limit cut it
    resets: np.ndarray  # [M, O]

    def __len__(self) -> int:
        return len(self.obs)

    @classmethod
    def checked(cls, **arrays: Any) -> "Recording":
        """The recording of arrays that can be learned from.

        SettingsError names the first that cannot be used, and its row: shapes, what is not finite, actions beyond
        [-1, 1], flags that are neither 0 nor 1, and an episode that breaks off though no flag says that it ended.
        """
        found = cls(**checked(arrays))
        broken = (found.next_obs[:-1] != found.obs[1:]).any(1) & ~found.ends[:-1]
        if broken.any():
            row = int(broken.argmax())
            raise SettingsError(
                f"next_obs[{row}] is not obs[{row + 1}] and no episode ends there; nearest valid choice: "
                f"truncated[{row}] = 1"
            )
        return found

    @property
    def ends(self) -> np.ndarray:
        """The rows that are the last of an episode, bool [N]."""
        return self.terminated + self.truncated > 0

    def part(self, first: int, last: int) -> "Recording":
        """The transitions first <= row < last, with all reset states."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "resets"]
        return dataclasses.replace(self, **{name: getattr(self, name)[first:last] for name in names})

    def last(self, count: int) -> "Recording":
        """The newest `count` transitions, with all reset states."""
        return self.part(len(self) - count, len(self))

    def closed(self) -> "Recording":
        """The same with its last episode cut where it was left, as if by a time limit: its value still follows."""
        truncated = self.truncated.copy()
        truncated[-1:] = np.maximum(truncated[-1:], 1.0 - self.terminated[-1:])
        return dataclasses.replace(self, truncated=truncated)

    @classmethod
    def of(cls, rows: Transitions, resets: Tensor) -> "Recording":
        """Rows [N, W] and reset states [M, O] as arrays of their own."""
        action = rows.obs_action[..., rows.observation_dim :]
        tensors = (rows.obs, action, rows.reward, rows.next_obs, rows.terminated, rows.truncated, resets)
        return cls(*(tensor.cpu().numpy().copy() for tensor in tensors))

    def rows(self, time_limits: str = "bootstrap") -> Tensor:
        """The transitions as rows [N, W] of a replay, the last one `closed`; with `terminal` a time limit is an end."""
        terminated = np.maximum(self.terminated, self.truncated) if time_limits == "terminal" else self.terminated
        obs, action, next_obs = (torch.from_numpy(each) for each in (self.obs, self.action, self.next_obs))
        return rows_of(obs, action, next_obs, self.reward, terminated, self.closed().truncated)
