"""What a run says of itself, and the table of a grid that is made of it."""

import io
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.engines.engine import Task
from pipeline.engines.live import table
from pipeline.engines.local import Local
from pipeline.engines.training import train_all
from pipeline.runs import progress
from pipeline.runs.folder import Cell
from pipeline.runs.progress import Progress, Said, said


def test_time_left_is_that_of_steps_after_the_warm_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """100 warm-up steps in 10 s, then one in 6 s: 900 steps are 90 min, and 15 min less after 150."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])
    with Progress("cell", 1000, warmup=100) as shown:
        for step in range(1, 251):
            clock[0] += 0.1 if step <= 100 else 6.0
            shown.evaluated(step, 7.4) if step == 100 else shown.at(step)
    lines = capsys.readouterr().err.splitlines()
    after = [line for line in lines if " left" in line]
    assert all(" left" not in line for line in lines[: len(lines) - len(after)]) and lines[0].startswith("cell: ")
    assert after[0].startswith("cell: 101/1000 env steps, return 7, 0 env steps/s, 90 min left")
    minutes = [int(line.split()[-3]) for line in after]
    assert minutes == sorted(minutes, reverse=True) and minutes[-1] in (75, 76), "it falls and does not jump"
    log = tmp_path / "log.txt"
    log.write_text("\n".join([*lines, "something else"]))
    assert said(log) == Said(lines[-1].split()[1].split("/")[0], "1000", "7", "0", f"{minutes[-1]} min")
    assert said(tmp_path / "none") is None


def test_a_row_for_each_task_that_trains(tmp_path: Path) -> None:
    cells = [Cell("tom", "hopper", seed, "quick", {}, "") for seed in range(2)]
    begun, fresh = (Task([cell], (), (tmp_path,), tmp_path / f"{cell.seed}.txt") for cell in cells)
    begun.log.write_text("quick-tom-hopper-s0: 1000/6500 env steps, return 61, 79 env steps/s, 1 min left\n")
    shown = io.StringIO()
    Console(file=shown, width=100).print(table([begun, fresh], "0 of 2 ended"))
    rows = [line.split() for line in shown.getvalue().splitlines()]
    assert rows[1] == ["quick-tom-hopper-s0", "1,000", "of", "6,500", "61", "79", "1", "min"]
    assert rows[2] == ["quick-tom-hopper-s1", "begins"]
    assert " ".join(rows[3]) == "0 of 2 ended; logs: runs/<cell>/log.txt"


class Terminal(io.StringIO):
    """Keeps what is written to it, and says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def on_screen(written: str) -> list[str]:
    """What stands on a terminal after this was written to it, as far as rich's tables move the cursor."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\n|[^\x1b\n]+", written.replace("\r\n", "\n")):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            lines[row] = ""
        elif not part.startswith("\x1b"):
            lines[row] += part.replace("\r", "")
    return [line.rstrip() for line in lines if line.strip()]


def test_at_its_end_a_grid_leaves_a_line_for_each_cell_and_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [Cell("tom", "hopper", seed, "quick", {}, "") for seed in range(2)]
    programs = (("platform",), ("none_such",))
    tasks = [Task([c], w, (tmp_path,), tmp_path / f"{c.seed}.txt") for c, w in zip(cells, programs, strict=True)]
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    for name, value in (("TERM", "xterm"), ("COLUMNS", "200")):
        monkeypatch.setenv(name, value)
    failed = train_all(tasks, Local(jobs=1))
    assert [*failed] == ["quick-tom-hopper-s1"] and "none_such" in failed["quick-tom-hopper-s1"]
    first, last = on_screen(terminal.getvalue())
    assert first.startswith("[1/2] quick-tom-hopper-s0: Linux")
    assert last.startswith("[2/2] FAILED quick-tom-hopper-s1: ") and "none_such" in last
    drawn = terminal.getvalue().split("\x1b[2K")
    assert any("0 of 2 ended, 0 failed, 1 waiting; logs: runs/<cell>/log.txt" in part for part in drawn)
    assert not any("2 of 2" in part and "begins" in part for part in drawn)
