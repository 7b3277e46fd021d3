"""DVC stage `configure`: what every other stage depends on, made of params.yaml, checked whole, and of the code.

`python -m pipeline.suites.configure` writes reports/cells/<scale>/<method>/<env>.json for the grid,
reports/cells/road.json and gorge.json for the two worlds of Road-and-Rocks, and reports/code/<module> with the digest
of the code of each module that a stage runs. A stage depends on its own file, so an edit makes exactly those stages
stale whose values or code changed.
"""

import sys
from itertools import product
from pathlib import Path
from typing import Any

from pipeline.config.compose import compose_cell, stop_of
from pipeline.config.digests import CODE, source_digest, source_digests, stage_digests
from pipeline.config.params import Params, load_params
from pipeline.files import ROOT, as_json, write_file
from pipeline.runs.answers import answering
from pipeline.suites.returns.work import cell_path
from pipeline.suites.road import cells as road
from pipeline.suites.road.jobs import jobs
from tom.settings.fields import SettingsError


def cell_files(params: Params, root: Path) -> dict[Path, bytes]:
    """The contents of every file of the grid, by path; SettingsError if one of its cells cannot be composed."""
    files = {}
    for method, env in product(params.grid.methods, params.grid.envs):
        try:
            config = compose_cell(method, env, params.scale)
            until = stop_of(params.grid, env, config)
        except SettingsError as error:
            raise SettingsError(f"{error} (method {method}, env {env}, scale {params.scale})") from None
        files[cell_path(params.scale, method, env)] = cell_file(config, source_digests(config, root), until)
    return files


def cell_file(config: dict[str, Any], sources: dict[str, str], until: int | None = None) -> bytes:
    """The contents of a file that a cell depends on: its resolved values, the digests of the code it uses, its stop."""
    stop = {} if until is None else {"until": until}
    return as_json({"config": config, "source_digest": source_digest(sources), "sources": sources, **stop}).encode()


def write(files: dict[Path, bytes], folder: Path, root: Path) -> None:
    """Makes `folder` hold exactly these files; one that is right already is not touched."""
    for path, content in files.items():
        write_file(root / path, content)
    for path in sorted((root / folder).rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(root) not in files:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


@answering
def main() -> None:
    """Writes the files; exit code 2 and one sentence for a fault in params.yaml, or in the code."""
    params = load_params()
    cells = cell_files(params, ROOT)
    worlds = {road.CELL: road.content(jobs(params)), road.GORGE_CELL: road.gorge_content(params)}
    code = {path: f"{digest}\n".encode() for path, digest in stage_digests(ROOT).items()}
    write(cells, Path("reports/cells") / params.scale, ROOT)
    for path, text in worlds.items():
        write_file(ROOT / path, text.encode())
    write(code, CODE, ROOT)


if __name__ == "__main__":
    sys.exit(main())
