"""Data sets of others, by Minari's own package and D4RL's names: in, learned from, out again; what is refused."""

import dataclasses
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest

from pipeline.config.compose import compose_cell
from pipeline.runs.datasets import chosen, exported, folder, imported, replays
from pipeline.runs.ensure import Options, ensure_trained
from pipeline.runs.folder import Cell, Refused, different
from tests.commands import complaint, typed
from tom.core.recording import Recording
from tom.settings.fields import SettingsError

minari = pytest.importorskip("minari")
EpisodeBuffer = pytest.importorskip("minari.data_collector").EpisodeBuffer

LENGTHS = {"InvertedPendulum-v4": 12, "HalfCheetah-v4": 3, "Ant-v4": 2}  # episodes of 60 steps at most
ENVS = {"inverted_pendulum": "InvertedPendulum-v4", "halfcheetah": "HalfCheetah-v4", "ant": "Ant-v4"}
BREAK = 30  # a row at which an episode of the file below ends


@pytest.fixture(scope="module", autouse=True)
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data sets of a few episodes that Minari collected itself, and folders of Minari and of this project."""
    root = tmp_path_factory.mktemp("places")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("MINARI_DATASETS_PATH", str(root / "minari"))
        patch.setenv(folder.DATASETS, str(root / "datasets"))
        for id, count in LENGTHS.items():
            env = gymnasium.make(id, max_episode_steps=60)
            env.action_space.seed(0)
            played = [episode(env, seed) for seed in range(count)]
            minari.create_dataset_from_buffers(f"theirs/{id.lower()}-v0", played, env=env)
            env.close()
        yield root


def episode(env: Any, seed: int) -> Any:
    """One episode of random actions, as Minari keeps it."""
    observations, steps = [env.reset(seed=seed)[0]], list[Any]()
    while not (steps and any(steps[-1][2:4])):
        action = env.action_space.sample()
        observation, *ends = env.step(action)
        observations.append(observation)
        steps.append((action, *ends[:3]))
    actions, rewards, terminations, truncations = map(list, zip(*steps, strict=True))
    return EpisodeBuffer(
        observations=np.array(observations),
        actions=np.array(actions),
        rewards=rewards,
        terminations=terminations,
        truncations=truncations,
        infos={"secret": np.zeros(len(rewards))},
    )


def theirs(env: str) -> Any:
    return minari.load_dataset(f"theirs/{ENVS[env].lower()}-v0")


def main_file(env: str) -> Path:
    return Path(theirs(env).storage.data_path) / "main_data.hdf5"


def kept(path: Path, env: str) -> folder.Dataset:
    """The data set that an import leaves behind."""
    line = imported.imported(path, env)
    return folder.load(Path(line.split(":")[0]), env)


def episodes_of(env: str) -> dict[str, np.ndarray]:
    """What Minari itself reads, joined as rows."""
    found = list(theirs(env).iterate_episodes())
    rows = {name: np.concatenate([getattr(each, name) for each in found]) for name in ("actions", "rewards")}
    rows |= {"obs": np.concatenate([each.observations[:-1] for each in found])}
    rows |= {"next_obs": np.concatenate([each.observations[1:] for each in found])}
    return rows | {
        name: np.concatenate([getattr(each, name) for each in found]) for name in ("terminations", "truncations")
    }


@pytest.mark.parametrize("env", ENVS)
def test_what_minari_collected_is_read_row_by_row(env: str) -> None:
    data, rows = kept(main_file(env).parents[1], env), episodes_of(env)
    found, size = data.transitions, data.manifest["observation_dim"]
    np.testing.assert_array_equal(found.obs, rows["obs"][:, :size].astype(np.float32))
    np.testing.assert_array_equal(found.next_obs, rows["next_obs"][:, :size].astype(np.float32))
    np.testing.assert_array_equal(found.reward, rows["rewards"].astype(np.float32))
    np.testing.assert_array_equal(found.terminated, rows["terminations"])
    np.testing.assert_array_equal(found.truncated, rows["truncations"])
    scale = 3.0 if env == "inverted_pendulum" else 1.0
    np.testing.assert_allclose(found.action * scale, rows["actions"], rtol=1e-6)
    assert len(found.resets) == LENGTHS[ENVS[env]] == found.ends.sum() and not data.contact_cost
    assert data.policy == {} and data.manifest["source"] == f"Minari theirs/{ENVS[env].lower()}-v0"


@pytest.mark.parametrize("env", ENVS)
def test_in_and_out_and_in_again(env: str) -> None:
    """Equal row by row; Minari opens what was written, and the second import has the first one's content."""
    first = kept(main_file(env), env)
    name = f"ours/{env}-v0"
    place = folder.datasets() / first.manifest["content"]
    line = exported.exported(place, name)
    assert line == f"wrote {name}: {len(first.transitions)} transitions of {env} in {LENGTHS[ENVS[env]]} episodes"
    out = minari.load_dataset(name)
    assert out.spec.env_spec.id == ENVS[env]
    for mine, other in zip(out.iterate_episodes(), theirs(env).iterate_episodes(), strict=True):
        size = mine.observations.shape[1]
        np.testing.assert_array_equal(mine.observations, other.observations[:, :size].astype(np.float32))
        np.testing.assert_allclose(mine.actions, other.actions, rtol=1e-6)
        for each in ("rewards", "terminations", "truncations"):
            np.testing.assert_array_equal(getattr(mine, each).astype(np.float32), getattr(other, each).astype("f4"))
    again = kept(Path(out.storage.data_path), env)
    if env != "inverted_pendulum":  # whose actions are divided by three
        assert again.manifest["content"] == first.manifest["content"]
    np.testing.assert_array_equal(again.transitions.obs, first.transitions.obs)
    assert "already exists" in complaint(typed("export", "dataset", place, name))


def d4rl(path: Path, **changes: Any) -> Path:
    """HalfCheetah's rows under D4RL's names, two episodes and a part of one; None leaves an array out."""
    rows = episodes_of("halfcheetah")
    ends = np.zeros(100, bool)
    ends[[59]] = True
    arrays = {
        "observations": rows["obs"][:100],
        "actions": rows["actions"][:100],
        "rewards": rows["rewards"][:100],
        "next_observations": rows["next_obs"][:100],
        "terminals": np.zeros(100, bool),
        "timeouts": ends,
        **changes,
    }
    arrays = {name: array for name, array in arrays.items() if array is not None}
    if path.suffix == ".npz":
        np.savez(path, **arrays)
        return path
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file["infos/qpos"] = np.zeros(3)
    return path


@pytest.mark.parametrize("ending", ["npz", "hdf5"])
def test_d4rl_s_names_are_read(ending: str, tmp_path: Path) -> None:
    data = kept(d4rl(tmp_path / f"mine.{ending}"), "halfcheetah")
    rows = episodes_of("halfcheetah")
    np.testing.assert_array_equal(data.transitions.obs, rows["obs"][:100].astype(np.float32))
    np.testing.assert_array_equal(data.transitions.action, rows["actions"][:100])
    np.testing.assert_array_equal(data.transitions.resets, rows["obs"][[0, 60]].astype(np.float32))
    assert data.transitions.ends.nonzero()[0].tolist() == [59], "the last episode is cut when it is learned from"
    assert data.transitions.closed().ends.nonzero()[0].tolist() == [59, 99]


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def with_array(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        with h5py.File(path, "a") as file:
            place = name if name in file else f"episode_1/{name}"
            array = file[place][()]
            del file[place]
            if (changed := change(array)) is not None:
                file[place] = changed

    return spoil


def put(place: Any, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(float)
        array[place] = value
        return array

    return change


def with_metadata(**changes: Any) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        place = path.parent / "metadata.json"
        found = json.loads(place.read_text()) | changes
        place.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))

    return spoil


def without_episode(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["episode_1"]


def arrow(path: Path) -> None:
    path.unlink()
    with_metadata(data_format="arrow")(path)


OTHER = json.dumps({"id": "Hopper-v4"})
NEWER = json.dumps({"id": "HalfCheetah-v5"})
BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "torn": (torn, "main_data.hdf5 is no whole file of Minari's"),
    "no file": (lambda path: path.write_bytes(b"not hdf5"), "is no whole file of Minari's"),
    "an episode is missing": (without_episode, "has 2 of 3 episodes; give a whole file"),
    "an array is missing": (with_array("rewards", lambda array: None), "rewards"),
    "a row is missing": (with_array("observations", lambda array: array[:-1]), "60 rewards, and not as many of every"),
    "other sizes": (
        with_array("observations", lambda array: array[:, :5]),
        "all the input array dimensions except for",
    ),
    "NaN": (
        with_array("observations", put((7, 3), np.nan)),
        r"obs\[67, 3\] is nan; nearest valid choice: leave the row",
    ),
    "infinite reward": (with_array("rewards", put(3, np.inf)), r"reward\[63\] is inf"),
    "action out of range": (with_array("actions", put((2, 0), 1.5)), r"action\[62, 0\] is 1.5; .* scaled to \[-1, 1\]"),
    "a flag that is none": (with_array("terminations", put(5, 0.5)), r"terminated\[65\] is 0.5; .*: 0 or 1"),
    "another environment": (with_metadata(env_spec=OTHER), "has data of Hopper-v4; give data of HalfCheetah-v4"),
    "another version": (
        with_metadata(env_spec=NEWER),
        "has data of HalfCheetah-v5, another version with other rewards",
    ),
    "no environment": (with_metadata(env_spec=None), "has data of an environment that they do not name"),
    "another storage": (arrow, "is stored as arrow; give a data set of data_format=hdf5"),
    "broken metadata": (lambda path: (path.parent / "metadata.json").write_text("{"), "metadata.json is broken"),  # type: ignore[dict-item, return-value]
}


def refused(path: Path, env: str, words: str) -> None:
    """One sentence, and nothing is kept."""
    before = sorted(folder.datasets().glob("*"))
    with pytest.raises(Refused, match=words) as refusal:
        imported.imported(path, env)
    assert "\n" not in str(refusal.value)
    assert sorted(folder.datasets().glob("*")) == before


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_of_minari_s_is_refused(case: str, tmp_path: Path) -> None:
    spoil, words = BROKEN[case]
    copy = Path(shutil.copytree(main_file("halfcheetah").parents[1], tmp_path / "copy"))
    spoil(copy / "data/main_data.hdf5")
    refused(copy, "halfcheetah", words)


STILL = np.zeros(100, bool)
LACKING: dict[str, tuple[dict[str, Any], str]] = {
    "an end is missing": ({"timeouts": STILL}, r"next_obs\[59\] is not obs\[60\] and no episode ends there; .* = 1"),
    "an array is missing": (
        {"next_observations": None},
        "has no next_observations; data sets of -v2 have observations",
    ),
    "other lengths": (
        {"rewards": np.zeros(99)},
        r"has other numbers of rows in each array, or none: .* rewards \[99\]",
    ),
    "other actions": ({"actions": np.zeros((100, 3))}, "17 observations and 3 actions are not those of halfcheetah; "),
    "other observations": ({"observations": np.zeros((100, 16))}, "16 observations and 6 actions are not those of"),
    "objects": ({"rewards": np.array([None] * 100)}, "is no whole file of D4RL's: Object arrays cannot be loaded"),
}


@pytest.mark.parametrize("case", LACKING)
def test_a_broken_file_of_d4rl_s_is_refused(case: str, tmp_path: Path) -> None:
    changes, words = LACKING[case]
    refused(d4rl(tmp_path / "mine.npz", **changes), "halfcheetah", words)


def test_what_is_not_there_or_torn_or_of_no_environment_is_refused(tmp_path: Path) -> None:
    whole = d4rl(tmp_path / "mine.npz")
    torn(whole)
    refused(whole, "halfcheetah", "is no whole file of D4RL's")
    torn(d4rl(tmp_path / "mine.hdf5"))
    refused(tmp_path / "mine.hdf5", "halfcheetah", "is no whole file of D4RL's")
    refused(tmp_path / "none", "halfcheetah", "is not there; give a Minari data set's folder")
    refused(tmp_path, "halfcheetah", "has no main_data.hdf5")
    assert "envs=hoper does not exist; nearest valid choice: hopper" in complaint(
        typed("dataset", "import", "x", "hoper")
    )


def test_a_part_has_a_content_of_its_own(tmp_path: Path) -> None:
    whole = kept(main_file("halfcheetah"), "halfcheetah")
    place = folder.datasets() / whole.manifest["content"]
    line = imported.part(place, 50, 110)
    found = folder.load(Path(line.split(":")[0]))
    assert found.manifest["source"] == f"rows 50 to 110 of {whole.manifest['content']}"
    np.testing.assert_array_equal(found.transitions.obs, whole.transitions.obs[50:110])
    assert found.manifest["content"] != whole.manifest["content"] and found.manifest["content"] in line
    assert imported.part(place, 0, len(whole.transitions)).split(":")[0] == str(place), (
        "the same content, the same name"
    )
    assert "rows 5 to 5000 are not in" in complaint(typed("dataset", "part", place, 5, 5000))


def cell(word: str, *changes: str) -> Cell:
    words = ("train.warmup_env_steps=0", "train.offline_env_steps=40", f"train.offline_dataset={word}")
    short = ("train.total_env_steps=80", "train.round_env_steps=20", "train.eval_every_env_steps=40")
    config = compose_cell("mbpo", "halfcheetah", "smoke", [*words, *short, *changes])
    return Cell("mbpo", "halfcheetah", 0, "smoke", config, "this code")


def test_a_run_begins_with_data_and_what_it_added_is_exported(tmp_path: Path) -> None:
    """The first 40 steps are offline; so the replay has 40 of its own, after those of the data."""
    word = kept(main_file("halfcheetah"), "halfcheetah").manifest["content"]
    options = Options(device="cpu", checkpoint_every=40)
    run = Cell(**{**vars(cell(word, "train.total_env_steps=120")), "until": 80})
    ensure_trained(run, tmp_path / "run", options)
    assert "40 transitions of halfcheetah in 1 episodes" in exported.exported(tmp_path / "run", "ours/run-v0")
    recording, env, counted = replays.replay_of(tmp_path / "run")
    assert (len(recording), env, counted) == (40, "halfcheetah", True)
    np.testing.assert_array_equal(recording.next_obs[:-1], recording.obs[1:])
    ensure_trained(cell(word), tmp_path / "whole", options)
    with pytest.raises(Refused, match=r"whole kept no replay; give a data set, or a run with keep_replay=true"):
        exported.exported(tmp_path / "whole", "ours/whole-v0")
    ensure_trained(cell(word), tmp_path / "kept", dataclasses.replace(options, keep_replay=True))
    assert different(tmp_path / "kept", tmp_path / "whole") == []
    found = folder.load(tmp_path / "kept", "halfcheetah")
    np.testing.assert_array_equal(found.transitions.obs, recording.obs)
    assert "40 transitions of halfcheetah in 1 episodes" in exported.exported(tmp_path / "kept", "ours/kept-v0")


def test_a_run_begins_with_what_minari_collected_of_another_range_of_actions(tmp_path: Path) -> None:
    word = kept(main_file("inverted_pendulum"), "inverted_pendulum").manifest["content"]
    config = {**cell(word).config, "env": "inverted_pendulum"}
    line = ensure_trained(
        Cell("mbpo", "inverted_pendulum", 0, "smoke", config, "code"), tmp_path / "run", Options("cpu")
    )
    assert "trained 80 env steps" in line


def test_a_cell_is_named_by_its_data_and_refused_without_them(tmp_path: Path) -> None:
    word, other = (
        imported.imported(path, "halfcheetah").rpartition("=")[2]
        for path in (main_file("halfcheetah"), d4rl(tmp_path / "mine.npz"))
    )
    assert cell(word).fingerprint != cell(other).fingerprint
    with pytest.raises(Refused, match=r"train.offline_dataset=data-0{16} is not in "):
        ensure_trained(cell("data-" + 16 * "0"), tmp_path / "run", Options(device="cpu"))
    assert not (tmp_path / "run.partial").exists(), "refused before anything is begun"


def test_data_whose_rewards_count_otherwise_are_refused() -> None:
    data = kept(main_file("ant"), "ant")
    train = {"offline_dataset": data.manifest["content"], "contact_cost": True}
    with pytest.raises(SettingsError, match=r"train.contact_cost=true is not how .* were counted; .* value: false"):
        chosen.data_of({"env": "ant", "train": train})
    with pytest.raises(Refused, match="is a data set of ant, not of hopper"):
        chosen.data_of({"env": "hopper", "train": train})
    found = chosen.data_of({"env": "ant", "train": {**train, "contact_cost": False}})
    assert isinstance(found, Recording) and len(found) == len(data.transitions)
    assert chosen.data_of({"env": "ant", "train": {}}) is None
