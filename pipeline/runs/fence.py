"""What keeps the rows of two writers apart: a run counts only while its tables are the files that it wrote."""

import os
from pathlib import Path
from typing import IO

from pipeline.runs.folder import Refused
from pipeline.runs.owner import refuse_loss
from pipeline.runs.records import TABLES


class Fence:
    """The tables in a run's folder, held open, and how many lines this process knows each of them to have."""

    def __init__(self, folder: Path) -> None:
        """Begins with the tables that are there."""
        self._folder, self._files, self._lines = folder, dict[str, IO[bytes]](), dict[str, int]()
        for name in TABLES:
            if (folder / name).exists():
                self._lines[name] = sum(1 for _ in self._hold(name))

    def wrote(self, *names: str) -> None:
        """Takes note of a row more in each of these tables; the first one follows the names of the columns."""
        for name in names:
            if name not in self._files:
                self._hold(name)
                self._lines[name] = 1
            self._lines[name] += 1

    def check(self) -> None:
        """Refused if the folder is not this process's any more, or a table another file, or of other rows."""
        refuse_loss(self._folder)
        for name in self._files:
            if not self._is_whole(name):
                raise Refused(
                    f"{self._folder / name} is not what this run has written: another process writes there, or removed "
                    "it; the run ends, and the same command goes on from its last checkpoint"
                )

    def close(self) -> None:
        """Lets go of the files."""
        for file in self._files.values():
            file.close()

    def _hold(self, name: str) -> IO[bytes]:
        self._files[name] = (self._folder / name).open("rb")
        return self._files[name]

    def _is_whole(self, name: str) -> bool:
        file = self._files[name]
        try:
            file.seek(0)
            same = os.path.samestat(os.fstat(file.fileno()), (self._folder / name).stat())
            return same and sum(1 for _ in file) == self._lines[name]
        except OSError:  # removed, here or on another machine
            return False
