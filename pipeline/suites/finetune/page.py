"""What the suite asks, and by which measures."""

from pipeline.suites.paired import Measure, Question

FIRST = 1_000  # online env steps in which fine-tuning is won or lost
QUESTION = Question(
    "finetune",
    "From somebody else's data to online learning",
    {
        "probe/rmse": Measure("model's RMSE on fresh rows of the policy, once online", ".3f", True),
        "first": Measure(f"mean return over the first {FIRST:,} online steps", ".0f", False),
        "online": Measure("mean return over all online steps", ".0f", False),
        "offline": Measure("return at the end of the offline steps", ".0f", False),
        "lowest": Measure("lowest return once online", ".0f", False),
        "model/bias_newest": Measure("model's bias on the newest rows, once online", ".3f", True),
        "weights/age_9": Measure("mean weight of the newest tenth: the agent's own rows", ".2f", None),
        "weights/age_0": Measure("mean weight of the oldest tenth: foreign rows", ".2f", None),
        "weights/ess": Measure("effective share of the buffer", ".2f", None),
    },
    shown=("probe/rmse", "first", "weights/age_9"),
)
