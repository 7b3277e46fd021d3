"""Engines: what engines.yaml may say, an engine of somebody else's, and one body of tests for those there are."""

import itertools
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import pipeline.engines
from pipeline.engines import training
from pipeline.engines.engine import Engine, News, State, Task
from pipeline.engines.local import Local, gpus_here
from pipeline.engines.settings import engine_names, engine_of
from pipeline.engines.training import Training, train_all
from pipeline.files import ROOT
from pipeline.runs.folder import Cell
from pipeline.runs.interruptions import Stopped
from tests.commands import complaint, typed
from tom.settings.fields import SettingsError

DUMMY = '''
"""An engine that does nothing, at once."""

from dataclasses import dataclass

from pipeline.engines.engine import Engine, News, State
from pipeline.engines.fields import setting


@dataclass(frozen=True)
class Settings:
    code: int = setting(0, int, low=0)


class Dummy(Engine):
    name, Settings = "dummy", Settings

    def slots(self):
        return 3

    def begin(self, tasks):
        self.tasks = list(tasks)

    def look(self):
        tasks, self.tasks = self.tasks, []
        return [News(task, State.ENDED, code=self.settings.code, line=f"{task.name}: done") for task in tasks]


ENGINE = Dummy
'''


def task(seed: int, *words: str, folder: Path = Path("x"), seconds: float = 0.0) -> Task:
    """One that runs a module of these words."""
    cell = Cell("mbpo", "hopper", seed, "smoke", {}, "")
    return Task([cell], words, (folder / str(seed),), folder / f"{seed}/log.txt", seconds=seconds)


# Settings.


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("engine: lokal", [], "engine=lokal does not exist; nearest valid choice: local"),
        ("engin: local", [], "engin is not a key; nearest valid choice: engine"),
        ("", ["cell.gpu=1"], "cell.gpu=1 is not a setting; nearest valid choice: gpus"),
        ("cell: {cpus: 0}", [], "cell.cpus=0 is below 1; nearest valid value: 1"),
        ("cell: {cpus: 1.5}", [], "cell.cpus=1.5 is not a whole number; nearest valid value: 2"),
        ("cell: {memory_gb: much}", [], "cell.memory_gb=much is not a number; nearest valid value: 2.0"),
        ("cell: [1]", [], r"cell=\[1\] is not a mapping"),
        ("", ["cpus"], "-o cpus is not section.key=value; valid example: -o cell.cpus=2"),
        ("cell: {", [], "engines.yaml: "),
        ("", ["local.x=1"], "local.x=1 is not a setting"),
    ],
)
def test_what_cannot_be_is_refused_by_key(text: str, options: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "engines.yaml").write_text(text)
    with pytest.raises(SettingsError, match=f"^{said}"):
        engine_of(None, options, root=tmp_path)


def test_the_command_line_goes_first(tmp_path: Path) -> None:
    (tmp_path / "engines.yaml").write_text("cell: {cpus: 2, batch: 4}")
    engine = engine_of(None, ["cell.cpus=3", "cell.gpus=0"], jobs=5, root=tmp_path)
    assert (engine.name, engine.need.cpus, engine.batch, engine.slots()) == ("local", 3, 4, 5)
    assert "cell.cpus=0 is below 1" in complaint(typed("plan", "-o", "cell.cpus=0"))


def test_what_the_repository_has_is_the_default() -> None:
    """Not more is said in engines.yaml, and every key that there is."""
    engine = engine_of()
    assert engine.need == engine_of(root=ROOT / "nowhere").need


def test_an_engine_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dummy.py").write_text(DUMMY)
    monkeypatch.setattr(pipeline.engines, "__path__", [*pipeline.engines.__path__, str(tmp_path)])
    assert {"dummy", "local"} <= {*engine_names()}
    tasks = [task(0), task(1)]
    assert train_all(tasks, engine_of("dummy")) == {}
    assert list(train_all(tasks, engine_of("dummy", ["dummy.code=1"]))) == [each.name for each in tasks]
    with pytest.raises(SettingsError, match=r"dummy.cod=1 is not a setting; .*: code"):
        engine_of("dummy", ["dummy.cod=1"])


# What is said.


class Told(Engine):
    """Has the news that it is given, one after the other."""

    name = "told"

    def __init__(self, news: Sequence[News]) -> None:
        super().__init__()
        self.news = list(news)

    def slots(self) -> int:
        return 2

    def begin(self, tasks: Sequence[Task]) -> None:
        pass

    def look(self) -> list[News]:
        return [self.news.pop(0)]


def test_a_line_when_a_task_waits_or_moves_and_none_for_the_usual(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = task(0), task(1)
    news = [
        News(first, State.WAITS, why="Resources"),
        News(second, State.WAITS, why="QOSMaxCpu"),
        News(second, State.WAITS, why="QOSMaxCpu"),
        News(first, State.RUNS, where="n1"),
        News(first, State.WAITS, why="BeginTime"),
        News(first, State.RUNS, where="n2"),
        News(second, State.RUNS, where="n3"),
        News(first, State.ENDED, line="first: well"),
        News(second, State.ENDED, code=1, line="second: why"),
    ]
    failed = train_all([first, second], Told(news))
    assert failed == {second.name: "second: why"}
    assert capsys.readouterr().out.splitlines() == [
        f"{second.name}: waits (QOSMaxCpu)",
        f"{first.name}: waits again (BeginTime)",
        f"{first.name}: again, on n2 (before on n1)",
        "[1/2] first: well on n2 (1 s left)",
        "[2/2] FAILED second: why on n3",
    ]


def test_the_time_left_counts_those_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight tasks of 100 s on four slots take 200 s: after the first four end at 100 s, 100 s are left; not 100 x 4."""
    clock = itertools.count()
    now = [0.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    tasks = [task(next(clock)) for _ in range(8)]
    watched = Training(tasks, Local(), slots=4)
    for each in tasks[:4]:
        watched.heard(News(each, State.RUNS))
    assert watched.left_s() is None
    now[0] = 100.0
    for each, following in zip(tasks[:4], tasks[4:], strict=True):
        watched.heard(News(each, State.ENDED, line="x"))
        watched.heard(News(following, State.RUNS))
    assert watched.left_s() == pytest.approx(100.0)
    now[0] = 130.0
    assert watched.left_s() == pytest.approx(70.0)


def test_what_is_expected_is_scaled_by_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    tasks = [task(seed, seconds=seconds) for seed, seconds in enumerate((40.0, 20.0, 20.0))]
    watched = Training(tasks, Local(), slots=2)
    assert watched.left_s() == 40.0
    for each in tasks[:2]:
        watched.heard(News(each, State.RUNS))
    now[0] = 60.0  # three times as long
    watched.heard(News(tasks[1], State.ENDED, line="x"))
    assert watched.left_s() == pytest.approx(60.0)  # 120 - 60 of the first, beside 60 of the third


# The engine here.


def test_a_task_that_fails_is_named_and_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = [task(seed, "no_such_module" if seed == 1 else "platform", folder=tmp_path) for seed in range(3)]
    failed = train_all(tasks, Local(jobs=2))
    assert list(failed) == ["smoke-mbpo-hopper-s1"]
    assert "No module named no_such_module" in failed["smoke-mbpo-hopper-s1"]
    said = capsys.readouterr().out
    assert said.count("FAILED") == 1
    assert "[3/3]" in said


def test_a_signal_ends_those_that_run_and_begins_no_other(tmp_path: Path) -> None:
    tasks = [task(seed, "http.server", "0", folder=tmp_path) for seed in range(3)]
    ended = list[News]()
    me = threading.main_thread().ident
    assert me is not None

    def running_are(running: list[Task]) -> None:
        if len(running) == 2:
            threading.Timer(0.5, signal.pthread_kill, (me, signal.SIGTERM)).start()

    start = time.monotonic()
    with pytest.raises(Stopped) as stop:
        train_all(tasks, Local(jobs=2), running_are, ended.append)
    assert stop.value.code == 143 and time.monotonic() - start < 60
    assert [news.task for news in ended] == tasks[:2] and {news.code for news in ended} == {-15}


def test_several_tasks_share_a_gpu_and_each_sees_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.engines.local.gpus_here", lambda: ("4", "7"))
    for gpus, slots in ((0.25, 8), (0.6, 2), (1, 2)):
        assert engine_of("local", [f"cell.gpus={gpus}"], jobs=9).slots() == slots
    assert engine_of("local", jobs=9).slots() == 2 and engine_of("local").batch is None
    with pytest.raises(SettingsError, match=r"cell.gpus=2 is above 1; nearest valid value: 1"):
        engine_of("local", ["cell.gpus=2"])
    monkeypatch.setattr("pipeline.engines.local.gpus_here", lambda: ())
    with pytest.raises(SettingsError, match=r"cell.gpus=1: there is no GPU here; nearest valid choice: 0"):
        engine_of("local", ["cell.gpus=1"]).slots()


@pytest.mark.parametrize(
    ("named", "count", "found"),
    [(None, 2, ("0", "1")), ("4,7", 2, ("4", "7")), ("0", 0, ()), ("-1", 0, ()), ("", 0, ())],
)
def test_gpus_are_those_that_torch_can_use(
    named: str | None, count: int, found: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert gpus_here.__wrapped__() == found
