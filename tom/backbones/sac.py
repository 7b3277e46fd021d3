"""SAC alone, on real transitions: the model-free reference."""

from torch import Tensor

from tom.backbones.base import Backbone
from tom.core.context import Context
from tom.core.replay import Replay
from tom.core.streams import Stream
from tom.settings.backbones.sac import Settings


class ModelFree(Backbone):
    """Batches of real rows; no model is fitted."""

    def batches(self, replay: Replay, stream: Stream) -> Tensor:
        return replay.rows(stream.below(len(replay), self.updates_per_burst, self.batch)).data


def build(settings: Settings, context: Context) -> ModelFree:
    return ModelFree(settings, context)
