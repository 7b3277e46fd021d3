"""Every stored transition counts once: maximum likelihood, as in MBPO."""

from torch import Tensor

from tom.core.context import Context, View
from tom.settings.weightings.uniform import Settings
from tom.weightings.base import Weighting, uniform_weights


class Uniform(Weighting):
    """Weights of one."""

    def weights(self, view: View) -> Tensor:
        return uniform_weights(view.replay)


def build(settings: Settings, context: Context) -> Uniform:
    return Uniform()
