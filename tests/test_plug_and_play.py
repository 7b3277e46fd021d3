"""TOM's weights on somebody else's replay: plain arrays and a policy of their own, nothing of the pipeline."""

import numpy as np
import torch
from torch import Tensor, nn

from tom.core.context import Context, View
from tom.core.replay import Replay
from tom.core.streams import streams
from tom.settings.weightings.tom import Settings
from tom.weightings.tom import TransitionOccupancyMatching

OBS, ACT, ROWS, OWN = 3, 1, 2_000, 400


class TheirPolicy(nn.Module):
    """Steers against the sum of the state; all that TOM asks of a policy is `samples`."""

    def samples(self, obs: Tensor, noise: Tensor) -> Tensor:
        """obs [R, B, O], standard normal noise [R, K, B, A] -> K actions per observation in (-1, 1), [R, K, B, A]."""
        return torch.tanh(-2.0 * obs.sum(-1, keepdim=True)[:, None] + 0.1 * noise)


def their_arrays() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Rows of the policy at both ends of the buffer, uniform actions in between; also which rows are the policy's."""
    draws = np.random.default_rng(0)
    obs, own = draws.normal(size=(ROWS, OBS)), np.ones(ROWS, dtype=bool)
    own[OWN:-OWN] = False
    steered = np.tanh(-2.0 * obs.sum(-1, keepdims=True) + 0.1 * draws.normal(size=(ROWS, ACT)))
    action = np.where(own[:, None], steered, draws.uniform(-1.0, 1.0, (ROWS, ACT)))
    arrays = {"obs": obs, "action": action, "next_obs": 0.5 * obs + 0.5 * action, "reward": np.zeros(ROWS)}
    return arrays | {"terminated": draws.random(ROWS) < 0.02, "resets": draws.normal(size=(50, OBS))}, own


def test_weights_of_somebody_else_s_replay() -> None:
    arrays, own = their_arrays()
    replay, draws = Replay.from_arrays(**arrays), streams([0], torch.device("cpu"))
    context = Context(1, OBS, ACT, 0.9, replay.data.device, draws["init"])
    settings = Settings(pool_env_steps=OWN, discriminator_hidden=64, q_hidden=64, q_updates=300)
    tom = TransitionOccupancyMatching(settings, context)
    view = View(replay, TheirPolicy(), None, env_step=ROWS, warmup_env_steps=0, stream=draws["weighting"])
    tom.prepare(view)
    weights = tom.weights(view)
    assert weights.shape == (1, ROWS)
    assert float(weights.min()) >= 0.0
    torch.testing.assert_close(weights.mean(-1), torch.ones(1))
    newest, oldest, others = weights[0, -OWN:], weights[0, :OWN], weights[0, ~torch.as_tensor(own)]
    assert float(newest.mean()) > 1.5 * float(others.mean())
    assert float(oldest.mean()) > 1.5 * float(others.mean())  # by what they are, not by how new


def test_a_replay_from_arrays_holds_them() -> None:
    arrays, _ = their_arrays()
    truncated = np.arange(ROWS) % 100 == 99
    replay = Replay.from_arrays(**arrays, truncated=truncated)
    rows = replay.all()
    for name, values in (arrays | {"truncated": truncated}).items():
        if name not in ("action", "resets"):
            np.testing.assert_array_equal(getattr(rows, name)[0].numpy(), values.astype(np.float32))
    np.testing.assert_array_equal(rows.obs_action[0, :, OBS:].numpy(), arrays["action"].astype(np.float32))
    np.testing.assert_array_equal(replay.resets[0, :50].numpy(), arrays["resets"].astype(np.float32))
    assert len(replay) == ROWS and replay.resets_kept() == [50]
    assert replay.env_step.tolist() == list(range(ROWS))
