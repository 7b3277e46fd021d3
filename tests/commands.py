"""`tom` as it is typed, in this process."""

import re

from click.testing import CliRunner, Result

from pipeline.app import tom


def typed(*words: object) -> Result:
    """What became of the command: its exit_code, stdout and stderr."""
    return CliRunner().invoke(tom, [str(word) for word in words], prog_name="tom")


def without_progress(err: str) -> list[str]:
    """The lines that a run wrote, but for those that say how far it is, which a slow machine gets more of."""
    return [line for line in err.splitlines() if not re.search(r": \d+/\d+ env steps", line)]


def complaint(result: Result) -> str:
    """The one sentence with which a command refuses what was typed; it must have."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line and not re.match(r"Usage:|Try ", line)]
    assert len(lines) == 1, result.stderr
    return lines[0]
