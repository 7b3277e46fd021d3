"""Checkpoints where every node can read them, whatever fsspec reaches: a folder, S3, Google's storage."""

import shutil
import sys
from pathlib import Path
from typing import Any

from pipeline.engines.node import newest, unfinished

MANIFEST = "manifest.json"
KEPT = 2


class Store:
    """The checkpoints of runs below a URL: <run>/<env steps>/<files>, each whole once its manifest is there."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self.files, self.root = url_to_fs(url)

    def keep(self, name: str, folder: Path) -> None:
        """Brings the newest checkpoint of a run there; a line on stderr, no more, where that fails."""
        local = newest(folder)
        if local is None or local.name in self.steps(name):
            return
        place = f"{self.root}/{name}/{local.name}"
        try:
            self.files.makedirs(place, exist_ok=True)
            for path in sorted(local.iterdir(), key=lambda path: path.name == MANIFEST):
                self.files.put_file(str(path), f"{place}/{path.name}")
            for old in self.steps(name)[:-KEPT]:
                self.files.rm(f"{self.root}/{name}/{old}", recursive=True)
        except Exception as error:  # of whatever kind the file system has
            print(f"{local} was not stored: {error}", file=sys.stderr, flush=True)

    def fetch(self, name: str, folder: Path) -> None:
        """Brings the newest checkpoint here, unless there is one as new."""
        there, local = self.steps(name), newest(folder)
        if not there or (local is not None and local.name >= there[-1]) or (folder / "provenance.json").is_file():
            return
        final = unfinished(folder) / there[-1]
        fresh = final.with_suffix(".tmp")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for path in self.files.ls(f"{self.root}/{name}/{there[-1]}", detail=False):
            self.files.get_file(path, str(fresh / Path(path).name))
        fresh.rename(final)

    def steps(self, name: str) -> list[str]:
        """The whole checkpoints of a run, the newest last."""
        self.files.invalidate_cache()  # another node may have written since
        try:
            found: list[Any] = self.files.ls(f"{self.root}/{name}", detail=False)
            return sorted(Path(path).name for path in found if self.files.exists(f"{path}/{MANIFEST}"))
        except FileNotFoundError:
            return []
