"""What every dynamics model offers: a conditional density of (reward, s' - s) given (s, a)."""

import torch
from torch import Tensor, nn

from tom.networks import Normaliser
from tom.replay import Transitions
from tom.settings.fit import FitSettings


def targets_of(rows: Transitions) -> Tensor:
    """What a model predicts, in raw units: reward, then s' - s: [..., 1 + O]."""
    return torch.cat([rows.reward[..., None], rows.next_obs - rows.obs], -1)


class Dynamics(nn.Module):
    """R independent models; densities live in normalised units, samples in raw ones."""

    settings: FitSettings
    optimizer: torch.optim.Optimizer

    def __init__(self, replicas: int, observation_dim: int, action_dim: int, device: torch.device):
        super().__init__()
        self.inputs = Normaliser(replicas, observation_dim + action_dim, device)
        self.targets = Normaliser(replicas, 1 + observation_dim, device)

    def log_density(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """log p of each output dimension, normalised units: [R, B, O + A], [R, B, 1 + O] -> [R, B, 1 + O]."""
        raise NotImplementedError

    def sample_normalised(self, inputs: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        """A draw from the density [R, B, 1 + O], given uniform and standard normal draws of that shape."""
        raise NotImplementedError

    @torch.no_grad()
    def sample(self, obs_action: Tensor, uniform: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Reward [R, B] and next observation [R, B, O], in raw units."""
        draw = self.targets.inverse(self.sample_normalised(self.inputs(obs_action), uniform, normal))
        return draw[..., 0], obs_action[..., : draw.shape[-1] - 1] + draw[..., 1:]
