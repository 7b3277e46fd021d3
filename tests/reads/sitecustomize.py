"""Python imports this first where its folder is on PYTHONPATH: what a module run by `-m` reads of reports/ is noted."""

import os
import sys
from pathlib import Path


def _note(event: str, given: tuple[object, ...]) -> None:
    if event == "open" and isinstance(given[0], str | os.PathLike) and given[1] == "r":
        path = os.path.relpath(given[0])
        if path.startswith("reports/"):
            os.write(NOTES, f"{MODULE} {path}\n".encode())


if "READS" in os.environ and "-m" in sys.orig_argv[:-1] and Path("dvc.yaml").is_file():
    MODULE = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    NOTES = os.open(os.environ["READS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.addaudithook(_note)
