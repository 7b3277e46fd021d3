"""What a command writes into params.yaml, where it stands there: the rest of the file stays as it is, to the byte."""

import re
from collections.abc import Callable
from itertools import product
from pathlib import Path

from pipeline.config.compose import compose_cell, stop_of
from pipeline.config.params import GRID, UNTIL, Grid, Params, parse_params
from pipeline.config.refusals import stop_in
from pipeline.files import write_file
from tom.settings.fields import SettingsError


def edit_params(
    root: Path,
    scale: str | None = None,
    until: str | None = None,
    suite: str = "",
    grid: Grid | None = None,
    check: Callable[[Params], None] = lambda params: None,
) -> Params:
    """Writes scale, lists of the grid and where runs stop for now, of a suite if one is named; the parameters then.

    SettingsError, and nothing is written, if runs cannot stop there, or a key is not where it can be replaced: the
    scale the first thing in its line, or of a suite in the line below the suite's name. Nor is anything if `check`,
    which gets the parameters that are to be written, raises.
    """
    path, where, said = root / "params.yaml", suite or "grid", []
    written = path.read_bytes().decode()
    text = before = written.replace("\r\n", "\n")
    if scale is not None:
        place = f"in the line below `{suite}:`" if suite else "at the beginning of a line"
        text = _with(text, suite, "scale", scale, f"not {place}")
        said.append(f"{suite}.scale is now {scale}" if suite else f"scale is now {scale}")
    if until is not None:
        stop = stop_in(until)
        text = _with(text, where, UNTIL, "" if stop is None else str(stop))
        said.append(f"{where}.{UNTIL} is now {until}")
    for key in _other(text, suite, grid) if grid is not None else ():
        values = f"[{', '.join(map(str, getattr(grid, key)))}]"
        text = _with(text, where, key, values, f"not a list below `{where}:`")
        said.append(f"{where}.{key} is now {values}")
    params = parse_params(text)
    _refuse_where_runs_cannot_stop(params, suite)
    if text != before:
        check(params)
        write_file(path, (text.replace("\n", "\r\n") if before != written else text).encode())
        print(*(f"params.yaml: {line}" for line in said), sep="\n")
    return params


def _other(text: str, suite: str, grid: Grid) -> list[str]:
    """The keys of the grid that say something else by now; what is so already stays as it is written."""
    params = parse_params(text)
    now = (params.suites[suite] if suite else params).grid
    return [key for key in GRID if getattr(now, key) != getattr(grid, key)]


def _with(text: str, where: str, key: str, value: str, missing: str = "") -> str:
    """With the value in the lines below `where:`, or of the whole text where that is empty, in place of the one there.

    Be that in a line or below; what a comment says of it stays. Where there is none it is refused with what is
    `missing`, or becomes their first line, below a suite's scale. Without a value the key is taken out.
    """
    lines = rf"(?m)^{where}:[ \t]*(?:#[^\n]*)?\n((?:[ \t#][^\n]*\n|\n)+)" if where else r"(?s)(.*)"
    section, named = re.search(lines, text), f"{where}.{key}" if where else key
    if not section and key != "scale":
        raise SettingsError(f"params.yaml: `{where}:` is not in a line of its own; write {key} there")
    below = section[1] if section else ""
    indent = (re.search(r"(?m)^( +)[^\s#]", below) or ["", "  "])[1] if where else ""
    line, one = f"{indent}{key}: {value}", r"(?:[ \t]*(?:\[[^\]\n]*\]|[^\s#\[][^#\n]*?))?"
    there = rf"(?m)^{indent}{key}:{one}([ \t]*#[^\n]*)?[ \t]*\n(?:{indent}(?: |- )[^\n]*\n)*"
    block, found = re.subn(there, rf"{line}\g<1>\n" if value else "", below, count=1)
    if not section or (missing and not found):
        raise SettingsError(f"params.yaml: {named} is {missing}; write it there")
    if not found and value:
        block = re.sub(rf"\A((?:{indent}scale:[^\n]*\n)?)", rf"\g<1>{line}\n", block)
    return text[: section.start(1)] + block + text[section.end(1) :]


def _refuse_where_runs_cannot_stop(params: Params, suite: str) -> None:
    there = params.suites[suite] if suite else params
    for method, env in product(there.grid.methods if there.grid.until is not None else (), there.grid.envs):
        stop_of(there.grid, env, compose_cell(method, env, there.scale), suite or "grid")
