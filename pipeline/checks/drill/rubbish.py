"""Configurations that must not be trained: typed on the command line, written into params.yaml, by hand and generated.

Each has to be refused by the real command: within seconds, with code 2, in one line that names the key and a way out,
and without leaving anything behind.
"""

import dataclasses
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.checks.drill.trial import Outcome, run
from pipeline.config.compose import classes_of
from pipeline.config.params import load_params
from pipeline.files import ROOT

FASTEST_S = 3.0
WAYS_OUT = ("valid", "write", "add", "at least one")  # a refusal tells what would be accepted, or what to do
GENERATED = 60  # of each kind


@dataclass(frozen=True)
class Rubbish:
    """Words for `pipeline.train`, or a whole params.yaml for `tom repro`; the refusal has to hold `key`."""

    key: str
    words: Sequence[str] = ()
    params: str = ""


TYPED = {  # the words after method=tom env=hopper scale=smoke -> what the refusal must name
    "weighting.clop=5": "weighting.clop",
    "weighting.clip=0.5": "weighting.clip=0.5",
    "weighting.clip=-1": "weighting.clip=-1",
    "weighting.clip=nan": "weighting.clip=nan",
    "weighting.clip=many": "weighting.clip=many",
    "weighting.clip=[1,2]": "weighting.clip",
    "weighting.clip={a:1}": "weighting.clip",
    "weighting.clip=": "weighting.clip",
    "weighting.clip=null": "weighting.clip",
    "weighting=tomm": "weighting=tomm",
    "weighting=": "weighting=",
    "weighting.name=uniform": "weighting.name",
    "weighting.divergence=chi3": "weighting.divergence=chi3",
    "weighting.termination=stop": "weighting.termination=stop",
    "weighting.exact_constant=maybe": "weighting.exact_constant=maybe",
    "weighting.discriminator_updates=1.5": "weighting.discriminator_updates=1.5",
    "loss=nil": "loss=nil",
    "loss=vagram dynamics=linear": "loss=vagram",
    "loss=vagram backbone=sac": "backbone=sac",
    "loss=model_advantage loss.expectation=mean": "expectation=mean",
    "loss=model_advantage loss.value_weight=0 loss.anchor=0": "value_weight=0",
    "loss=model_advantage loss.samples=0 loss.anchor=0": "samples=0",
    "dynamics=mdnn": "dynamics=mdnn",
    "dynamics.hidden=0": "dynamics.hidden=0",
    "dynamics.members=3": "dynamics.members",
    "backbone=ppo": "backbone=ppo",
    "backbone=sac": "backbone=sac",
    "backbone.discount=1.5": "backbone.discount=1.5",
    "backbone.discount=1": "backbone.discount=1",
    "backbone.real_fraction=2": "backbone.real_fraction=2",
    "backbone.rollout_length=0": "backbone.rollout_length=0",
    "train.total_env_steps=0": "train.total_env_steps=0",
    "train.total_env_steps=1e3": "train.total_env_steps",
    "train.total_env_steps=10": "warmup_env_steps",
    "train.warmup_env_steps=9999999": "warmup_env_steps=9999999",
    "trian.eval_episodes=1": "trian.eval_episodes",
    "train.eval_episodes=true": "train.eval_episodes",
    "train={}": "train=",
    "seed=-1": "seed=-1",
    "seed=1.5": "seed=1.5",
    "seed=one": "seed=one",
    "seed=99999999999": "seed=99999999999",
    "device=gpu": "device=gpu",
    "tracking=on": "tracking=on",
    "resume=maybe": "resume=maybe",
    "checkpoint_every=-5": "checkpoint_every=-5",
    "until=250": "until=250",
    "until=soon": "until=soon",
    "until=-300": "until=-300",
    "run_dir=": "run_dir=",
    "run_dir=params.yaml": "run_dir=params.yaml",
    "+weighting.new=1": "weighting.new",
    "~weighting": "weighting",
    "quick": "quick",
    "=3": "=3",
    "seed=0,1": "seed=0,1",
    "--mutlirun": "--mutlirun",
    "method=to/m": "method=to/m",
    "env=../hopper": "env=../hopper",
    "scale=papr": "scale=papr",
    "weighting.divergence=kl_simplex weighting.termination=mask": "termination=mask",
    "weighting.clip=${weighting.clip}": "weighting.clip",
}
WRITTEN = {  # what is put in place of the first text in params.yaml -> what the refusal must name
    ("scale: quick", "scale: quik"): "scale=quik",
    ("scale: quick", "scale: quick\nuntil: 3000"): "until",
    (
        "  envs:\n  - hopper\n  - halfcheetah\n",
        "  until: 3100\n  envs:\n  - hopper\n  - halfcheetah\n",
    ): "grid.until=3100",
    ("  envs:\n  - hopper\n  - halfcheetah\n", "  until: {hoper: 3000}\n  envs:\n  - hopper\n"): "hoper",
    ("weights:   ", "weights:\n  until: 3000\n#  "): "weights.until=3000",
    ("    until: 40000\n", "    until: soon\n"): "evidence.grids[0].until=soon",
    ("  - methods: [mbpo, tom]\n", "  - methods: [mbpo, mbpo]\n"): "evidence.grids[0].methods",
    ("scale: quick", "scale:"): "scale",
    ("scale: quick", "scale: ${scale}"): "scale",
    ("scale: quick", "scale: ${scale"): "params.yaml",
    ("scale: quick", "sacle: quick"): "sacle",
    ("tracking: wandb", "tracking: 3"): "tracking=3",
    ("\ngrid:", "\ngird:"): "gird",
    ("  - hopper\n", "  - hoper\n"): "grid.envs=hoper",
    ("  - hopper\n", "  - ../x\n"): "grid.envs=../x",
    ("  - mbpo\n", "  - mbpo\n  - mbpo\n"): "grid.methods",
    ("  - mbpo\n  - tom\n", ""): "grid.methods",
    ("  - 0\n  - 1\n", "  - 0\n  - 0\n"): "grid.seeds",
    ("  - 0\n  - 1\n", "  - -1\n"): "grid.seeds=-1",
    ("  - 0\n  - 1\n", "  - a\n"): "grid.seeds=a",
    ("  - 0\n  - 1\n", "  - 0.5\n"): "grid.seeds=0.5",
    ("  - 0\n  - 1\n", ""): "grid.seeds",
    ("\nall: {}", "\nall: 3"): "all=3",
    ("\nall: {}", "\nall: {train: {total_env_steps: lots}}"): "all.train.total_env_steps=lots",
    ("\nall: {}", "\nall: {train: {total_env_steps: -3}}"): "all.train.total_env_steps=-3",
    ("\nall: {}", "\nall: {train: {total_env_step: 3}}"): "all.train.total_env_step",
    ("\nall: {}", "\nall: {train: {warmup_env_steps: 99999999}}"): "warmup_env_steps=99999999",
    ("\nall: {}", "\nall: {train: {total_env_steps: ${all.train.total_env_steps}}}"): "params.yaml",
    ("\nall: {}", "\nall: {weighting: {tomm: {clip: 3}}}"): "tomm",
    ("\nall: {}", "\nall: {backbone: {mbpo: {discount: 2}}}"): "discount=2",
    ("\n  tom_kl:", "\n  tom-kl:"): "tom-kl",
    ("\n  tom_kl:", "\n  tom/kl:"): "tom/kl",
    ("\n  tom_kl:", "\n  tom:"): "params.yaml",
    ("      name: uniform", "      name: unifrom"): "unifrom",
    ("      name: uniform", "      nmae: uniform"): "weighting",
    ("  hopper: {}", "  hoper: {}"): "hoper",
    ("  hopper: {}", "  hopper: 3"): "hopper=3",
    ("  quick:\n", "  qui-ck:\n"): "qui-ck",
    ("methods: ", "methods: ["): "params.yaml",
    ("scale: quick", "scale: quick\n\tx: 1"): "params.yaml",
}
BROKEN = (" ", "a: [", "a: 1\na: 2", "- 1", "scale: quick", "scale: ${nothing}", "\x00", "!!python/object:os.x {}")


def rubbish(jobs: int, seed: int) -> Iterator[Outcome]:
    """All of it; what was not refused as it should be is listed."""
    cases = [*by_hand(), *generated(seed)]
    with ThreadPoolExecutor(jobs) as pool:
        faults = [fault for fault in pool.map(refused, cases) if fault]
    what = f"rubbish refused within {FASTEST_S:g} s, key named"
    yield Outcome(what, len(cases) - len(faults), len(cases), "; ".join(faults[:5]))


def by_hand() -> Iterator[Rubbish]:
    """Faults that somebody thought of."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = text.replace(f"scale: {load_params().scale}", "scale: quick", 1)
    for words, key in TYPED.items():
        yield Rubbish(key, ["method=tom", "env=hopper", "scale=smoke", *words.split()])
    for (old, new), key in WRITTEN.items():
        if old in text:
            yield Rubbish(key, params=text.replace(old, new, 1))
    for content in BROKEN:
        yield Rubbish("params.yaml", params=content)


def generated(seed: int) -> Iterator[Rubbish]:
    """Misspelt keys, and values outside of the range or of another type, of settings drawn at random."""
    draws = random.Random(seed)
    sections = classes_of({"weighting": "tom", "loss": "nll", "dynamics": "mdn", "backbone": "mbpo"})  # of a tom run
    fields = [(section, field) for section, settings in sections.items() for field in dataclasses.fields(settings)]
    known = {field.name for _, field in fields}
    tunable = [(section, field) for section, field in fields if field.name != "name"]
    for section, field in draws.sample(tunable, GENERATED):
        letters = list(field.name)
        place = draws.randrange(len(letters))
        letters[place] = draws.choice("abcdefghijklmnopqrstuvwxyz")
        if (name := "".join(letters)) not in known:
            yield _typed(section, name, 1)
    for section, field in draws.sample(tunable, GENERATED):
        rule = field.metadata
        wrong = [["what"], "what" if "low" in rule or "options" not in rule else "whatever"]
        wrong += [rule["low"] - 1] if "low" in rule else []
        wrong += [rule["high"] * 2 + 1] if rule.get("high", float("inf")) < float("inf") else []
        yield _typed(section, field.name, draws.choice(wrong))


def _typed(section: str, name: str, value: Any) -> Rubbish:
    text = str(value).replace("'", "").replace(" ", "")
    return Rubbish(f"{section}.{name}", ["method=tom", "env=hopper", "scale=smoke", f"{section}.{name}={text}"])


def refused(case: Rubbish) -> str:
    """Empty if the real command refuses it as it should, else what was wrong."""
    with tempfile.TemporaryDirectory(prefix="rubbish-") as folder:
        root = Path(folder)
        command = [sys.executable, "-m", "pipeline.train", *case.words]
        if case.params:
            command = [sys.executable, "-m", "pipeline.app", "repro", "--jobs", "1"]
        for package in ("tom", "pipeline"):
            shutil.copytree(ROOT / package, root / package)
        text = case.params or (ROOT / "params.yaml").read_text(encoding="utf-8")
        (root / "params.yaml").write_text(text, encoding="utf-8")
        before = sorted(os.listdir(root))
        clock = time.monotonic()
        done = run(command, root)
        seconds = time.monotonic() - clock
        left = sorted(set(os.listdir(root)) - set(before))
    what = " ".join(case.words[3:]) or case.key
    if done.returncode != 2 or len(done.stderr.strip().splitlines()) != 1:
        return f"{what}: code {done.returncode}, {done.stderr.strip()[-200:]!r}"
    if case.key not in done.stderr or not any(word in done.stderr for word in WAYS_OUT):
        return f"{what}: {done.stderr.strip()[:200]!r} does not name {case.key} and a way out"
    if seconds > FASTEST_S:
        return f"{what}: refused after {seconds:.1f} s"
    return f"{what}: left {', '.join(left)}" if left else ""
