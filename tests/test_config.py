"""params.yaml and the command line: what is composed, and what is refused with which words."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import modify_yaml, parse_yaml
from hydra import compose as hydra_compose
from hydra import initialize
from hydra.core.global_hydra import GlobalHydra
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from pipeline.config.command_line import check, parse
from pipeline.config.compose import SCIENCE, compose, compose_cell, register
from pipeline.config.key_help import key_help
from pipeline.config.params import load_params, parse_params
from pipeline.files import ROOT
from tom.settings import KINDS, names, settings_class
from tom.settings import train as train_settings
from tom.settings.agent import agent_settings
from tom.settings.fields import SettingsError

PARAMS = load_params()
BASE: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "params.yaml"))


def root_with(folder: Path, **changes: Any) -> Path:
    """A folder with a params.yaml like the real one but for some keys, `a__b` for `a.b`."""
    config = OmegaConf.create(BASE)
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value, merge=False, force_add=True)
    OmegaConf.save(config, folder / "params.yaml")
    return folder


@pytest.mark.parametrize(("method", "env", "scale"), list(product(PARAMS.methods, PARAMS.envs, PARAMS.scales)))
def test_every_cell_composes_at_every_scale(method: str, env: str, scale: str) -> None:
    config = compose_cell(method, env, scale)
    assert config["env"] == env
    assert config["weighting"]["name"] == PARAMS.part(method, "weighting")
    agent_settings(config)


def test_the_published_length_is_the_default() -> None:
    assert compose_cell("tom", "halfcheetah", "paper")["train"]["total_env_steps"] == 300_000
    assert compose_cell("tom", "hopper", "paper")["train"]["total_env_steps"] == 125_000


def test_the_published_model_of_humanoid_is_wider() -> None:
    widths = {env: compose_cell("tom", env, "paper")["dynamics"]["hidden"] for env in PARAMS.envs}
    assert widths == {**dict.fromkeys(PARAMS.envs, 200), "humanoid": 400}


@pytest.mark.parametrize("method", PARAMS.methods)
def test_the_target_entropy_is_the_released_one_in_the_units_of_its_actions(method: str) -> None:
    """-1 nat per dimension of an action as the environment takes it, in +-0.4 on Humanoid; scaling it by 0.4 adds
    log 0.4. MBPO's own protocol scales actions to +-1, as we do."""
    for env, half_range in (("halfcheetah", 1.0), ("humanoid", 0.4)):
        per_action = compose_cell(method, env, "paper")["backbone"]["target_entropy_per_action"]
        assert per_action + math.log(half_range) == pytest.approx(-1.0, abs=1e-12)
    if PARAMS.part(method, "backbone") == "mbpo":
        janner = compose_cell(method, "humanoid", "janner")["backbone"]["target_entropy_per_action"]
        assert 17 * janner == pytest.approx(-2.0)


def test_contact_cost_can_be_left_out() -> None:
    assert compose_cell("tom", "ant", "paper")["train"]["contact_cost"] is True
    assert compose_cell("tom", "ant", "paper", ["train.contact_cost=false"])["train"]["contact_cost"] is False


def test_precedence(tmp_path: Path) -> None:
    layers = [
        ("scales.quick.weighting.tom.clip", 2.0),
        ("scales.quick.envs.hopper.weighting.tom.clip", 3.0),
        ("all.weighting.tom.clip", 4.0),
        ("envs.hopper.weighting.tom.clip", 5.0),
        ("methods.tom.weighting.clip", 6.0),
        ("methods.tom.envs.hopper.weighting.clip", 6.5),
    ]
    changes: dict[str, Any] = {}
    for key, value in layers:
        changes[key.replace(".", "__")] = value
        root = root_with(tmp_path, **changes)
        assert compose_cell("tom", "hopper", "quick", root=root)["weighting"]["clip"] == value
    assert compose_cell("tom", "hopper", "quick", ["weighting.clip=7"], root=root)["weighting"]["clip"] == 7.0
    assert compose_cell("tom", "ant", "quick", root=root)["weighting"]["clip"] == 6.0
    assert compose_cell("mbpo", "hopper", "quick", root=root)["weighting"] == {"name": "uniform"}


def test_train_settings_follow_the_same_order(tmp_path: Path) -> None:
    root = root_with(tmp_path, all__train={"eval_episodes": 4}, methods__tom__train={"eval_episodes": 5})
    assert compose_cell("mbpo", "hopper", "quick", root=root)["train"]["eval_episodes"] == 4
    assert compose_cell("tom", "hopper", "quick", root=root)["train"]["eval_episodes"] == 5


def test_a_part_chosen_on_the_command_line_takes_its_own_settings(tmp_path: Path) -> None:
    root = root_with(tmp_path, methods__tom__weighting__clip=6.0)
    assert compose_cell("tom", "hopper", "quick", ["weighting=uniform"], root)["weighting"] == {"name": "uniform"}
    swapped = compose_cell("mbpo", "hopper", "quick", ["weighting=tom"], root)["weighting"]
    assert swapped["clip"] == 10.0, "a method's own setting is not for other methods"
    assert swapped["q_updates"] == BASE["scales"]["quick"]["weighting"]["tom"]["q_updates"]


def test_a_new_method_needs_only_params(tmp_path: Path) -> None:
    entry = {"weighting": {"name": "tom", "divergence": "kl"}, "loss": {"name": "nll"}}
    root = root_with(tmp_path, methods={**BASE["methods"], "tom_kl": entry})
    assert compose_cell("tom_kl", "hopper", "smoke", root=root)["weighting"]["divergence"] == "kl"


def test_whole_numbers_become_the_type_of_the_field() -> None:
    clip = compose_cell("tom", "hopper", "quick", ["weighting.clip=5"])["weighting"]["clip"]
    assert repr(clip) == "5.0"


WRONG_PARAMS = [
    ({"scale": "quik"}, "scale=quik", "nearest valid choice: quick"),
    ({"tracking": "wand"}, "tracking=wand", "nearest valid choice: wandb"),
    ({"gird": {}}, "gird", "nearest valid choice: grid"),
    ({"grid__seeds": []}, "grid.seeds=[]", "at least one"),
    ({"grid__methods": []}, "grid.methods=[]", "at least one"),
    ({"grid__envs": []}, "grid.envs=[]", "at least one"),
    ({"grid__seeds": 3}, "grid.seeds=3", "not a list"),
    ({"grid__seeds": [0, 0]}, "grid.seeds: 0", "twice"),
    ({"grid__seeds": [0, -1]}, "grid.seeds=-1", "nearest valid value: 0"),
    ({"grid__seeds": [1.5]}, "grid.seeds=1.5", "nearest valid value: 2"),
    ({"grid__seeds": ["a"]}, "grid.seeds=a", "nearest valid value: 0"),
    ({"grid__seeds": [True]}, "grid.seeds=True", "nearest valid value: 0"),
    ({"grid__methods": ["tom", "tomm"]}, "grid.methods=tomm", "nearest valid choice: tom"),
    ({"grid__envs": ["hoper"]}, "grid.envs=hoper", "nearest valid choice: hopper"),
    ({"methods__tom__weighting__name": "tomm"}, "methods.tom.weighting.name=tomm", "nearest valid choice: tom"),
    ({"methods__tom__weighting": {}}, "methods.tom.weighting.name", "valid choices:"),
    ({"methods__tom__weighting__clop": 3}, "methods.tom.weighting.clop=3", "nearest valid choice: clip"),
    ({"methods__tom__weighing": {}}, "methods.tom.weighing", "nearest valid choice: weighting"),
    ({"methods__tom__envs__hoper": {}}, "methods.tom.envs=hoper", "nearest valid choice: hopper"),
    ({"methods__tom__envs__ant__weighing": {}}, "methods.tom.envs.ant.weighing", "nearest valid choice: weighting"),
    ({"methods__tom__envs__ant__weighting__clop": 3}, "methods.tom.envs.ant.weighting.clop=3", "nearest valid choice"),
    ({"methods__tom__envs": 3}, "methods.tom.envs=3", "not a mapping"),
    ({"methods__a-b": {}}, "'a-b'", "nearest valid choice: a_b"),
    ({"methods": {}}, "methods", "at least one"),
    ({"methods__tom__like": "mbpp"}, "methods.tom.like=mbpp", "nearest valid choice: mbpo"),
    ({"methods__tom__like": "tom"}, "tom is like tom", "end it somewhere"),
    ({"methods__tom_kl__like": "tom", "methods__tom__like": "tom_kl"}, "is like tom", "end it somewhere"),
    ({"scales__quick__backbone__mbpo__like": "sacc"}, "scales.quick.backbone.mbpo.like=sacc", "choice: sac"),
    ({"all": {"loss": {"vagram": {"like": "vagram"}}}}, "vagram is like vagram", "end it somewhere"),
    ({"envs__hoper": {}}, "envs=hoper", "nearest valid choice: hopper"),
    ({"all": {"train": {"total_env_steps": "lots"}}}, "all.train.total_env_steps=lots", "nearest valid value: 300000"),
    ({"all": {"train": {"total_env_steps": 0}}}, "all.train.total_env_steps=0", "nearest valid value: 1"),
    ({"all": {"train": {"total_env_steps": None}}}, "all.train.total_env_steps=None", "nearest valid value"),
    ({"all": {"train": 3}}, "all.train=3", "not a mapping"),
    ({"all": {"weighting": {"clip": 3}}}, "all.weighting=clip", "valid choices"),
    ({"scales__quick__weighting__tom__name": "x"}, "scales.quick.weighting.tom.name=x", "nearest valid choice: tom"),
    ({"scales__quick__envs": {"ant_": {}}}, "scales.quick.envs=ant_", "nearest valid choice: ant"),
    ({"scales__quick__dynamics__mdn__restore_best": 1}, "restore_best=1", "true, false"),
    ({"scales__smoke__backbone__mbpo__real_fraction": 2}, "real_fraction=2", "nearest valid value: 1.0"),
]


@pytest.mark.parametrize(("changes", "key", "hint"), WRONG_PARAMS, ids=[str(case[1]) for case in WRONG_PARAMS])
def test_wrong_params_are_refused_in_one_line(changes: dict[str, Any], key: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        load_params(root_with(tmp_path, **changes))
    message = str(error.value)
    assert message.startswith("params.yaml: ")
    assert "\n" not in message
    assert key in message
    assert hint in message


@pytest.mark.parametrize("text", ["", "a: [", "a: 1\na: 2", "- 1", "scale: quick", "scale: ${nothing}", "\x00"])
def test_a_broken_file_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"^params\.yaml: [^\n]+$"):
        load_params(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^params\.yaml: "):
        load_params(tmp_path)


def test_a_contradiction_in_params_says_where_it_is(tmp_path: Path) -> None:
    root = root_with(tmp_path, all__train={"warmup_env_steps": 9_999_999})
    with pytest.raises(
        SettingsError, match=r"^params\.yaml: train: warmup_env_steps=9999999 .*nearest valid value: \d+$"
    ):
        compose_cell("tom", "hopper", "quick", root=root)


WRONG_ARGUMENTS = [
    ("method=tomm env=hopper", "method=tomm does not exist; nearest valid choice: tom"),
    ("method=tom env=hoper", "env=hoper does not exist; nearest valid choice: hopper; tom/README.md says how to add"),
    ("method=tom env=hopper lr=1e-3", "or dynamics.learning_rate or backbone.learning_rate"),
    (
        "method=tom env=hopper weighting.lr=1e-3",
        "choice: weighting.discriminator_learning_rate or weighting.q_learning_rate",
    ),
    ("method=tom env=hopper total_timesteps=9", "nearest valid choice: train.total_env_steps"),
    ("method=tom env=hopper scale=papr", "nearest valid choice: paper"),
    ("method=tom", "env= is missing; valid choices: hopper"),
    ("env=hopper", "method= is missing; valid choices: "),
    ("", "method= is missing"),
    ("method=tom env=hopper seed=-1", "seed=-1 is outside"),
    ("method=tom env=hopper seed=1.5", "seed=1.5 is not a whole number; nearest valid value: 2"),
    ("method=tom env=hopper resume=maybe", "resume=maybe is not true or false; nearest valid choice: resume=true"),
    ("method=tom env=hopper resume=1", "resume=1 is not true or false"),
    ("method=tom env=hopper checkpoint_every=-1", "checkpoint_every=-1 is outside"),
    (
        "method=tom env=hopper checkpoint_every=2.6",
        "checkpoint_every=2.6 is not a whole number; nearest valid value: 3",
    ),
    ("method=tom env=hopper checkpoint_every=often", "checkpoint_every=often is not a whole number"),
    ("method=tom env=hopper resum=false", "nearest valid choice: resume"),
    ("method=tom env=hopper device=gpu", "device=gpu does not exist"),
    ("method=tom env=hopper tracking=on", "tracking=on does not exist"),
    ("method=tom env=hopper weighting=tomm", "weighting=tomm does not exist; nearest valid choice: tom"),
    ("method=tom env=hopper weighting.clip=0.5", "weighting.clip=0.5 is outside [1.0, inf]; nearest valid value: 1.0"),
    (
        "method=tom env=hopper weighting.clop=5",
        "weighting.clop=5 is not a setting; nearest valid choice: weighting.clip",
    ),
    ("method=mbpo env=hopper weighting.clip=5", "weighting.clip=5 is not a setting"),
    ("method=tom env=hopper weighting.name=uniform", "nearest valid choice: tom"),
    ("method=tom env=hopper trian.eval_episodes=1", "nearest valid choice: train.eval_episodes"),
    ("method=tom env=hopper train.eval_episodes=many", "train.eval_episodes=many is not a number"),
    ("method=tom env=hopper train.eval_episodes=inf", "train.eval_episodes=inf is not a number"),
    ("method=tom env=hopper weighting.clip=nan", "weighting.clip=nan is not a number"),
    ("method=tom env=hopper train.eval_episodes=null", "train.eval_episodes=None is not a number"),
    ("method=tom env=hopper train.warmup_env_steps=9999999", "train: warmup_env_steps=9999999 must be below"),
    ("method=tom env=hopper train={a:1}", "train={'a': 1} is not a setting"),
    ("method=tom env=hopper +weighting.new=1", "keys can only be changed"),
    ("method=tom env=hopper ~weighting", "keys can only be changed"),
    ("method=tom,mbpo env=hopper", "add --multirun"),
    ("method=tom env=hopper quick", "quick is not key=value"),
    ("method=tom env=hopper =3", "=3 is not a setting"),
    ("method=tom env=hopper --mutlirun", "nearest valid choice: --multirun"),
    ("--multirn method=tom env=hopper", "unrecognized arguments: --multirn; nearest valid choice: --multirun"),
    ("method=tom env=hopper run_dir=", "run_dir="),
    ("method=tom env=hopper run_dir=~/x", "run_dir=~/x cannot be read; nearest valid choice: 'run_dir=\"~/x\"'"),
    ("method=tom env=hopper seeds=[0,1", "seeds=[0,1 cannot be read; nearest valid choice: 'seeds=\"[0,1\"'"),
    ("--multirun method=tom,mbpo env=hopper weighting.clip=5", "weighting.clip=5 is not a setting"),
    ("--multirun method=tom env=hopper seed=0,-1", "seed=-1 is outside"),
    (
        "method=sac env=hopper loss=vagram",
        "loss=vagram has no model to fit with backbone=sac; nearest valid choice: loss=nll",
    ),
    ("method=tom env=hopper backbone=sac", "weighting=tom has no model to fit with backbone=sac"),
    ("method=maac env=hopper backbone.path_length=0", "nearest valid choice: backbone=mbpo"),
    ("method=mbpo env=hopper backbone.path_length=2", "backbone.path_length=2 is not a setting"),
    (
        "method=tom env=hopper weighting.divergence=kl_simplex weighting.termination=mask",
        "nearest valid choice: termination=restart",
    ),
]


@pytest.mark.parametrize(("words", "message"), WRONG_ARGUMENTS)
def test_wrong_arguments_are_refused_in_one_line(words: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        check(parse(words.split()), PARAMS)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not str(error.value).startswith("params.yaml")


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        ("method=tom env=hopper seed=1 scale=smoke weighting.clip=5 run_dir=/x device=cpu tracking=off", 1),
        ("--multirun method=tom,mbpo env=hopper seed=range(0,3)", 6),
        ("-m method=glob(*) env=hopper", len(PARAMS.entries)),
        ("method=mbpo env=hopper weighting=tom weighting.clip=5", 1),
        ("method=tom env=hopper resume=false checkpoint_every=250", 1),
        ("method=tom env=hopper hydra.verbose=true", 1),
    ],
)
def test_good_arguments_pass(words: str, runs: int) -> None:
    assert len(check(parse(words.split()), PARAMS)) == runs


CLASSES = [train_settings.Settings, *(settings_class(kind, name) for kind in KINDS for name in names(kind))]
KNOWN = {field for settings_of_part in CLASSES for field in settings_of_part.__dataclass_fields__}


@settings(max_examples=60, deadline=None)
@given(section=st.sampled_from(["train", *KINDS]), key=st.from_regex(r"[a-z][a-z_]{0,12}", fullmatch=True))
def test_random_unknown_keys_are_refused(section: str, key: str) -> None:
    assume(key not in KNOWN)
    with pytest.raises(SettingsError, match=re.escape(f"{section}.{key}=1 is not a setting")):
        check(parse(["method=tom", "env=hopper", f"{section}.{key}=1"]), PARAMS)


def test_help_lists_every_setting_of_the_method() -> None:
    text = key_help(["method=tom"], PARAMS)
    for name in settings_class("weighting", "tom").__dataclass_fields__:
        assert name == "name" or re.search(rf"^weighting\.{name} +\S+ ", text, re.MULTILINE)
    assert "official code; cap on a normalised weight" in text


@pytest.mark.parametrize("words", ["method=tomm env=hopper", "method=tom env=hopper weighting.clip=0.5", "--foo"])
def test_the_command_refuses_fast_and_in_one_line(words: str) -> None:
    start = time.monotonic()
    command = [sys.executable, "-m", "pipeline.train", *words.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "valid" in done.stderr
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    "words", ["--cfg job method=tom env=hopper", "method=tom --cfg job env=hopper weighting=uniform"]
)
def test_the_composed_command_can_be_shown(words: str) -> None:
    command = [sys.executable, "-m", "pipeline.train", *words.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("method: tom\nenv: hopper\n")


def test_hydra_composes_what_was_checked() -> None:
    words = [
        "method=mbpo,tom",
        "env=hopper",
        "weighting=tom,pdml",
        "loss=vagram",
        "train.eval_episodes=7",
        "seed=0,1",
        "scale=smoke",
    ]
    runs = check(parse(["--multirun", *words]), PARAMS)
    assert len(runs) == 8
    register(PARAMS, runs)
    for run in runs:
        GlobalHydra.instance().clear()
        with initialize(version_base="1.3", config_path=None):
            command = hydra_compose("command", [f"{key}={value}" for key, value in run.items()])
        composed = OmegaConf.to_container(OmegaConf.masked_copy(command, list(SCIENCE)), resolve=True)
        assert json.dumps(composed) == json.dumps(compose(PARAMS, run))
        assert command.seed == run["seed"]


def test_runs_of_a_multirun_are_refused_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    words = ["-m", "method=tom,mbpo", "env=hopper", "scale=smoke", f"run_dir={tmp_path}"]
    command = [sys.executable, "-m", "pipeline.train", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("holds something that is not a run with these values") == 2
    assert "Traceback" not in done.stderr


def test_any_name_of_a_folder_will_do(tmp_path: Path) -> None:
    root = tmp_path / "it's ${mine} and = yours"
    for part in ("tom", "pipeline"):
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", root)
    (root / "taken").mkdir()
    (root / "taken/something").touch()
    words = ["-m", "method=tom", "env=hopper", "scale=smoke", "seed=0,1", "run_dir=taken"]
    command = [sys.executable, "-m", "pipeline.train", *words]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.count("holds something that is not a run with these values") == 2, done.stderr
    assert {path.name for path in root.iterdir()} == {"tom", "pipeline", "params.yaml", "taken", "runs"}


def test_checking_imports_nothing_heavy() -> None:
    doors = "pipeline.suites.configure, pipeline.suites.returns.work, pipeline.train, pipeline.config.command_line"
    code = f"import sys, {doors}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "dvc", "wandb", "pandas", "gymnasium", "mujoco"} & set(done.stdout.split())


def rewritten(folder: Path, text: str, **changes: Any) -> str:
    """The text of a params.yaml as a program leaves it that changes some keys, as `dvc exp run -S` does."""
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with modify_yaml(path) as values:
        for key, value in changes.items():
            first, *rest = key.split("__")
            section = values[first]
            for step in rest[:-1]:
                section = section[step]
            section[rest[-1]] = value
    return path.read_text(encoding="utf-8")


def test_params_mean_the_same_after_a_program_has_written_them(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert not re.search(r"<<|: [&*]", text), "an anchor is lost when a program writes the file"
    changed = parse_params(rewritten(tmp_path, text, scales__quick__backbone__sac__hidden=64))
    for part in ("sac", "mbpo"):
        assert changed.tuned("quick", "hopper", "backbone", part) == {
            **PARAMS.tuned("quick", "hopper", "backbone", part),
            "hidden": 64,
        }
    assert changed.methods == PARAMS.methods


def test_what_is_like_another_begins_as_it(tmp_path: Path) -> None:
    methods = {
        "first": {
            "weighting": {"name": "tom", "clip": 5.0},
            "loss": {"name": "nll"},
            "train": {"eval_episodes": 3},
            "envs": {"ant": {"weighting": {"clip": 7.0}, "train": {"eval_episodes": 4}}},
        },
        "second": {
            "like": "first",
            "weighting": {"divergence": "kl"},
            "envs": {"ant": {"train": {"eval_episodes": 5}}},
        },
        "third": {"like": "second", "weighting": {"name": "uniform"}},
    }
    params = load_params(root_with(tmp_path, methods={**BASE["methods"], **methods}))
    assert params.methods["second"] == {
        "weighting": {"name": "tom", "clip": 5.0, "divergence": "kl"},
        "loss": {"name": "nll"},
        "train": {"eval_episodes": 3},
        "envs": {"ant": {"weighting": {"clip": 7.0}, "train": {"eval_episodes": 5}}},
    }
    third = params.methods["third"]
    assert third["weighting"] == {"name": "uniform"} and third["envs"] == {"ant": {"train": {"eval_episodes": 5}}}


@pytest.mark.parametrize(("number", "seed"), [("010", 10), ("0x10", 16), ("1_000", 1000)])
def test_whole_numbers_are_those_that_dvc_reads(number: str, seed: int, tmp_path: Path) -> None:
    text = (
        (ROOT / "params.yaml").read_text(encoding="utf-8").replace("seeds:\n  - 0\n  - 1\n", f"seeds: [{number}]\n", 1)
    )
    assert parse_params(text).grid.seeds == (seed,) == tuple(parse_yaml(text, "params.yaml")["grid"]["seeds"])
    with pytest.raises(SettingsError, match="seeds=1:30 is not a whole number"):
        parse_params(text.replace(number, "'1:30'"))
