"""What the code of one tree gives: short versions of all that is recorded, and how it identifies what is recorded.

    python -m pipeline.witness folder=/tmp/witness records=. [envs=hopper,ant]
    python -m pipeline.witness                       # can this code read params.yaml?

`pipeline.accept` asks this of two trees, each by its own code, wherever that lies there. Into `folder` go, at scale
smoke, a run of every method of the grid, the ablation and the evidence, a cell of each suite, Road-and-Rocks with its
methods; and DIGESTS: for every record below `records` the digest of the code that would make it here, and its method.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pipeline.config.compose import SCIENCE
from pipeline.config.digests import code_digest, source_digest, source_digests
from pipeline.config.params import ABLATION, Params, load_params
from pipeline.config.refusals import key_values
from pipeline.files import ROOT, write_file, write_json
from pipeline.runs.answers import answering
from pipeline.runs.datasets.folder import MANIFEST
from pipeline.runs.folder import CHECKPOINTS, PROVENANCE, Cell, run_folder
from pipeline.suites.ablation.cells import road_cell, road_jobs
from pipeline.suites.ablation.tables import ROAD_FOLDER
from pipeline.suites.evidence.cells import RECORDS, RUNS
from pipeline.suites.returns.cells import cell_of
from pipeline.suites.road.cells import content, gorge_content
from pipeline.suites.road.jobs import Job, gorge_jobs, jobs
from pipeline.suites.road.measured import GORGE, MEASURED, RAW
from pipeline.suites.suite import kinds
from pipeline.suites.weights.cells import COLLECTION
from tom.settings.fields import SettingsError

DIGESTS, SCALE = "digests.json", "smoke"
PROBED = ("train.probe_every_env_steps=100", "train.probe_rows=100")
SHORT = {"random_transitions": 300, "rounds": 1, "test_rows": 50}


def witness(folder: Path, records: Path, envs: Sequence[str]) -> None:
    """Makes the short versions and the digests."""
    params = load_params()
    for name in ("tom", "pipeline"):  # suites look for their code below their root
        (folder / name).symlink_to(ROOT / name)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")  # and some ask there how runs are mirrored
    write_file(folder / "params.yaml", text.replace(f"tracking: {params.tracking}", "tracking: off", 1).encode())
    runs(params, folder, envs)
    suites(params, folder)
    road(params, folder)
    write_json(folder / DIGESTS, digests(records, methods_of(params)))


def methods_of(params: Params) -> list[str]:
    """Every method of the grid, the suites of runs and the evidence."""
    found = list(params.grid.methods)
    for name, suite in params.suites.items():
        found += suite.grid.methods if kinds()[name].trains_runs else ()
    found += [method for _, method, *_ in params.evidence.cells()] if params.evidence else ()
    return list(dict.fromkeys(found))


def runs(params: Params, folder: Path, envs: Sequence[str]) -> None:
    """A run of every method, and one more of each of the grid that tries its model on the way."""
    from pipeline.runs.ensure import Options, ensure_trained

    wanted = [(method, ()) for method in methods_of(params)] + [(method, PROBED) for method in params.grid.methods]
    for (method, overrides), env in product(wanted, envs):
        cell = cell_of(method, env, 0, SCALE, overrides)
        ensure_trained(cell, run_folder(cell, folder), Options(device="cpu"))


def suites(params: Params, folder: Path) -> None:
    """A cell of each suite that there is, on the grid's first environment, or its own where it has others."""
    from pipeline.runs.ensure import Options, ensure_trained

    first = params.grid.envs[0]
    short = {name: dataclasses.replace(section, scale=SCALE) for name, section in params.suites.items()}
    small = dataclasses.replace(params, suites=short)
    for name, section in short.items():
        env = first if section.grid.envs[0] in params.envs else section.grid.envs[0]
        kind, record = kinds()[name], import_module(f"pipeline.suites.{name}.work").record
        config = kind.resolved(small, env)
        cell = Cell(name, env, 0, SCALE, config, source_digest(kind.sources(config, ROOT)))
        for run in kind.runs(cell) if kind.trains_runs else ():
            ensure_trained(run, run_folder(run, folder), Options(device="cpu"))
        record(cell, folder)


def road(params: Params, folder: Path) -> None:
    """Every method on Road-and-Rocks, the figure's, the ablation's and the second world's, one seed."""
    from pipeline.suites.road.work import trained, write

    first = [*jobs(params), *(road_jobs(params) if ABLATION in params.suites else ())]
    for name, wanted in (("road", first), ("gorge", gorge_jobs(params))):
        (folder / name).mkdir()
        short = [shortened(job) for job in wanted]
        curves, weights, _ = trained(short, 1)
        write(short, folder / name, {"curves": curves, "weights": weights})


def shortened(job: Job) -> Job:
    """The job with its own parts and little of everything else."""
    parts = {}
    for part in ("weighting", "backbone"):
        settings = getattr(job.agent, part)
        few = {"discriminator_updates": 20, "q_updates": 20}
        known = {field.name for field in dataclasses.fields(settings)}
        parts[part] = dataclasses.replace(settings, **{name: value for name, value in few.items() if name in known})
    agent = dataclasses.replace(job.agent, **parts)
    return dataclasses.replace(job, agent=agent, offline=dataclasses.replace(job.offline, **SHORT), seeds=job.seeds[:1])


def digests(root: Path, methods: Sequence[str]) -> dict[str, str]:
    """The digest that this code gives every record below `root`, of a run of one of the methods or of a suite."""
    return {str(path.relative_to(root)): digest for path, digest in _digests(root, methods)}


def _digests(root: Path, methods: Sequence[str]) -> Iterator[tuple[Path, str]]:
    for pattern in (
        "reports/results/*/*/*/*",
        "runs/*/*",
        f"{RECORDS}/*/*/*",
        f"{RUNS}/*/*",
        "runs/datasets/*.partial",
    ):
        for config in sorted(root.glob(f"{pattern}/config.yaml")):
            try:
                values: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(config))  # type: ignore[assignment]
            except FileNotFoundError:  # a run that ended meanwhile
                continue
            if values["method"] in methods:
                yield from _of_run(config.parent, {key: values[key] for key in SCIENCE})
    for suite in kinds().values():
        for path in sorted((root / suite.folder).glob("*/*.json")):
            digest = source_digest(suite.sources(json.loads(path.read_text(encoding="utf-8"))["config"], ROOT))
            results = root / "reports" / suite.name / path.parent.name / path.stem
            yield from ((found, digest) for found in sorted(results.glob(f"*/{PROVENANCE}")))
    params = load_params()
    yield root / MEASURED / RAW, json.loads(content(jobs(params), root=ROOT))["source_digest"]
    yield root / GORGE / RAW, json.loads(gorge_content(params, ROOT))["source_digest"]
    if ABLATION in params.suites:
        yield root / ROAD_FOLDER / RAW, json.loads(road_cell(params, ROOT))["source_digest"]
    for manifest in sorted(root.glob(f"runs/datasets/*/{MANIFEST}")):
        if config := json.loads(manifest.read_text(encoding="utf-8")).get("settings"):  # one that was made here
            yield manifest, source_digest(source_digests(config, ROOT, COLLECTION))


def _of_run(folder: Path, config: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    try:
        digest = code_digest(config, ROOT)
    except SettingsError:  # of a part that is not here
        return
    yield from ((path, digest) for path in (folder / PROVENANCE,) if path.is_file())
    yield from ((path, digest) for path in sorted((folder / CHECKPOINTS).glob("*/manifest.json")))


@answering
def main() -> str:
    """0; 2 and one sentence for bad input, 1 for a run that fails."""
    given, params = key_values(sys.argv[1:], ("folder", "records", "envs")), load_params()
    if not given:
        return "params.yaml can be read"
    if missing := {"folder", "records"} - set(given):
        raise SettingsError(f"{missing.pop()}= is missing; it is the path of a folder")
    witness(Path(given["folder"]), Path(given["records"]), given.get("envs", params.grid.envs[0]).split(","))
    return f"wrote {given['folder']}"


if __name__ == "__main__":
    sys.exit(main())
