"""`tom`: every command says what it does without doing it, what it refuses, and how it ends."""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import click
import pytest

from pipeline.analysis.runs import STATISTICS
from pipeline.app import SHELLS, tom
from pipeline.files import ROOT
from pipeline.runs.answers import answered
from pipeline.runs.folder import Refused
from pipeline.runs.interruptions import Stopped
from tests.commands import complaint, typed
from tom.settings.fields import SettingsError

HEAVY = {"torch", "gymnasium", "mujoco", "pandas", "matplotlib", "wandb", "hydra"}


def commands(group: click.Group, *above: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)
        else:
            yield (*above, name)


COMMANDS = sorted(commands(tom))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_shows_arguments_and_an_example(words: tuple[str, ...]) -> None:
    result = typed(*words, "--help")
    assert result.exit_code == 0 and result.stderr == ""
    name = " ".join(words)
    if words == ("train",):  # Hydra's grammar, and every setting
        assert "method=M" in result.stdout and "weighting.clip" in typed("train", "--help", "method=tom").stdout
    else:
        assert result.stdout.startswith(f"Usage: tom {name}") and f"Example:  tom {name}" in result.stdout


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    helps = [words for words in COMMANDS if words != ("train",)]
    program = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from pipeline.app import tom\n"
        f"codes = [CliRunner().invoke(tom, [*words, '--help']).exit_code for words in {[(), *helps]}]\n"
        f"print(codes, {HEAVY} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{[0] * (len(helps) + 1)} set()\n"


@pytest.mark.parametrize("words", [("--help",), ("report",), ("plan", "--help"), ("train", "--help")], ids=" ".join)
def test_what_neither_trains_nor_acts_needs_no_torch(words: tuple[str, ...]) -> None:
    program = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from pipeline.app import tom\n"
        f"print(CliRunner().invoke(tom, {list(words)}).exit_code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "0 False\n"


@pytest.mark.parametrize("words", [words for words in COMMANDS if words != ("train",)], ids=" ".join)
def test_what_is_typed_is_what_the_work_takes(words: tuple[str, ...]) -> None:
    """The function is where its command says, and has a parameter for each of the command's and no other to give."""
    command: click.Command = tom
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    assert command.callback is not None
    work, given = (
        inspect.getclosurevars(command.callback).nonlocals["work"],
        {str(each.name) for each in command.params},
    )
    if inspect.isfunction(work) and "work" in inspect.getclosurevars(work).nonlocals:  # it gets an engine
        work, given = inspect.getclosurevars(work).nonlocals["work"], given - {"options", "jobs", "batch"}
    inspect.signature(resolve_name(work) if isinstance(work, str) else work).bind(**dict.fromkeys(given))


def test_a_word_that_is_no_command_is_refused_with_the_nearest() -> None:
    assert complaint(typed("comprae", "mbpo", "tom")).startswith("Error: No such command 'comprae'.")
    assert complaint(typed("plan", "--jbos", 2)) == "Error: No such option '--jbos'. Did you mean '--jobs'?"


def test_a_method_that_is_none_is_refused_before_anything_trains() -> None:
    said = complaint(typed("check", "learns", "mm"))
    assert said.startswith("method=mm does not exist; nearest valid choice: tom_ma")


def test_every_statistic_is_named() -> None:
    (statistic,) = [option for option in tom.commands["compare"].params if option.name == "statistic"]
    assert re.findall(r"\w+", statistic.help.replace(" or ", " ")) == list(STATISTICS)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_can_complete(shell: str) -> None:
    assert "_TOM_COMPLETE" in typed("completion", shell).stdout


def test_names_are_completed_from_params() -> None:
    (scale,) = [option for option in tom.commands["repro"].params if option.name == "scale"]
    context = click.Context(tom.commands["repro"])
    assert [item.value for item in scale.shell_complete(context, "qu")] == ["quick"]


@pytest.mark.parametrize("words", ["repro --scale=qu", "repro --claim=hu", "check learns to"])
def test_a_file_that_is_broken_completes_nothing(words: str, tmp_path: Path) -> None:
    for name in ("tom", "pipeline"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "params.yaml").write_text("scale: [")
    (tmp_path / "reports").mkdir()
    asked = {"_TOM_COMPLETE": "bash_complete", "COMP_WORDS": f"tom {words}", "COMP_CWORD": str(len(words.split()))}
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), **asked}
    command = [sys.executable, "-m", "pipeline.app"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_all_characters_gets_plain_ones(encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "pipeline.app", "report"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    assert b"TOM - MBPO" in done.stdout and b"?" not in done.stdout


def raising(error: BaseException) -> int:
    def work() -> int:
        raise error

    return answered(work)


def test_ways_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert answered(lambda: "done") == 0 and answered(lambda: 3) == 3
    assert capsys.readouterr().out == "done\n"
    for error, code in (
        (SettingsError("asked wrongly"), 2),
        (Refused("cannot be"), 1),
        (FileNotFoundError("gone"), 1),
        (Stopped(15, "stopped"), 143),
        (KeyboardInterrupt(), 130),
    ):
        assert raising(error) == code
        assert capsys.readouterr().err.count("\n") == 1
    for fault in (RuntimeError("mat1 and mat2\ncannot be multiplied"), NotImplementedError("not yet")):
        assert raising(fault) == 1
        said = capsys.readouterr().err
        assert said.startswith("Traceback") and ", in work\n" in said
        assert said.splitlines()[-1] == " ".join(str(fault).split())
    with pytest.raises(AssertionError):  # a fault of the program is not made small
        raising(AssertionError())
