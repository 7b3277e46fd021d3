"""Tables as they are kept and shown: folders of CSV files that appear whole, and Markdown."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd

from pipeline.analysis.runs import named
from pipeline.analysis.stage import DIGITS
from pipeline.files import replaced_folder

RULES = {"l": "---", "c": ":---:", "r": "---:"}


def write_tables(
    target: Path, tables: Mapping[str, pd.DataFrame], texts: Mapping[str, str] | None = None, digits: str = DIGITS
) -> Path:
    """Replaces `target` by a `<name>.csv` of each table and by the texts by file name; returns `target`."""
    with replaced_folder(target) as folder:
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.csv", index=False, float_format=digits, lineterminator="\n")
        for name, text in (texts or {}).items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return target


def at_one_scale(tables: Mapping[str, pd.DataFrame], scale: str) -> dict[str, pd.DataFrame]:
    """The tables with the scale of all their rows as their first column."""
    return {name: named(table, scale=scale) for name, table in tables.items()}


def with_interval(value: float, low: float | None, high: float | None, form: str) -> str:
    """A number and its interval, if it has one, in a form such as `+.3f`: `+0.100 [+0.050, +0.150]`."""
    return f"{value:{form}}{'' if pd.isna(low) else f' [{low:{form}}, {high:{form}}]'}"


def table_lines(head: Iterable[str], rows: Iterable[Iterable[str]], align: str) -> Iterator[str]:
    """The lines of a table; `align` has a letter for each column, l, c or r, and the last one is for the rest too."""
    head = list(head)
    rules = [RULES[letter] for letter in align.ljust(len(head), align[-1])]
    for row in (head, rules, *rows):
        yield f"| {' | '.join(row)} |"
