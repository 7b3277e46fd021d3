"""What every loss offers."""

from torch import Tensor

from tom.core.context import View
from tom.dynamics.base import Dynamics


class Loss:
    """How wrong a prediction is, per sample; the fit applies the weights and takes the mean."""

    needs: frozenset[str] = frozenset()  # parts of the View that must not be None, e.g. {"critic"}
    refits = 0  # how often a round fits the model once more, each time to the values of the critics as they are then
    refit_updates = 0  # of the critics, which learn in the model as it is, before each of these

    def columns(self, view: View) -> Tensor:
        """What the loss needs to know of each stored row besides inputs and targets: [R, N, any width]."""
        rows = view.replay.all().data
        return rows.new_empty(*rows.shape[:2], 0)

    def __call__(self, model: Dynamics, inputs: Tensor, targets: Tensor, columns: Tensor) -> Tensor:
        """Loss per sample [*lead, B] on normalised inputs [*lead, B, O + A] and targets [*lead, B, 1 + O].

        lead = model.lead; the reward is the first target; columns [*lead, B, C] belong to the same rows.
        """
        raise NotImplementedError
