"""A mirror of a run in TensorBoard: an event file below its folder, which `tensorboard --logdir runs` shows."""

import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from textwrap import indent
from typing import Any

import yaml  # type: ignore[import-untyped]

from pipeline.runs.folder import Cell
from pipeline.runs.mirror import Mirror

FOLDER = "tensorboard"
FORMAT = "brain.Event:2"  # of event files: what their first record says


class TensorBoard(Mirror):
    """A run in TensorBoard: a scalar by env step for each number, the settings as text.

    Records are written at once: the library's own writer has a thread, which on a full disk prints a traceback.
    """

    name = "tensorboard"
    _file: Any = None
    _records: Any = None

    def begin(self, cell: Cell, folder: Path) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter  # here, so that no other mode loads it
        from torch.utils.tensorboard.summary import text

        shutil.rmtree(folder / FOLDER, ignore_errors=True)  # all rows are told again
        (folder / FOLDER).mkdir(parents=True)
        self._file = (folder / FOLDER / f"events.out.tfevents.{cell.fingerprint}").open("wb")
        self._records = RecordWriter(self._file)
        self._tell(0, file_version=FORMAT)
        names = {"scale": cell.scale, "method": cell.method, "env": cell.env, "seed": cell.seed}
        settings = yaml.safe_dump({**names, "fingerprint": cell.fingerprint, **cell.config}, sort_keys=False)
        self._tell(0, summary=text("config", indent(settings, "    ")))  # code, in Markdown

    def row(self, numbers: Mapping[str, float], env_steps: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._tell(env_steps, summary=Summary(value=values))

    def end(self, failed: bool) -> None:
        self._file.close()

    def abandon(self) -> None:
        with suppress(AttributeError, OSError):  # never opened; what is left does not fit
            self._file.close()

    def _tell(self, env_steps: int, **what: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._records.write(Event(wall_time=time.time(), step=env_steps, **what).SerializeToString())
        self._file.flush()  # rows are seconds apart or more, and are looked at meanwhile
