"""Colour, line and marker of each method: the same in every figure, safe for colour blindness and in greyscale."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Look:
    """How a method is drawn; `line` is a matplotlib line style."""

    colour: str
    line: Literal["-"] | tuple[float, tuple[float, ...]]
    marker: str


# Colours of Okabe and Ito (2008), told apart with any common colour blindness; the line styles do so without colour.
KNOWN = {
    "tom": Look("#D55E00", "-", "o"),
    "mbpo": Look("#0072B2", (0, (4, 1.2)), "s"),
    "pmac": Look("#009E73", (0, (1, 1)), "^"),
    "pdml": Look("#E69F00", (0, (6, 1, 1, 1)), "v"),
    "vagram_mdn": Look("#CC79A7", (0, (2.5, 1)), "D"),
    "vagram_ensemble": Look("#56B4E9", (0, (5, 1, 1, 1, 1, 1)), "P"),
}
CAPITALS = (
    "tom",
    "mbpo",
    "pmac",
    "pdml",
    "ampl",
    "sac",
    "mdn",
    "mlp",
    "kl",
    "nll",
    "ma",
    "vaml",
    "maac",
    "moto",
    "dhmbpo",
    "dmpo",
    "dppo",
    "ippo",
    "cppo",
)
WORDS = {"vagram": "VaGraM", "rama": "RAMa", "nobc": "without cloning", "nopen": "without penalty"}
SPELLED = WORDS | {name: name.upper() for name in CAPITALS}
PLACES = {
    "halfcheetah": "HalfCheetah",
    "road_and_rocks": "Road-and-Rocks",
    "catchup": "Catch-up",
    "slowdown": "Slow-down",
    "binary": "Four agents",
}
SPARE = (
    Look("#000000", (0, (3, 1, 1, 1)), "X"),
    Look("#882255", (0, (5, 2)), "<"),
    Look("#117733", (0, (1, 2)), ">"),
    Look("#332288", (0, (8, 1.5)), "h"),
    Look("#999933", (0, (3, 1, 1, 1, 1, 1)), "*"),
    Look("#AA4499", (0, (2, 2)), "p"),
    Look("#666666", (0, (8, 1, 1, 1)), "d"),
)


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """A look for each method, in the given order. A name not in KNOWN gets a spare one chosen by its own letters.

    Two unknown names meet only if their letters choose the same spare; then the later one alphabetically moves on.
    More unknown names than spare looks get those of KNOWN methods that are not there; with more still, looks repeat.
    """
    names, chosen = list(methods), dict[str, Look]()
    free = [look for name, look in KNOWN.items() if name not in names]
    for name in sorted(set(names) - KNOWN.keys()):
        start = zlib.crc32(name.encode())
        turns = [SPARE[(start + turn) % len(SPARE)] for turn in range(len(SPARE))]
        chosen[name] = next((look for look in (*turns, *free) if look not in chosen.values()), turns[0])
    return {name: KNOWN.get(name) or chosen[name] for name in names}


def spelled(method: str) -> str:
    """A method's name as people write it: vagram_mdn is VaGraM MDN."""
    return " ".join(SPELLED.get(word, word) for word in method.split("_"))


def place_of(env: str) -> str:
    """An environment's name as people write it: hopper is Hopper, inverted_pendulum Inverted Pendulum."""
    return PLACES.get(env.lower()) or " ".join(word.capitalize() for word in env.split("_"))
