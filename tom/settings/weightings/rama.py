"""Settings of retrieval after RAMa (Zholus and Panov, 2021)."""

from collections.abc import Iterator
from dataclasses import dataclass

from tom.settings.fields import choice, number, part


@dataclass
class Settings:
    """A share of the data is retrieved: whole segments of the buffer, drawn by address; the rest counts alike."""

    name: str = part("rama", origin="RAMa")
    share: float = number(
        0.25, low=0.0, high=1.0, unit="share of the data", origin="RAMa", help="retrieved, the other rows being uniform"
    )
    segment_env_steps: int = number(
        50, low=1, unit="env steps", origin="RAMa", help="length of a segment; the end of an episode ends one sooner"
    )
    address: str = choice(
        "return",
        ("return", "learned"),
        origin="ours",
        help="what is retrieved: segments by their mean reward, or by a query and keys that REINFORCE learns (RAMa)",
    )
    temperature: float = number(
        0.5, low=1e-3, high=1e3, unit="std of the rewards", origin="ours", help="of the softmax of address=return"
    )
    address_hidden: int = number(
        64, low=1, high=4096, unit="units", origin="ours", help="width of the learned address's layer"
    )
    address_width: int = number(32, low=1, high=4096, unit="units", origin="ours", help="length of query and keys")
    address_updates: int = number(
        200, low=1, unit="updates per round", origin="ours", help="Adam steps of the learned address"
    )
    address_queries: int = number(
        51, low=2, unit="segments", origin="RAMa", help="that ask in an update, and in a round for the weights"
    )
    address_candidates: int = number(
        102, low=1, unit="segments", origin="RAMa", help="drawn in an update, of which one is chosen"
    )
    address_learning_rate: float = number(1e-3, low=1e-8, high=1.0, origin="ours", help="Adam step size")
    rollout_starts: str = choice(
        "uniform",
        ("uniform", "weighted"),
        origin="ours",
        help="rows that model rollouts start from: every one alike, or by weight",
    )

    def contradictions(self) -> Iterator[str]:
        if self.share == 0.0:
            yield "share=0.0 is weighting=uniform; nearest valid choice: weighting=uniform"
        if self.share == 1.0 and self.address == "learned":
            yield (
                "share=1.0 with address=learned leaves all rows but one segment without weight once the address has "
                "settled; nearest valid value: share=0.9"
            )
