"""The suite `evidence`: what it refuses, and that it trains a commit's code, stops, goes on and records."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.params import load_params, parse_params
from pipeline.engines.local import give_way
from pipeline.files import write_file
from pipeline.runs.folder import CHECKPOINTS, FILES, PROVENANCE, Refused
from pipeline.suites.evidence import status
from pipeline.suites.evidence.cells import CELLS, RECORDS, RUNS, Trained, cell_files, is_recorded, record_of, run_of
from pipeline.suites.evidence.launch import only_one, say
from pipeline.suites.evidence.progress import holder_of
from pipeline.suites.evidence.tree import checkout
from pipeline.suites.evidence.work import LIST, record, record_all
from pipeline.verify import evidence_problems
from tom.settings.fields import SettingsError

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
COMMIT = "a1" * 20
GRID = "{methods: [mbpo, tom], envs: [hopper], seeds: [0, 1], until: 1200}"


def with_evidence(*grids: str, commit: str = COMMIT, scale: str = "smoke") -> str:
    """params.yaml with another section."""
    section = f"evidence:\n  scale: {scale}\n  commit: {commit}\n  grids: [{', '.join(grids)}]\n\n"
    return re.sub(r"(?ms)^evidence:.*?(?=^scales:)", section, TEXT)


# params.yaml.


def test_runs_are_in_the_order_of_the_grids_and_methods_of_a_seed_together() -> None:
    evidence = parse_params(with_evidence(GRID, "{methods: [tom], envs: [ant], seeds: [0]}")).evidence
    assert evidence is not None
    assert list(evidence.cells()) == [
        (COMMIT, "mbpo", "hopper", 0, 1200),
        (COMMIT, "tom", "hopper", 0, 1200),
        (COMMIT, "mbpo", "hopper", 1, 1200),
        (COMMIT, "tom", "hopper", 1, 1200),
        (COMMIT, "tom", "ant", 0, None),
    ]


def test_a_grid_may_be_trained_by_code_of_its_own() -> None:
    newer = "b2" * 20
    evidence = parse_params(
        with_evidence(GRID, f"{{methods: [tom], envs: [ant], seeds: [0], commit: {newer}}}")
    ).evidence
    assert evidence is not None
    assert [commit for commit, *_ in evidence.cells()] == [*[COMMIT] * 4, newer]


def test_the_published_protocol_is_what_is_asked_for() -> None:
    evidence = load_params().evidence
    assert evidence is not None and evidence.scale == "paper"
    cells = list(evidence.cells())
    first = [("halfcheetah", method, seed, 40_000) for seed in range(4) for method in ("mbpo", "tom")]
    assert [(env, method, seed, until) for _, method, env, seed, until in cells[:8]] == first
    assert {until for _, _, env, _, until in cells if env == "hopper"} == {30_000}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            with_evidence(GRID, commit="main"),
            r"evidence.commit=main is not the whole name of a commit, .*rev-parse HEAD",
        ),
        (with_evidence(GRID, commit="1234567"), r"evidence.commit=1234567 is not the whole name"),
        (with_evidence(GRID, scale="papr"), r"evidence.scale=papr does not exist; nearest valid choice: paper"),
        (with_evidence(), r"evidence.grids=\[\] is not a list of at least one grid"),
        (with_evidence(GRID.replace("tom", "tomm")), r"evidence.grids\[0\].methods=tomm does not exist.*: tom"),
        (with_evidence(GRID, GRID), r"evidence.grids: mbpo on hopper with seed 0 is there twice"),
        (with_evidence(GRID.replace("1200", "0")), r"evidence.grids\[0\].until=0 is not a whole number of env steps"),
        (with_evidence(GRID.replace("seeds: [0, 1], ", "")), r"evidence.grids\[0\].seeds=None is not a list"),
        (with_evidence(GRID).replace("  commit:", "  comit:", 1), r"evidence.comit is not a key; .*: commit"),
        (with_evidence(GRID.replace("}", ", commit: main}")), r"evidence.grids\[0\].commit=main is not the whole name"),
        (
            with_evidence(GRID, f"{{methods: [tom], envs: [hopper], seeds: [2], commit: {'b2' * 20}}}"),
            rf"evidence.grids: tom on hopper is of two commits, {COMMIT} and (b2)+; .*: commit: {COMMIT} in both",
        ),
    ],
)
def test_a_section_that_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"^params.yaml: {said}"):
        parse_params(text)


# Who trains.


def test_there_is_one_launcher_and_a_second_says_who(tmp_path: Path) -> None:
    with only_one(tmp_path) as file:
        say(file, [cell_of(tmp_path).name])
        assert holder_of(tmp_path)["process"] == os.getpid()
        said = rf"process {os.getpid()} trains the evidence \(smoke-tom-hopper-s0\)"
        with pytest.raises(Refused, match=said), only_one(tmp_path):
            pass
    assert holder_of(tmp_path) == {}


# Records.


def cell_of(root: Path, until: int | None = 200) -> Trained:
    config = {"train": {"total_env_steps": 600, "warmup_env_steps": 100}}
    return Trained("tom", "hopper", 0, "smoke", config, "code", until, "identity")


def finish(folder: Path, env_steps: int, **changes: Any) -> None:
    """A finished run whose numbers are its steps."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (folder / name).write_text("env_steps,a\n" + "".join(f"{step},1.0\n" for step in range(0, env_steps + 1, 100)))
    steps = {"env_steps": env_steps, "total_env_steps": 600}
    names = {"method": "tom", "env": "hopper", "seed": 0}
    made = {
        **names,
        "fingerprint": "identity",
        "source_digest": "code",
        "git_commit": COMMIT,
        "cpu": "c",
        "replicas": 1,
        **steps,
        **changes,
    }
    (folder / PROVENANCE).write_text(json.dumps(made))


def test_a_run_is_recorded_when_it_has_come_far_enough_and_a_longer_one_stays(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    assert not record(cell, tmp_path)
    finish(run_of(cell, tmp_path), 100)
    assert not record(cell, tmp_path)
    finish(run_of(cell, tmp_path), 200)
    assert record(cell, tmp_path) and not record(cell, tmp_path)
    further = cell_of(tmp_path, until=400)
    assert is_recorded(cell, tmp_path) and not is_recorded(further, tmp_path)
    assert record_all([further], tmp_path) == "evidence: 0 of 1 runs recorded, 0 of them now"
    assert (tmp_path / RECORDS / LIST).read_text().splitlines()[1] == f"tom,hopper,0,200,600,{COMMIT}"
    finish(run_of(cell, tmp_path), 400)
    assert record_all([further], tmp_path) == "evidence: 1 of 1 runs recorded, 1 of them now"
    assert (tmp_path / RECORDS / LIST).read_text().splitlines()[1] == f"tom,hopper,0,400,600,{COMMIT}"
    shutil.rmtree(tmp_path / RUNS)
    assert is_recorded(cell, tmp_path)
    assert not is_recorded(replace(cell, source_digest="other code"), tmp_path)
    assert not is_recorded(replace(cell, identity="other values"), tmp_path)


def test_a_longer_run_that_is_not_what_was_recorded_is_not_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = cell_of(tmp_path)
    finish(record_of(cell, tmp_path), 200)
    (record_of(cell, tmp_path) / "evals.csv").write_text("env_steps,a\n0,1.0\n100,2.0\n200,1.0\n")
    further = cell_of(tmp_path, until=400)
    finish(run_of(cell, tmp_path), 400)
    assert record_all([further], tmp_path).startswith("evidence: 0 of 1 runs recorded, 0 of them now")
    assert "evals.csv: the row at env step 100 is not what training again gives" in capsys.readouterr().err
    finish(run_of(cell, tmp_path), 400, cpu="another")  # whose digits are others
    assert record(further, tmp_path)


def test_a_file_of_cells_that_cannot_be_read_hides_no_other_problem(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    asked = {"seeds": {"0": {"fingerprint": "identity", "until": 200}}, "config": {}, "source_digest": "code"}
    for env, text in (("hopper", json.dumps(asked)[:-9]), ("walker2d", json.dumps(asked)), ("ant", None)):
        finish(record_of(replace(cell, env=env), tmp_path), 100, env=env)
        if text:
            write_file(tmp_path / CELLS / "tom" / f"{env}.json", text.encode())
    folder = RECORDS / "tom"
    found = [
        line for line in evidence_problems(tmp_path) if line.startswith((f"{folder}/hopper/0:", f"{folder}/walker"))
    ]
    assert found[0].startswith(f"{folder}/hopper/0: what was asked for cannot be read (")
    assert found[-1] == f"{folder}/walker2d/0: to params.yaml, the same, not as far"


# The whole of it, in a repository of its own.


class Repository:
    """The code here, committed, and its evidence at scale smoke."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("tom", "pipeline", "suites/evidence"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "dvc.lock"))
        for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
        longer = "  smoke:\n    train:\n      total_env_steps: 1800"
        self.text = with_evidence(GRID.replace("[0, 1]", "[0]")).replace(
            "  smoke:\n    train:\n      total_env_steps: 600", longer
        )
        assert longer in self.text
        (folder / "params.yaml").write_text(self.text)
        self.git("init", "-q")
        self.commit = self.committed()
        self.params(self.text)

    def params(self, text: str) -> None:
        (self.folder / "params.yaml").write_text(text.replace(COMMIT, self.commit))

    def git(self, *words: str) -> str:
        me = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        done = subprocess.run(["git", *me, *words], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def committed(self) -> str:
        self.git("add", ".")
        self.git("commit", "--allow-empty", "-qm", "all")
        return self.git("rev-parse", "HEAD")

    def start(self, *words: str, folder: Path | None = None) -> "subprocess.Popen[str]":
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        there = {**os.environ, "PATH": path, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
        pipe, command = subprocess.PIPE, [sys.executable, "-m", *words]
        return subprocess.Popen(command, cwd=folder or self.folder, env=there, stdout=pipe, stderr=pipe, text=True)

    def run(self, *words: str, folder: Path | None = None) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        process = self.start(*words, folder=folder)
        out, err = process.communicate(timeout=1800)
        return process.returncode, out, err

    def is_clean(self, folder: Path | None = None) -> bool:
        """Whether DVC finds all as it was, in the suite and altogether."""
        said = [self.run("dvc", "status", *words, folder=folder)[1] for words in ((), ("suites/evidence/dvc.yaml",))]
        return all("up to date" in text for text in said)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("repository"))


def wait_for(pattern: str, folder: Path, process: "subprocess.Popen[str]") -> None:
    """Until such a file is there."""
    for _ in range(12000):  # a busy machine leaves little to the nice
        if any(folder.glob(pattern)):
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"no {pattern}")


def test_it_stops_saves_and_goes_on_with_the_code_of_the_commit(repository: Repository) -> None:
    launcher = repository.start("pipeline.app", "evidence", "--jobs", "1")
    runs = repository.folder / RUNS
    wait_for("mbpo-hopper-s0/*.partial/train.csv", runs, launcher)
    launcher.send_signal(signal.SIGTERM)
    out, err = launcher.communicate(timeout=900)
    assert launcher.returncode == 143, out + err
    assert "2 to train, 1 at a time" in out and "smoke-mbpo-hopper-s0: from 0 to 1,200 of 1,800 env steps" in out
    assert "stopped at env step" in out and "tom-hopper" not in out and "the same command goes on" in err
    *_, saved = sorted(runs.glob(f"mbpo-hopper-s0/*.partial/{CHECKPOINTS}/*"))
    assert 300 <= int(saved.name) < 1200

    with (repository.folder / "tom/train.py").open("a") as file:
        file.write("\nraise RuntimeError('half an edit')\n")
    code, out, err = repository.run("pipeline.app", "evidence", "--jobs", "2")
    assert code == 0, out + err
    assert f"from {int(saved.name):,} to 1,200 of 1,800" in out and "recorded 2, failed 0, missing 0" in out
    log = (runs / "mbpo-hopper-s0/log.txt").read_text()
    assert f"goes on from env step {int(saved.name)}" in log
    for method in ("mbpo", "tom"):
        folder = repository.folder / RECORDS / method / "hopper/0"
        made = json.loads((folder / PROVENANCE).read_text())
        assert (made["git_commit"], made["env_steps"], made["total_env_steps"]) == (repository.commit, 1200, 1800)
        assert {path.name for path in folder.iterdir()} == set(FILES)
    assert repository.is_clean()
    repository.git("checkout", "tom/train.py")


def test_each_grid_is_described_by_the_code_of_its_own_commit(repository: Repository) -> None:
    newer = repository.committed()
    grids = GRID.replace("[mbpo, tom]", "[mbpo]"), f"{{methods: [tom], envs: [hopper], seeds: [0], commit: {newer}}}"
    evidence = parse_params(with_evidence(*grids, commit=repository.commit)).evidence
    assert evidence is not None and newer != repository.commit
    files = cell_files(evidence, repository.folder)
    commits = {path.parent.name: json.loads(file)["commit"] for path, file in files.items()}
    assert commits == {"mbpo": repository.commit, "tom": newer}


def test_a_fresh_clone_with_some_of_it_recorded_is_clean(repository: Repository, tmp_path: Path) -> None:
    repository.committed()
    fresh = tmp_path / "fresh"
    repository.git("clone", "-q", str(repository.folder), str(fresh))
    assert repository.is_clean(fresh)
    assert list(evidence_problems(fresh)) == []

    more = GRID.replace("1200", "1500")  # one more seed, and all of them further
    text = (fresh / "params.yaml").read_text()
    (fresh / "params.yaml").write_text(text.replace(GRID.replace("[0, 1]", "[0]"), more))
    code, _, err = repository.run("pipeline.app", "evidence", "--status", folder=fresh)
    assert code == 1 and "is not what params.yaml asks for; run `dvc repro suites/evidence/dvc.yaml:configure`" in err
    code, out, err = repository.run("dvc", "repro", "suites/evidence/dvc.yaml", folder=fresh)
    assert code == 0, out + err
    assert repository.is_clean(fresh)
    with (fresh / RECORDS / LIST).open() as file:
        assert [row["env_steps"] for row in csv.DictReader(file)] == ["1200", "1200"]  # not as far, but what there is
    assert [line.split(": ")[1] for line in evidence_problems(fresh)] == 2 * ["to params.yaml, the same, not as far"]

    code, out, err = repository.run("pipeline.app", "evidence", "--status", "--jobs", "2", folder=fresh)
    assert code == 0, out + err
    assert re.search(r"missing +tom +hopper +0 +0 on the way to 1,500 of 1,800", out)
    assert re.search(
        r"4 runs: 0 recorded, 0 running, 4 missing; \d+ (s|min) of one core left, \d+ (s|min) with 2 at a time, as",
        out,
    )


def test_a_commit_that_cannot_train_is_refused(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=rf"evidence: commit={COMMIT} is not in the history; .*: {'.' * 40}$"):
        checkout(COMMIT, repository.folder)
    with pytest.raises(Refused, match=r"is not a git repository"):
        checkout(COMMIT, tmp_path)
    before = (repository.folder / "params.yaml").read_text()
    (repository.folder / "params.yaml").write_text(before.replace("until: 1200", "until: 1250"))
    code, _, err = repository.run("pipeline.suites.evidence.cells")
    assert code == 2 and err.count("\n") == 1
    assert "until on hopper=1250 is not a multiple of train.eval_every_env_steps=300; nearest valid value: 1200" in err
    (repository.folder / "params.yaml").write_text(before)


def test_a_worktree_that_is_not_as_committed_is_made_again(repository: Repository) -> None:
    tree = checkout(repository.commit, repository.folder)
    (tree / "tom/train.py").write_text("")
    (tree / "tom/states.py").unlink()
    assert checkout(repository.commit, repository.folder) == tree
    assert (tree / "tom/states.py").read_bytes() == (repository.folder / "tom/states.py").read_bytes()
    assert (tree / "tom/train.py").stat().st_size


def test_hours_are_of_the_runs_own_clock(tmp_path: Path) -> None:
    cell = cell_of(tmp_path, until=400)
    folder = run_of(cell, tmp_path).with_name("identity.partial")
    folder.mkdir(parents=True)
    (folder / "timing.csv").write_text("env_steps,wall_s,env_steps_per_s\n0,1,0\n100,2,1\n200,12,1\n300,22,1\n")
    lines = list(status.lines([cell], 2, tmp_path))
    assert "300 on the way to 400 of 600" in lines[0]
    further, other = replace(cell, until=None), replace(cell, env="ant", identity="other", until=None)
    assert status.hours_left([further], [cell], 2, tmp_path).startswith("30 s of one core left, 30 s with 2 at")
    (folder / "timing.csv").write_text("env_steps,wall_s,env_steps_per_s\n0,1,0\n100,2,1\n200,3602,1\n")
    assert status.hours_left([further, other], [cell], 2, tmp_path) == (  # 400 and 500 steps, 100 of them an hour
        "9.0 h of one core left, 5.0 h with 2 at a time, as fast as the runs so far"
    )
    assert status.hours_left([other], [other], 2, tmp_path).startswith("hours are known once one of them")


def test_a_run_gives_way_to_other_sessions_too() -> None:
    lowered = min(19, os.nice(0) + 15)
    with subprocess.Popen(["nice", "-n", "15", "sleep", "60"], start_new_session=True) as process:
        try:
            place = Path(f"/proc/{process.pid}/autogroup")
            if not place.exists():
                pytest.skip("cores are not shared between sessions here")
            while os.getpriority(os.PRIO_PROCESS, process.pid) < lowered:
                time.sleep(0.01)
            give_way(process.pid)
            assert place.read_text(encoding="ascii").split()[-1] == str(lowered)
        finally:
            process.kill()
