"""The whole pipeline at scale smoke, through DVC, in a copy of the repository: what runs after which edit."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[1]
ROAD = "  methods: [mbpo]\n  compared: [mbpo]\n  seeds: [0, 1]\n  strengths: [0.5]\n  offline: {rounds: 1}\n"
ABLATION = (
    "ablation:\n  scale: smoke\n  base: tom\n  target: tom_kl\n  envs: [hopper]\n  seeds: [0]  # of the suite\n\n"
)
GRID = "grid:\n  methods: [mbpo, tom]\n  envs: [hopper]\n  seeds: [0]\n"


class Clone:
    """A copy of the repository's tracked files, with a small grid, and DVC in it."""

    def __init__(self, folder: Path):
        self.folder, self.reads = folder, folder.with_suffix(".reads")
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in filter(None, listed.stdout.split("\0")):
            if not name.startswith(
                (
                    "reports/results",
                    "reports/cells",
                    "reports/tables",
                    "reports/figures",
                    "reports/road",
                    "reports/gorge",
                    "reports/index.html",
                    "dvc.lock",
                )
            ):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        params = (folder / "params.yaml").read_text()
        params = re.sub(r"(?ms)^grid:.*?(?=^methods:)", GRID, params)
        params = params.replace("  offline: {}", "", 1)
        params = re.sub(r"(?ms)^(road:[^\n]*\n).*?(?=^  world:)", rf"\g<1>{ROAD}", params)
        self.params = params.replace("scale: quick", "scale: smoke", 1).replace("tracking: wandb", "tracking: off", 1)
        self.write(self.params)
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)

    def write(self, params: str) -> None:
        (self.folder / "params.yaml").write_text(params)

    def dvc(self, *words: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        noted = {"PYTHONPATH": str(ROOT / "tests/reads"), "READS": str(self.reads)}
        environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **noted}
        command = [sys.executable, "-m", "dvc", *words]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def python(self, *words: str) -> str:
        """What a command in the copy says; it must succeed."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        done = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def repro(self, *targets: str) -> set[str]:
        """The stages that ran, of all or of those that these need; the reproduction must succeed."""
        done = self.dvc("repro", *targets)
        assert done.returncode == 0, done.stdout + done.stderr
        running = [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]
        return set(running)

    def bytes(self, folder: str) -> dict[str, bytes]:
        root = self.folder / folder
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def trained(stages: set[str]) -> set[str]:
    return {stage for stage in stages if stage.startswith("train@")}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("clone"))


def test_from_nothing_to_figures_and_then_only_what_an_edit_makes_stale(clone: Clone) -> None:
    everything = {"configure", "train@mbpo-hopper-0", "train@tom-hopper-0", "aggregate", "plot"}
    everything |= {"age", "age_plot", "weights_tables", "weights_plot", "ablation_tables", "ablation_plot"}
    everything |= {"evidence_tables", "evidence_plot", "crossings_tables", "crossings_plot"}
    everything |= {f"{suite}_{part}" for suite in ("finetune", "meta", "networked") for part in ("tables", "plot")}
    everything |= {
        "road",
        "gorge",
        "road_tables",
        "road_plot",
        "coverage",
        "claims",
        "report_tables",
        "report_figures",
        "page",
    }
    assert clone.repro() == everything
    result = clone.bytes("reports/results/smoke/tom/hopper/0")
    assert {"evals.csv", "train.csv", "config.yaml", "policy.npz", "provenance.json", "timing.csv"} == set(result)
    assert (clone.folder / "reports/tables/returns/returns.csv").is_file()
    assert (clone.folder / "reports/figures/returns/learning_curves.png").is_file()
    assert clone.repro() == set()

    for page in ("README.md", "pipeline/runs/README.md", "tom/README.md"):
        with (clone.folder / page).open("a") as readme:
            readme.write("another text\n")
    assert clone.repro() == set()
    with (clone.folder / "reports/deviations.md").open("a") as register:
        register.write("another text\n")
    assert clone.repro() == {"page"}  # it shows the register

    clone.write(
        clone.params.replace("weighting:\n      name: tom\n", "weighting:\n      name: tom\n      clip: 7.0\n", 1)
    )
    assert trained(clone.repro("aggregate")) == {"train@tom-hopper-0"}

    clone.write(clone.params.replace("seeds: [0]", "seeds: [0, 1]", 1))  # back to the first values, and a new seed
    tables, figures = clone.bytes("reports/tables"), clone.bytes("reports/figures")
    assert trained(clone.repro()) == {"train@tom-hopper-0", "train@mbpo-hopper-1", "train@tom-hopper-1"}
    again = clone.bytes("reports/results/smoke/tom/hopper/0")
    assert again == result, "found in runs/, clock and all: not trained again"
    assert set(clone.bytes("reports/tables")) == set(tables)
    assert set(clone.bytes("reports/figures")) == set(figures)


def test_report_comes_back_with_the_same_bytes_without_training(clone: Clone) -> None:
    folders = ("reports/tables", "reports/figures")
    before, page = {folder: clone.bytes(folder) for folder in folders}, clone.folder / "reports/index.html"
    html = page.read_bytes()
    for folder in folders:
        shutil.rmtree(clone.folder / folder)
    page.unlink()
    ran = clone.repro()
    assert not trained(ran)
    assert {"aggregate", "plot", "coverage", "claims", "report_tables", "report_figures", "page"} <= ran
    assert {folder: clone.bytes(folder) for folder in folders} == before
    assert page.read_bytes() == html


def test_a_stage_names_what_it_reads(clone: Clone) -> None:
    """All that the stages opened so far, or DVC may run one before what it reads is there, and not run it again."""
    reads: dict[str, set[str]] = {}
    for module, path in map(str.split, clone.reads.read_text().splitlines()):
        reads.setdefault(module, set()).add(path)
    found = yaml.safe_load((clone.folder / "dvc.yaml").read_text())["stages"].values()
    stages = {stage["cmd"].split()[2]: stage for stage in found if "cmd" in stage}
    assert set(stages) - set(reads) == {"pipeline.analysis.coverage"}, "it reads nothing"
    for module, stage in stages.items():
        named = [*stage["deps"], *(name for out in stage["outs"] for name in out)]
        for lock in [name for name in named if name.endswith("/dvc.lock")]:
            suite = yaml.safe_load((clone.folder / lock).with_suffix(".yaml").read_text())["stages"].values()
            named += [f"reports/{name.split('/')[1]}" for each in suite for out in each["outs"] for name in out]
        folders = [name.partition("${")[0] for name in named]
        read = [Path(path) for path in reads.get(module, ()) if ".tmp/" not in path]
        others = [path for path in read if not any(map(path.is_relative_to, folders))]
        assert not others, f"{module} reads what its stage does not name: {others}"


def test_a_fault_in_params_stops_before_anything_is_touched(clone: Clone) -> None:
    before = clone.bytes("reports")
    clone.write(clone.params.replace("name: tom\n", "name: tom\n      clipp: 7.0\n", 1))
    done = clone.dvc("repro")
    assert done.returncode != 0
    assert "params.yaml: methods.tom.weighting.clipp=7.0 is not a setting; nearest valid choice: clip" in done.stderr
    assert clone.bytes("reports") == before


SIZES = {
    "pipeline/suites/sizes/__init__.py": '"""The suite `sizes`: how many numbers an observation has."""\n',
    "pipeline/suites/sizes/cells.py": """
import sys

from pipeline.config.compose import compose
from pipeline.config.digests import source_digests
from pipeline.config.params import GRID
from pipeline.suites.suite import SuiteKind, configure


def resolved(params, env):
    suite = SUITE.section(params)
    return compose(params, {"method": suite.grid.methods[0], "env": env, "scale": suite.scale})


def sources(config, root):
    return source_digests(config, root, ("pipeline.suites.sizes.work",))


SUITE = SuiteKind("sizes", ("scale", *GRID), ("sizes.csv",), resolved, sources)

if __name__ == "__main__":
    sys.exit(configure(SUITE))
""",
    "pipeline/suites/sizes/work.py": """
import sys

from pipeline.suites.sizes.cells import SUITE
from pipeline.suites.suite import record_one, write_csv
from tom.envs import spec_of


def record(cell, root=None):
    if SUITE.is_recorded(cell):
        return f"{cell.name}: already recorded"
    with SUITE.fresh(cell) as folder:
        write_csv(folder / "sizes.csv", [{"env": cell.env, "size": spec_of(cell.env, False).observation_dim}])
    return f"{cell.name}: counted"


if __name__ == "__main__":
    sys.exit(record_one(SUITE, record))
""",
    "pipeline/suites/sizes/tables.py": """
import pandas as pd

from pipeline.analysis.stage import made


def make(root):
    tables = [pd.read_csv(path) for path in sorted((root / "reports/sizes").rglob("sizes.csv"))]
    pd.concat(tables).to_csv(root / "reports/sizes.csv", index=False)
    return root / "reports/sizes.csv"


if __name__ == "__main__":
    made("sizes_tables", make)
""",
    "suites/sizes/dvc.yaml": """
vars:
- ../../params.yaml:sizes
stages:
  configure:
    wdir: ../..
    cmd: python -m pipeline.suites.sizes.cells
    deps: [reports/code/pipeline.suites.sizes.cells]
    params: [sizes, methods, envs, all, scales]
    outs:
    - reports/cells/sizes/${sizes.scale}: {cache: false, persist: true}
  sizes:
    wdir: ../..
    matrix: {env: "${sizes.envs}", seed: "${sizes.seeds}"}
    cmd: python -m pipeline.suites.sizes.work env=${item.env} seed=${item.seed} scale=${sizes.scale}
    deps: ["reports/cells/sizes/${sizes.scale}/${item.env}.json"]
    outs:
    - reports/sizes/${sizes.scale}/${item.env}/${item.seed}: {cache: false, persist: true}
""",
}
STAGE = """
  sizes_tables:
    cmd: python -m pipeline.suites.sizes.tables
    deps: [reports/code/pipeline.suites.sizes.tables, suites/sizes/dvc.lock]
    outs:
    - reports/sizes.csv: {cache: false}
"""


def test_a_suite_is_its_folder_its_stages_and_its_section(clone: Clone) -> None:
    """No existing Python is edited: it is configured, made, recorded, tabulated, and nothing is done twice."""
    for name, text in SIZES.items():
        (clone.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (clone.folder / name).write_text(text)
    stages = clone.folder / "dvc.yaml"
    stages.write_text(stages.read_text().replace("\nmetrics:", f"{STAGE}\nmetrics:"))
    section = "sizes:\n  scale: smoke\n  methods: [mbpo]\n  envs: [hopper, walker2d]\n  seeds: [0]\n"
    clone.write(f"{clone.params}\n{section}")
    words = [sys.executable, "-m", "pipeline.app", "repro", "--suite", "sizes", "--jobs", "1"]
    said = clone.python(*words)
    assert "2 runs of the suite sizes at scale smoke: 2 to train" in said and "done 2, failed 0" in said
    assert (clone.folder / "reports/sizes.csv").read_text() == "env,size\nhopper,11\nwalker2d,17\n"
    assert "2 runs of the suite sizes at scale smoke: 0 to train" in clone.python(*words)
    for name in ("pipeline/suites/sizes", "suites/sizes"):
        shutil.rmtree(clone.folder / name)
    stages.write_text(stages.read_text().replace(STAGE, ""))


def test_the_suite_of_switches_from_nothing_to_its_figure(clone: Clone) -> None:
    """One switch, on Hopper and on Road-and-Rocks; then nothing, and one seed more trains that seed alone.

    The last test here: what it leaves in place of the recorded suite is of another scale.
    """
    params = re.sub(r"(?ms)^ablation:.*?(?=^crossings:)", ABLATION, clone.params)
    clone.write(params)
    shutil.rmtree(clone.folder / "reports/ablation")
    words = [sys.executable, "-m", "pipeline.app", "repro", "--suite", "ablation", "--jobs", "1"]
    said = clone.python(*words)
    assert "3 runs of the suite ablation at scale smoke: 2 to train" in said  # tom is there from the grid
    assert "[2/2] smoke-tom_kl-hopper-s0: trained" in said
    assert (clone.folder / "reports/figures/ablation/switches.png").is_file()
    attribution = (clone.folder / "reports/tables/ablation/attribution.csv").read_text()
    assert "hopper,auc,tom_divergence,tom,weighting.divergence=kl_simplex,1," in attribution
    before = clone.bytes("reports/ablation")
    assert "3 runs of the suite ablation at scale smoke: 0 to train" in clone.python(*words)
    clone.write(params.replace("seeds: [0]  # of the suite", "seeds: [0, 1]"))
    assert "6 runs of the suite ablation at scale smoke: 2 to train" in clone.python(*words)
    after = clone.bytes("reports/ablation")
    assert {name: after[name] for name in before} == before
