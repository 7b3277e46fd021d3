"""Checks that reports/ is whole: every result as it was recorded, and the tables and figures those that follow from it.

Some results can be trained again too, which has to give the same bytes (pipeline/checks/rerun.py).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from pipeline.analysis.extent import TOTAL, is_partial
from pipeline.checks.remade import UNREADABLE, contents, made_problems, stages
from pipeline.checks.rerun import compare, largest_difference, rerun
from pipeline.config.compose import SCIENCE
from pipeline.config.params import load_params
from pipeline.config.refusals import one_line
from pipeline.files import ROOT, altered
from pipeline.runs.folder import FILES, OPTIONAL, PROVENANCE, Cell, State, changed, different, provenance, state
from pipeline.runs.records import PROBE
from pipeline.suites.ablation.tables import ROAD_FOLDER
from pipeline.suites.evidence.cells import CELLS, RECORDS, Trained
from pipeline.suites.suite import kinds
from tom.settings.fields import SettingsError

PLACE = ("scale", "method", "env", "seed")  # the folders of a result, from the outermost


def verified(count: int, jobs: int, root: Path = ROOT, against: Path | None = None) -> int:
    """0 if all is as recorded; 1 if not, with a line for each problem. `count` results are trained again.

    With `against`, a folder like `root`, its results are compared with those here, and nothing else is done.
    """
    if against:
        return compared(root, against)
    if count:
        load_params()
    results = sorted(path for path in (root / "reports/results").glob("*/*/*/*") if path.is_dir())
    found = {folder: [f"{folder.relative_to(root)}/{line}" for line in result_problems(folder)] for folder in results}
    problems = [line for folder in results for line in found[folder]]
    problems += [*suite_problems(root), *evidence_problems(root), *made_problems(root)]
    if count:
        problems += rerun([folder for folder in results if not found[folder]], count, jobs)
    said = f"problems: {len(problems)}" if problems else "as recorded"
    print(*problems, f"{_summary(root, results)}: {said}", sep="\n")
    return 1 if problems else 0


def compared(root: Path, other: Path) -> int:
    """0 if every result of another folder like `root` has the bytes recorded here, or another machine's; 1 if not."""
    results = Path("reports/results")
    names = sorted(path.relative_to(other) for path in (other / results).glob("*/*/*/*") if provenance(path))
    if not names:
        raise SettingsError(f"against={other} has no finished run below {results}; nearest valid choice: studies/fresh")
    there = [name for name in names if provenance(root / name)]
    found = {name: list(compare(root / name, other / name)) for name in there}
    for name in (name for name in there if found[name]):
        print(*found[name], f"{name}: return_mean by up to {largest_difference(root / name, other / name):g}", sep="\n")
    same = sum(not different(root / name, other / name) for name in there)
    print(f"{len(names)} results in {other}, {len(there)} of them recorded here: {same} have the same bytes")
    return 1 if any(found.values()) else 0


def result_problems(folder: Path, places: Sequence[str] = PLACE) -> Iterator[str]:
    """What is wrong with the result in a folder: each line begins with the name of the file at fault."""
    there = {path.name for path in folder.iterdir()}
    for name in sorted((there - set(OPTIONAL)) ^ set(FILES)):
        yield f"{name}: {'missing' if name in FILES else 'not a file of a result'}"
    found = provenance(folder)
    if not found:
        if there >= set(FILES):
            yield f"{PROVENANCE}: not the record of a run"
        return
    if not isinstance(found.get("sha256"), dict):
        yield f"{PROVENANCE}: has no SHA-256 manifest"
    yield from (f"{name}: not the file in the manifest of {PROVENANCE}" for name in sorted(changed(folder, found)))
    name = "config.yaml"
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(folder / name))
        yield from _misplaced(folder, found, config, places)
        train, end = config["train"], int(found.get("env_steps", config["train"][TOTAL]))
        if found.get(TOTAL, train[TOTAL]) != train[TOTAL]:
            yield f"{PROVENANCE}: {TOTAL} is {found[TOTAL]}, not {train[TOTAL]} as config.yaml says"
        evals = [*range(0, end, train["eval_every_env_steps"]), end]
        rounds = [*range(train["warmup_env_steps"], end, train["round_env_steps"])]
        due = [("evals.csv", evals, "nan"), ("train.csv", rounds, "0")]
        due += [(PROBE, _probes(train, end), "nan")] if PROBE in there else []
        for name, env_steps, empty in due:
            yield from (f"{name}: {line}" for line in _gaps(folder / name, env_steps, empty))
    except UNREADABLE as error:
        yield f"{name}: not that of a run ({type(error).__name__}: {one_line(error)})"


def suite_problems(root: Path) -> Iterator[str]:
    """Which files of the suites are not those in the manifest that was recorded with them."""
    found = [path for name in kinds() for path in (root / "reports" / name).glob("*/*/*")]
    for folder in sorted(path for path in [*found, root / ROAD_FOLDER] if path.is_dir()):
        try:
            manifest = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))["sha256"]
            unlike = altered(folder, manifest, manifest)
        except UNREADABLE as error:
            yield f"{folder.relative_to(root)}: not a result of the suite ({one_line(error).replace(f'{root}/', '')})"
            continue
        yield from (f"{(folder / name).relative_to(root)}: not the file in the manifest" for name in unlike)


def evidence_problems(root: Path) -> Iterator[str]:
    """Which records of the evidence are not whole, not of the code and the values asked for, or not as far as asked."""
    for folder in sorted(path for path in (root / RECORDS).glob("*/*/*") if path.is_dir()):
        yield from (f"{folder.relative_to(root)}/{line}" for line in result_problems(folder, PLACE[1:]))
        try:
            if (cell := _asked(root, *folder.parts[-3:])) and (found := state(folder, cell)) is not State.FINISHED:
                yield f"{folder.relative_to(root)}: to params.yaml, {found.value}"
        except UNREADABLE as error:
            said = one_line(error).replace(f"{root}/", "")
            yield f"{folder.relative_to(root)}: what was asked for cannot be read ({said})"


def _asked(root: Path, method: str, env: str, seed: str) -> Trained | None:
    """The run of the evidence that is asked for with these names; None for one that is not, or not any more."""
    path = root / CELLS / method / f"{env}.json"
    file = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"seeds": {}}
    if seed not in file["seeds"]:
        return None
    identity, until = (file["seeds"][seed][key] for key in ("fingerprint", "until"))
    return Trained(method, env, int(seed), "", file["config"], file["source_digest"], until, identity)


def _summary(root: Path, results: Sequence[Path]) -> str:
    files = sum(len(contents(folder)) for folder in results)
    some = sum(is_partial(provenance(folder)) for folder in results)
    so_far = f" ({some} so far)" if some else ""
    made = [part for _, outputs in stages().values() for part in outputs]
    tables, figures = (
        sum(len(contents(root / part)) for part in made if part.startswith(f"reports/{kind}/"))
        for kind in ("tables", "figures")
    )
    return f"{len(results)} results{so_far} of {files} files, {tables} files of tables, {figures} files of figures"


def _misplaced(
    folder: Path, found: Mapping[str, Any], config: Mapping[str, Any], places: Sequence[str]
) -> Iterator[str]:
    for name, values in ((PROVENANCE, found), ("config.yaml", config)):
        for key, place in zip(places, folder.parts[-len(places) :], strict=True):
            if str(values.get(key)) != place:
                yield f"{name}: {key} is {values.get(key)}, not {place} as the folder says"
    science = {key: config[key] for key in SCIENCE}
    if found.get("fingerprint") != Cell("", "", config["seed"], "", science, "").fingerprint:
        yield f"{PROVENANCE}: the fingerprint does not follow from config.yaml with the MuJoCo installed here"


def _probes(train: Mapping[str, Any], end: int) -> list[int]:
    """The env steps at which a run that has come to `end` tried its model on fresh rows."""
    every = train.get("probe_every_env_steps", 0)
    return [*range(train["warmup_env_steps"] + every, end + 1, every)] if every else []


def _gaps(path: Path, env_steps: Sequence[int], empty: str) -> Iterator[str]:
    """Rows that are missing or not due, and cells that are no finite number, where an empty one counts as `empty`."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    found, due = table["env_steps"].tolist(), [str(step) for step in env_steps]
    missing, strange = [step for step in due if step not in found], [step for step in found if step not in due]
    for steps, reason in ((missing, "no row at"), (strange, "a row that is not due at")):
        if steps:
            yield f"{reason} env_steps {', '.join(steps)}"
    if found != due and not (missing or strange):
        yield "env_steps do not rise from row to row"
    numbers = table.replace("", empty).astype(float)
    for row, column in np.argwhere(~np.isfinite(numbers.to_numpy())):
        yield f"no finite {table.columns[column]} at env_steps {found[row]}"
