"""A mirror of a run in TensorBoard: event files below its folder, which `tensorboard --logdir runs` shows."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

import yaml  # type: ignore[import-untyped]

from pipeline.runs.mirror import Cell, Mirror

FOLDER = "tensorboard"


class TensorBoard(Mirror):
    """A run in TensorBoard: a scalar by env step for each number, the settings as text."""

    name = "tensorboard"
    _writer: Any = None

    def begin(self, cell: Cell, config: Mapping[str, Any], folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # here, so that no other mode loads it

        shutil.rmtree(folder / FOLDER, ignore_errors=True)  # all rows are told again
        self._writer = SummaryWriter(str(folder / FOLDER))
        names = {"scale": cell.scale, "method": cell.method, "env": cell.env, "seed": cell.seed}
        text = yaml.safe_dump({**names, "fingerprint": cell.fingerprint, **config}, sort_keys=False)
        self._writer.add_text("config", indent(text, "    "))  # code, in Markdown

    def row(self, numbers: Mapping[str, float], env_steps: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, env_steps)
        self._writer.flush()  # rows are minutes apart, and are looked at meanwhile

    def end(self, failed: bool) -> None:
        self._writer.close()
