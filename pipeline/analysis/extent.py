"""How far runs go: those that were told to stop at `until` end there for now, and say of how much."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

TOTAL = "total_env_steps"  # in a record, always; as a column of a table, only where a run in it is not whole


def so_far(env_steps: int, total: int) -> str:
    """`40,000 of 300,000`; of a whole run its length."""
    return f"{total:,}" if env_steps >= total else f"{env_steps:,} of {total:,}"


def is_short(found: Mapping[str, Any], until: int | None) -> bool:
    """Whether a record ends before `until`, or before the run does where that is None; one without a word is whole."""
    reached, total = found.get("env_steps"), found.get(TOTAL)
    if not isinstance(reached, int) or not isinstance(total, int):
        return False
    return reached < (total if until is None else min(until, total))


def is_partial(found: Mapping[str, Any]) -> bool:
    """Whether a record is of a run that is to go on."""
    return is_short(found, None)


def extents(runs: "pd.DataFrame") -> dict[str, str]:
    """How far the runs of each environment go, from a table with the columns env, env_steps and, if need be, TOTAL."""
    ends = {str(env): rows for env, rows in runs.groupby("env", sort=False)}
    return {
        env: so_far(int(rows["env_steps"].max()), int(rows[TOTAL if TOTAL in rows else "env_steps"].max()))
        for env, rows in ends.items()
    }


def stops(runs: "pd.DataFrame") -> dict[str, str]:
    """The same of the environments whose runs are to go on."""
    return {env: words for env, words in (extents(runs) if TOTAL in runs else {}).items() if " of " in words}


def stops_in_words(runs: "pd.DataFrame") -> str:
    """`hopper 40,000 of 125,000, ant 40,000 of 300,000`; empty where all runs are whole."""
    return ", ".join(f"{env} {words}" for env, words in stops(runs).items())


def at_scale(scale: str, runs: "pd.DataFrame") -> str:
    """The scale in words: `quick`, or `quick (hopper 3,000 of 6,500)`."""
    found = stops_in_words(runs)
    return f"{scale} ({found})" if found else scale
