"""What a command writes into params.yaml, where it stands there: the rest of the file stays as it is, to the byte."""

import re
from itertools import product
from pathlib import Path

from pipeline.config.compose import compose_cell, stop_of
from pipeline.config.params import GRID, UNTIL, Grid, Params, parse_params
from pipeline.config.refusals import check_step
from tom.settings.fields import SettingsError

NOWHERE = "none"  # as the word after `until=`: the runs go to their end


def edit_params(
    root: Path, scale: str | None = None, until: str | None = None, suite: str = "", grid: Grid | None = None
) -> Params:
    """Writes scale, lists of the grid and where runs stop for now, of a suite if one is named; the parameters then.

    SettingsError, and nothing is written, if runs cannot stop there, or a key is not where it can be replaced: the
    scale the first thing in its line, or of a suite in the line below the suite's name.
    """
    path, where, said = root / "params.yaml", suite or "grid", []
    written = path.read_bytes().decode()
    text = before = written.replace("\r\n", "\n")
    if scale is not None:
        text = _with_scale(text, scale, suite)
        said.append(f"{suite}.scale is now {scale}" if suite else f"scale is now {scale}")
    if until is not None:
        text = _with_until(text, until, where)
        said.append(f"{where}.{UNTIL} is now {until}")
    for key in _other(text, suite, grid) if grid is not None else ():
        values = ", ".join(map(str, getattr(grid, key)))
        text = _with_list(text, key, values, where)
        said.append(f"{where}.{key} is now [{values}]")
    params = parse_params(text)
    _refuse_where_runs_cannot_stop(params, suite)
    if text != before:
        path.write_bytes((text.replace("\n", "\r\n") if before != written else text).encode())
        print(*(f"params.yaml: {line}" for line in said), sep="\n")
    return params


def _other(text: str, suite: str, grid: Grid) -> list[str]:
    """The keys of the grid that say something else by now; what is so already stays as it is written."""
    params = parse_params(text)
    now = (params.suites[suite] if suite else params).grid
    return [key for key in GRID if getattr(now, key) != getattr(grid, key)]


def _with_scale(text: str, scale: str, suite: str) -> str:
    key = f"{suite}.scale" if suite else "scale"
    place = f"in the line below `{suite}:`" if suite else "at the beginning of a line"
    above = rf"{suite}:[^\n]*\n  " if suite else ""
    text, found = re.subn(
        rf"(?m)^({above}scale:[ \t]*)[^\s#][^#\n]*?(?=[ \t]*(?:#.*)?$)", rf"\g<1>{scale}", text, count=1
    )
    if not found:
        raise SettingsError(f"params.yaml: {key} is not {place}; write it there")
    return text


def _section(text: str, where: str, key: str) -> re.Match[str]:
    """The lines below `where:`, as group 1."""
    section = re.search(rf"(?m)^{where}:[ \t]*(?:#[^\n]*)?\n((?:[ \t#][^\n]*\n|\n)+)", text)
    if not section:
        raise SettingsError(f"params.yaml: `{where}:` is not in a line of its own; write {key} there")
    return section


def _with_list(text: str, key: str, values: str, where: str) -> str:
    """With a list in one line, in place of the one there, be it in a line or below; what a comment says of it stays."""
    section = _section(text, where, key)
    block, found = re.subn(
        rf"(?m)^( +){key}:(?:[ \t]*\[[^\]\n]*\])?([ \t]*#[^\n]*)?[ \t]*\n(?:\1(?: |- )[^\n]*\n)*",
        rf"\g<1>{key}: [{values}]\g<2>\n",
        section[1],
        count=1,
    )
    if not found:
        raise SettingsError(f"params.yaml: {where}.{key} is not a list below `{where}:`; write it there")
    return text[: section.start(1)] + block + text[section.end(1) :]


def _with_until(text: str, until: str, where: str) -> str:
    """With the line below `where:` that says until, in place of the one there and what hangs below it, or the first."""
    section = _section(text, where, UNTIL)
    if until != NOWHERE:
        check_step(int(until) if until.isdecimal() else until, UNTIL)
    indent = (re.search(r"(?m)^( +)[^\s#]", section[1]) or ["", "  "])[1]
    line = "" if until == NOWHERE else f"{indent}{UNTIL}: {until}\n"
    block, found = re.subn(rf"(?m)^{indent}{UNTIL}:[^\n]*\n(?:{indent} +[^\n]*\n)*", line, section[1], count=1)
    if not found:  # a suite's scale stays the first line
        block = re.sub(rf"\A((?:{indent}scale:[^\n]*\n)?)", rf"\g<1>{line}", section[1])
    return text[: section.start(1)] + block + text[section.end(1) :]


def _refuse_where_runs_cannot_stop(params: Params, suite: str) -> None:
    there = params.suites[suite] if suite else params
    for method, env in product(there.grid.methods if there.grid.until is not None else (), there.grid.envs):
        stop_of(there.grid, env, compose_cell(method, env, there.scale), suite or "grid")
