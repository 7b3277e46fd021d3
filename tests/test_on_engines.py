"""One body for every engine there is, on real processes; and what those on other machines need of files."""

import json
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.engines import node, slurm, slurm_task, travel
from pipeline.engines.batches import words_of
from pipeline.engines.engine import Engine, Task
from pipeline.engines.node import BUSY, newest_checkpoint
from pipeline.engines.settings import FILE, engine_of
from pipeline.engines.store import Store
from pipeline.engines.training import train_all
from pipeline.files import ROOT, sha256
from pipeline.runs.ensure import Options, ensure_trained
from pipeline.runs.folder import SEEDED, Cell, Refused, State, different, provenance, state
from pipeline.suites.returns.cells import cell_of
from tests.rooms import files, imports
from tom.settings.fields import SettingsError


def _no_slurm() -> str:
    answers = shutil.which("sinfo") and not subprocess.run(["sinfo"], capture_output=True, check=False).returncode
    return "" if answers else "no Slurm answers here (make cluster-drill brings one up)"


WHY_NOT: dict[str, Callable[[], str]] = {
    "local": lambda: "",
    "slurm": _no_slurm,
    "ray": lambda: "" if find_spec("ray") else "Ray is not installed (pip install -e '.[ray]')",
}
CELLS = [cell_of("mbpo", "hopper", seed, "smoke") for seed in (0, 1)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of the first cell."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    ensure_trained(CELLS[0], folder, Options(device="cpu"))
    return folder


@pytest.fixture(params=list(WHY_NOT))
def engine(request: pytest.FixtureRequest) -> Engine:
    if why := WHY_NOT[request.param]():
        pytest.skip(why)
    return engine_of(request.param, ["cell.gpus=0", "cell.memory_gb=1", "slurm.minutes=10"], jobs=2)


def test_runs_are_those_of_one_machine_and_a_failure_is_named(engine: Engine, reference: Path, tmp_path: Path) -> None:
    def made(cell: Cell) -> bool:
        return state(tmp_path / str(cell.seed), cell) is State.FINISHED

    def task(cell: Cell, *words: str) -> Task:
        return Task([cell], words, (tmp_path / str(cell.seed),), tmp_path / f"{cell.seed}.txt", made)

    common = ("tracking=off", "device=cpu")
    tasks = [
        task(cell, "pipeline.train", *words_of([cell]), *common, f"run_dir='{tmp_path}/{cell.seed}'") for cell in CELLS
    ]
    tasks.append(task(Cell("mbpo", "hopper", 7, "smoke", {}, ""), "no_such_module"))
    failed = train_all(tasks, engine)
    assert list(failed) == ["smoke-mbpo-hopper-s7"]
    assert "No module named no_such_module" in failed["smoke-mbpo-hopper-s7"]
    assert different(reference, tmp_path / "0", SEEDED) == [] and made(CELLS[1])
    assert provenance(tmp_path / "0")["engine"] == engine.name


def test_without_ray_nothing_of_it_is_loaded_and_its_engine_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.engines.ray.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"^engine=ray: Ray is not installed; pip install .*\[ray\]' brings it$"):
        engine_of("ray")


def test_a_driver_of_ray_s_that_has_done_all_is_not_missed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its end may be read in the same breath as that of the last task."""
    monkeypatch.setattr("pipeline.engines.ray.find_spec", lambda name: object())
    engine, task = engine_of("ray"), Task([CELLS[0]], (), (tmp_path / "run",), tmp_path / "log.txt")
    engine._tasks = {task.key: task}  # type: ignore[attr-defined]
    for line in (json.dumps({"key": task.key, "state": "ENDED", "code": 0, "line": "trained"}), None):
        engine._lines.put(line)  # type: ignore[attr-defined]
    engine._stopping = False  # type: ignore[attr-defined]
    assert [news.line for news in engine.look()] == ["trained"]
    assert engine._driver is None, "no other one was started"  # type: ignore[attr-defined]


def test_ray_is_imported_by_its_driver_and_on_nodes_alone() -> None:
    for path in files("pipeline"):
        if path.name not in ("ray_driver.py", "ray_task.py"):
            assert not any(module.partition(".")[0] == "ray" for module in imports(path)), path


def test_nothing_that_dvc_knows_depends_on_the_settings_of_engines() -> None:
    known = [ROOT / "dvc.yaml", *ROOT.glob("suites/*/dvc.yaml")]
    for path in known:
        assert FILE not in path.read_text(encoding="utf-8")
    assert (ROOT / FILE).parent == ROOT, "the stages depend on whole folders, but not on this one"


def test_a_cluster_without_a_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.engines.ray.find_spec", lambda name: object())
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(SettingsError, match=r"^ray.address=10.0.0.1:6379: there is no token"):
        engine_of("ray", ["ray.address=10.0.0.1:6379"])
    engine_of("ray", ["ray.address=10.0.0.1:6379", "ray.token=false"])
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    engine_of("ray", ["ray.address=10.0.0.1:6379"])
    with pytest.raises(SettingsError, match=r"^ray.store=file:///x: nodes share runs/"):
        engine_of("ray", ["ray.store=file:///x"])


# What travels.


def finished(folder: Path, text: str = "a,b\n1,2\n") -> Path:
    folder.mkdir(parents=True)
    (folder / "evals.csv").write_text(text)
    (folder / "provenance.json").write_text(json.dumps({"sha256": {"evals.csv": sha256(folder / "evals.csv")}}))
    return folder


def test_folders_travel_whole_and_checked(tmp_path: Path) -> None:
    there, here = [finished(tmp_path / f"node/{seed}") for seed in "01"], [tmp_path / f"head/{seed}" for seed in "01"]
    finished(here[1], "an older one")
    (there[0] / "link").symlink_to("/etc/hostname")
    travel.unpack(travel.packed([there[0], tmp_path / "node/none"]), here)
    assert (here[0] / "evals.csv").read_bytes() == (there[0] / "evals.csv").read_bytes()
    assert not (here[0] / "link").is_symlink()
    assert (here[1] / "evals.csv").read_text() == "an older one", "what does not travel stays"
    travel.unpack(travel.packed(there), here)
    assert (here[1] / "evals.csv").read_bytes() == (there[1] / "evals.csv").read_bytes()
    (there[0] / "evals.csv").write_text("damaged")
    with pytest.raises(ValueError, match=r"evals.csv is not as it was recorded"):
        travel.unpack(travel.packed(there), here)
    assert (here[0] / "evals.csv").read_text() == "a,b\n1,2\n"
    assert sorted(path.name for path in (tmp_path / "head").iterdir()) == ["0", "1"]


def checkpoint(folder: Path, step: int) -> None:
    place = folder.with_name(f"{folder.name}.partial") / f"checkpoints/{step:09d}"
    place.mkdir(parents=True)
    for name in ("state.pt", "manifest.json"):
        (place / name).write_text(f"{step}")


@pytest.mark.parametrize("url", ["file://{folder}/store", "memory://store"])
def test_the_newest_checkpoints_are_stored_and_found(url: str, tmp_path: Path) -> None:
    store, name, run, other = Store(url.format(folder=tmp_path)), "runs/a/f", tmp_path / "a/f", tmp_path / "b/f"
    store.keep(name, run)
    store.fetch(name, other)
    assert store.steps(name) == [] and not other.parent.exists()
    for step in (100, 200, 300):
        checkpoint(run, step)
        store.keep(name, run)
    assert store.steps(name) == ["000000200", "000000300"]
    torn = store.files.open(f"{store.root}/{name}/000000400/state.pt", "w") if url.startswith("memory") else None
    if torn:
        torn.close()
    store.fetch(name, other)
    assert newest_checkpoint([other]) == 300
    checkpoint(other, 500)
    store.fetch(name, other)
    assert newest_checkpoint([other]) == 500


def test_a_run_that_another_process_seems_to_train_is_told_by_its_words(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text(f"runs/x {BUSY}, 7 on n2 since then; wait for it\n")
    assert node.is_busy(log)
    log.write_text("x: diverged\n")
    assert not node.is_busy(log)
    said = [path.read_text(encoding="utf-8") for path in (ROOT / "pipeline/runs").glob("*.py")]
    assert sum(BUSY in text for text in said) >= 2, "the lock and the owner say so"


# Slurm, as far as it goes without.


@pytest.mark.parametrize(
    ("text", "minutes"), [("30:00", 30), ("1:00:00", 60), ("2-00:00:00", 2880), ("infinite", float("inf"))]
)
def test_time_limits_as_slurm_writes_them(text: str, minutes: float) -> None:
    assert slurm._minutes(text) == minutes


def test_a_node_has_room_for_as_many_as_it_has_cores_and_gpus_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.engines.slurm.shutil.which", lambda name: f"/usr/bin/{name}")
    on_gpus, on_cores = engine_of("slurm", ["cell.gpus=1", "cell.cpus=8"]), engine_of("slurm", ["cell.gpus=0"])
    monkeypatch.setattr(slurm, "_said", lambda words: NODES)
    assert (on_gpus.slots(), on_cores.slots()) == (2 * 4 + 2, 2 * 64 + 16 + 8)
    monkeypatch.setattr(slurm, "_said", lambda words: NODES.splitlines()[-1])
    with pytest.raises(Refused, match=r"has no GPU on a node that answers$"):
        on_gpus.slots()


NODES = """main* up 2 64 1-00:00:00 gpu:a100:4(S:0-1)
main* up 1 16+ 1-00:00:00 gpu:3,shard:9
old up 9 64 1-00:00:00 gpu:8
main* up 1 8 1-00:00:00 (null)"""


def test_a_task_is_not_queued_again_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, step = tmp_path / "run", tmp_path / "0.step"
    task = {"folders": [str(run)], "restarts": 2}
    assert slurm_task._done_with(task, step) is None
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert "came no further than env step 0" in str(slurm_task._done_with(task, step))
    checkpoint(run, 100)
    assert slurm_task._done_with(task, step) is None
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    checkpoint(run, 200)
    assert "met its time limit 3 times" in str(slurm_task._done_with(task, step))


def test_slurm_gives_whole_gpus_and_is_asked_for_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^cell.gpus=0.5: Slurm gives whole GPUs; nearest valid choice: 1$"):
        engine_of("slurm", ["cell.gpus=0.5"])
    monkeypatch.setattr("pipeline.engines.slurm.shutil.which", lambda name: None)
    with pytest.raises(SettingsError, match=r"^slurm.warn_s=120: that is all of slurm.minutes=2; .* value: 119$"):
        engine_of("slurm", ["slurm.minutes=2"])
    with pytest.raises(SettingsError, match=r"^engine=slurm: there is no sbatch here"):
        engine_of("slurm")
