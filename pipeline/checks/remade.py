"""Tables, figures and the page, made again from the files that are there, and compared with those that are recorded."""

import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.digests import CODE
from pipeline.config.refusals import one_line
from pipeline.files import ROOT

UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError, OmegaConfBaseException)
ALWAYS = ("aggregate", "plot")  # the others where any of what they make is there
INPUTS = ("params.yaml", "suites")  # beside reports/


def stages() -> dict[str, tuple[str, list[str]]]:
    """The module that each stage of dvc.yaml runs that makes something from files alone, and what it makes."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    modules = {name: stage["cmd"].split()[2] for name, stage in found.items()}
    return {
        name: (modules[name], [out if isinstance(out, str) else next(iter(out)) for out in stage["outs"]])
        for name, stage in found.items()
        if (CODE / modules[name]).as_posix() in stage.get("deps", ())
    }


def made_problems(root: Path) -> Iterator[str]:
    """Which files are not those that their stage makes of what is in `root`."""
    for name, (module, outputs) in stages().items():
        if name in ALWAYS or any((root / part).exists() for part in outputs):
            yield from _made_again(root, module, outputs)


def _made_again(root: Path, module: str, outputs: list[str]) -> Iterator[str]:
    """The same of one stage, which gets another root with the same files but for what it makes."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        _linked(root, fresh, outputs)
        try:
            import_module(module).make(fresh)
        except UNREADABLE as error:
            said = one_line(error).replace(f"{fresh}/", "").replace(f"{root}/", "")
            yield f"{' and '.join(outputs)}: cannot be made again ({said})"
        for part in outputs:
            yield from unlike(root, fresh, part)


def _linked(root: Path, fresh: Path, outputs: list[str]) -> None:
    """Links in `fresh` to all that `root` has, except the outputs."""
    for name in INPUTS:
        if (root / name).exists():
            (fresh / name).symlink_to((root / name).absolute())
    folders = ("reports", "reports/tables", "reports/figures")
    for folder in folders:
        (fresh / folder).mkdir()
        for path in (root / folder).glob("*"):
            if (name := f"{folder}/{path.name}") not in (*outputs, *folders):
                (fresh / name).symlink_to(path.absolute())


def unlike(root: Path, fresh: Path, part: str) -> Iterator[str]:
    """The files of a part, a folder or one file, that are missing in `root` or are not those in `fresh`."""
    recorded, again = contents(root / part), contents(fresh / part)
    if not recorded:
        yield f"{part}: missing"
    for name in sorted(recorded.keys() | again.keys()) if recorded and again else ():
        if recorded.get(name) != again.get(name):
            what = "not what the results give" if name in recorded else "missing"
            yield f"{part}/{name}: {what}".replace("/.:", ":")


def contents(path: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder by its path there; of one file by `.`."""
    files = [path] if path.is_file() else [below for below in path.rglob("*") if below.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}
