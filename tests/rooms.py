"""The rooms of the house, counted from what files import: `python -m tests.rooms` prints them, floor by floor.

A room is a folder right below pipeline/ or tom/, or what lies flat there: `pipeline` are the doors, what people type.
A room stands one floor above the highest of those that it imports at once. Some it opens later, in a function, where
what they bring is not needed or not paid for before; no circle goes through these either.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "tom")
BASEMENT = "pipeline.files"  # a room of one file, which everyone stands on


def files(folder: str) -> list[Path]:
    """Every source file below a folder of the repository."""
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path, at_once: bool = False) -> Iterator[str]:
    """The dotted names that a file imports, wherever in it, or `at_once` when it is imported itself."""
    package = list(path.relative_to(ROOT).parts[:-1])
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _run_at_once(tree) if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _run_at_once(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _run_at_once(child)


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def file_graph(at_once: bool = False) -> dict[str, set[str]]:
    """By module, the modules of the house that it imports."""
    known = {module_of(path): path for package in PACKAGES for path in files(package)}
    graph = {}
    for module, path in known.items():
        names = {name if name in known else name.rpartition(".")[0] for name in imports(path, at_once)}
        graph[module] = (names & known.keys()) - {module}
    return graph


def room_of(module: str) -> str:
    """The room that a module lies in."""
    top, *below = module.split(".")
    if module == BASEMENT:
        return module
    return f"{top}.{below[0]}" if below and (ROOT / top / below[0]).is_dir() else top


def room_graph(at_once: bool = False) -> dict[str, set[str]]:
    """By room, the rooms that it imports."""
    graph: dict[str, set[str]] = {}
    for module, others in file_graph(at_once).items():
        room = room_of(module)
        graph.setdefault(room, set()).update(room_of(other) for other in others if room_of(other) != room)
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of two or more that reach each other, by Tarjan's algorithm (1972)."""
    number, low, stack, found = dict[str, int](), dict[str, int](), list[str](), list[list[str]]()

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in graph[node]:
            if other not in number:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == number[node]:
            place = stack.index(node)
            group, stack[place:] = stack[place:], []
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in number:
            visit(node)
    return found


def floors(graph: dict[str, set[str]]) -> list[list[str]]:
    """The rooms of each floor, the ground floor first; there must be no circle."""
    height: dict[str, int] = {}

    def of(room: str) -> int:
        if room not in height:
            height[room] = 1 + max((of(other) for other in graph[room]), default=-1)
        return height[room]

    top = max(map(of, graph))
    return [sorted(room for room in graph if height[room] == level) for level in range(top + 1)]


if __name__ == "__main__":
    rooms = room_graph()
    print(f"{len(rooms)} rooms, {sum(map(len, rooms.values()))} arrows")
    print(f"circles of rooms: {circles(rooms) or 'none'}; of files: {circles(file_graph()) or 'none'}")
    for level, names in reversed(list(enumerate(floors(room_graph(at_once=True))))):
        print(f"floor {level}: {', '.join(names)}")
