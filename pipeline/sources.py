"""The source files a cell's numbers come from, and their digest. Nothing is imported: files are parsed."""

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tom.settings import KINDS
from tom.settings.fields import SettingsError

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
ALWAYS = ("tom.train", "pipeline.records")  # the loop, and what turns its records into bytes


def source_digests(config: Mapping[str, Any], root: Path, also: Iterable[str] = ()) -> dict[str, str]:
    """The digest of every file below `root` that a run with these resolved values uses, by relative path.

    The files are those imported, directly or not, by the loop, the chosen parts, their settings, the environment and
    the modules in `also`.
    Comments, docstrings, layout and the help texts of settings do not count.
    Raises SettingsError if such a file is missing or cannot be parsed.
    """
    parts = [f"{KINDS[kind]}.{config[kind]['name']}" for kind in KINDS]
    start = [*ALWAYS, *also, f"tom.envs.{config['env']}"]
    start += [f"tom.{part}" for part in parts] + [f"tom.settings.{part}" for part in parts]
    return module_digests(start, root)


def module_digests(modules: Iterable[str], root: Path) -> dict[str, str]:
    """The same of everything that these modules import, directly or not, and of themselves."""
    start = list(modules)
    for module in start:
        if _file(module, root) is None:
            raise SettingsError(f"{module.replace('.', '/')}.py is missing; restore the file or choose another part")
    files = {_file(module, root) for module in _closure(start, root)}
    return {path: _digest(root / path, _stamp(root / path)) for path in sorted(filter(None, files))}


def code_digest(config: Mapping[str, Any], root: Path) -> str:
    """The digest of all the code that a run with these resolved values uses."""
    return source_digest(source_digests(config, root))


def source_digest(digests: Mapping[str, str]) -> str:
    """One digest for all files."""
    return hashlib.sha256("".join(f"{path} {digests[path]}\n" for path in sorted(digests)).encode()).hexdigest()


def _closure(start: list[str], root: Path) -> set[str]:
    """The modules in `start`, all they import within reach, and the packages that hold them."""
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        module = waiting.pop()
        path = _file(module, root)
        if module in found or path is None:
            continue
        found.add(module)
        try:
            waiting += _imports(root / path, module, _stamp(root / path))
        except SyntaxError as error:
            raise SettingsError(f"{path}:{error.lineno}: {error.msg}") from None
        if "." in module:
            waiting.append(module.rpartition(".")[0])
    return found


def _file(module: str, root: Path) -> str | None:
    """The path of a module relative to `root`; None for modules whose code does not count."""
    if module.split(".")[0] != "tom" and module not in ALWAYS:
        return None
    stem = module.replace(".", "/")
    return next((path for path in (f"{stem}.py", f"{stem}/__init__.py") if (root / path).is_file()), None)


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file does: the key under which its parse is remembered."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@functools.cache
def _imports(path: Path, module: str, stamp: tuple[int, int]) -> tuple[str, ...]:
    """Every module that may be imported in the file; of `from a import b` both `a` and `a.b`."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return tuple(name for node in ast.walk(ast.parse(path.read_bytes())) for name in _named(node, package))


def _named(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


@functools.cache
def _digest(path: Path, stamp: tuple[int, int]) -> str:
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]  # a function may consist of its docstring
        elif isinstance(node, ast.Call):  # what a setting means, in words
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in ("help", "origin", "unit")]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()
