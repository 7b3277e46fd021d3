"""The source files that numbers, tables and figures come from, and their digests; files are parsed, none is imported.

A digest is of what a file does: comments, docstrings and layout do not count, nor in settings what a field means in
words. It is the same under every version of Python that can read the file.
"""

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tom.settings import KINDS
from tom.settings.fields import SettingsError

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_SPELLING = ("ctx", "kind", "type_comment", "is_lazy")  # of a node: what its place or its source says already, and when
_WORDS = ("help", "origin", "unit", "neutral")  # of a settings field: they decide no number
SETTINGS = "tom/settings/"
ALWAYS = ("tom.train", "pipeline.runs.records")  # the loop, and what turns its records into bytes
CODE = Path("reports/code")  # a file for each module that a stage runs, with the digest of its code
STAGES = tuple(f"pipeline/{room}" for room in ("analysis", "suites", "claims", "report"))
PROJECT = ("tom", "pipeline")
SCIENCE = ("tom",)  # the packages within which imports are followed, for numbers


def source_digests(config: Mapping[str, Any], root: Path, also: Iterable[str] = ()) -> dict[str, str]:
    """The digest of every file below `root` that a run with these resolved values uses, by relative path.

    The files are the modules in `also`, and those of tom that these, the loop, the chosen parts, their settings and the
    environment import, directly or not.
    Raises SettingsError if such a file is missing or cannot be parsed.
    """
    parts = [f"{KINDS[kind]}.{config[kind]['name']}" for kind in KINDS]
    start = [*ALWAYS, *also, f"tom.envs.{config['env']}"]
    start += [f"tom.{part}" for part in parts] + [f"tom.settings.{part}" for part in parts]
    return module_digests(start, root)


def module_digests(modules: Iterable[str], root: Path, packages: Collection[str] = SCIENCE) -> dict[str, str]:
    """The same of these modules, and of everything in the packages that they import, directly or not."""
    return _Code(root).digests(list(modules), packages)


def stage_digests(root: Path) -> dict[Path, str]:
    """The digest of the code of every module that a stage may run, by its file: CODE/<module>.

    That is each that can be run in STAGES, with all that it imports of the project; all of tom too where it takes stock
    of sources. A stage depends on the file of the module that it runs.
    """
    found, code = dict[Path, str](), _Code(root)
    for path in (path for room in STAGES for path in sorted((root / room).rglob("*.py"))):
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8"):
            module = ".".join(path.relative_to(root).with_suffix("").parts)
            found[CODE / module] = source_digest(code.of_stage(module))
    return found


def code_digest(config: Mapping[str, Any], root: Path) -> str:
    """The digest of all the code that a run with these resolved values uses."""
    return source_digest(source_digests(config, root))


def source_digest(digests: Mapping[str, str]) -> str:
    """One digest for all files."""
    return hashlib.sha256("".join(f"{path} {digests[path]}\n" for path in sorted(digests)).encode()).hexdigest()


class _Code:
    """The files below a root as they are now, each looked at once."""

    def __init__(self, root: Path) -> None:
        self.root, self.path, self.file = root, functools.cache(self._path), functools.cache(self._file)

    def digests(self, start: list[str], packages: Collection[str]) -> dict[str, str]:
        """Of the modules in `start` and all that they import within the packages, by path."""
        for module in start:
            if self.path(module) is None:
                raise SettingsError(
                    f"{module.replace('.', '/')}.py is missing; restore the file or choose another part"
                )
        found = {self.path(module): module for module in self.closure(start, packages)}
        return {path: self.file(found[path])[1] for path in sorted(filter(None, found))}

    def of_stage(self, module: str) -> dict[str, str]:
        """Of all the project's code that a stage runs; all of tom too where it takes stock of sources."""
        digests = self.digests([module], PROJECT)
        if "pipeline/config/digests.py" not in digests:
            return digests
        science = (path.relative_to(self.root).with_suffix("") for path in self.root.glob("tom/**/*.py"))
        return digests | self.digests([".".join(path.parts).removesuffix(".__init__") for path in science], ())

    def closure(self, start: list[str], packages: Collection[str]) -> set[str]:
        """The modules in `start`, all they import within the packages, and the packages that hold these."""
        found, waiting = set[str](), list(start)
        while waiting:
            module = waiting.pop()
            inside = module in start or module.split(".")[0] in packages
            if module in found or not inside or self.path(module) is None:
                continue
            found.add(module)
            waiting += self.file(module)[0]
            if "." in module:
                waiting.append(module.rpartition(".")[0])
        return found

    def _path(self, module: str) -> str | None:
        """Relative to the root; None for a module that is not there."""
        stem = module.replace(".", "/")
        return next((path for path in (f"{stem}.py", f"{stem}/__init__.py") if (self.root / path).is_file()), None)

    def _file(self, module: str) -> tuple[tuple[str, ...], str]:
        path = self.path(module)
        assert path is not None, "asked for where it is there"
        package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
        status = (self.root / path).stat()
        try:
            return _read(self.root / path, package, (status.st_mtime_ns, status.st_size))
        except SyntaxError as error:
            raise SettingsError(f"{path}:{error.lineno}: {error.msg}") from None


@functools.cache
def _read(path: Path, package: str, stamp: tuple[int, int]) -> tuple[tuple[str, ...], str]:
    """Every module that may be imported in the file, of `from a import b` both `a` and `a.b`; and its digest.

    Remembered until the file changes, and with it the stamp.
    """
    tree = ast.parse(path.read_bytes())
    names = tuple(name for node in ast.walk(tree) for name in _named(node, package))
    return names, _digest(tree, SETTINGS in path.as_posix())


def _named(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


def _digest(tree: ast.Module, of_settings: bool) -> str:
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]  # a function may consist of its docstring
        elif isinstance(node, ast.Call) and of_settings:
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in _WORDS]
    return hashlib.sha256(_spelled(tree).encode()).hexdigest()


def _spelled(part: Any) -> str:
    """A syntax tree in words; what versions of Python add to trees and leave empty is not in them."""
    if isinstance(part, list):
        return f"[{','.join(map(_spelled, part))}]"
    if not isinstance(part, ast.AST):
        return repr(part)
    if isinstance(part, ast.JoinedStr):  # 3.12 has empty pieces in some
        part.values = [piece for piece in part.values if not (isinstance(piece, ast.Constant) and piece.value == "")]
    fields = [(name, value) for name, value in ast.iter_fields(part) if name not in _SPELLING]
    there = [f"{name}={_spelled(value)}" for name, value in fields if value is not None and value != []]
    return f"{type(part).__name__}({','.join(there)})"
