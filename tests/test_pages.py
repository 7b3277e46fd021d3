"""The pages: every link, path and command in them exists, nothing is said twice, and README is short."""

import re
import shlex
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import click
import pytest
import yaml

from pipeline.app import tom
from pipeline.config.command_line import check, parse
from pipeline.config.key_help import key_help
from pipeline.config.params import load_params
from tests.pages import ROOT, Page, pages
from tests.rooms import room_graph

LIMIT_BYTES = 12_000
ROOTS = ("pipeline/", "reports/", "suites/", "tests/", "tom/")
HOLES = "<>*{}$…"  # in the place of something
SHORT = 40  # characters of a line that may stand on two pages: a table's head, the name of a file
GENERATED = re.compile(r"reports/(tables/|benchmarks/(?!README))")  # by machines, where it may be said twice
ENDS = re.compile(r"\s(?:[|>&]+)\s.*")  # of a command: what the shell does with it


@pytest.fixture(scope="module", params=pages(), ids=lambda page: str(page.path))
def page(request: pytest.FixtureRequest) -> Page:
    found: Page = request.param
    return found


def lines(page: Page, first: str) -> Iterator[list[str]]:
    """The commands in code that begin with this word, in words; those with holes are filled by their names."""
    for text in [*page.spans, *page.blocks]:
        if text.startswith(f"{first} "):
            yield shlex.split(re.sub("[<>]", "", ENDS.sub("", text)))


def leaf(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command of `tom` that these words call, and what follows its name."""
    command: click.Command = tom
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"tom has no {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def test_every_link_leads_to_a_file_and_a_heading(page: Page) -> None:
    for link in page.links:
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = ROOT / page.path.parent / name if name else ROOT / page.path
        assert target.exists(), f"{page.path}: {link}"
        if anchor:
            assert anchor in Page(target, target.read_text(encoding="utf-8")).anchors, f"{page.path}: {link}"


def test_every_path_in_code_is_there(page: Page) -> None:
    words = [word.strip("`,:;()") for text in [*page.spans, *page.blocks] for word in text.split()]
    for word in words:
        if word.startswith(ROOTS) and not set(word) & set(HOLES):
            assert (ROOT / word).exists(), f"{page.path}: {word}"


def test_every_command_is_one(page: Page) -> None:
    for _, *words in lines(page, "tom"):
        command, words = leaf(words)
        if "--help" in words:
            words.remove("--help")
            assert command.name == "train" or not words, f"{page.path}: {words}"
            key_help(words, load_params())
        elif command.name == "train" and words:
            check(parse(words), load_params())
        elif words:
            command.make_context(str(command.name), words)


def test_every_command_is_on_a_page() -> None:
    told = {leaf(words)[0] for page in pages() for _, *words in lines(page, "tom")}
    waiting: list[click.Command] = [tom]
    for command in waiting:
        waiting += command.commands.values() if isinstance(command, click.Group) else []
        assert isinstance(command, click.Group) or command in told, command.name


def test_every_target_stage_and_module_is_there(page: Page) -> None:
    targets = re.findall(r"(?m)^([a-z -]+):", (ROOT / "Makefile").read_text())
    known = {name for names in targets for name in names.split()}
    for _, target, *_ in lines(page, "make"):
        assert target in known, f"{page.path}: make {target}"
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for _, *words in lines(page, "dvc"):
        if words[:1] == ["repro"] and words[1:]:
            assert words[1] in stages or (ROOT / words[1]).is_file(), f"{page.path}: dvc repro {words[1]}"
    for _, *words in lines(page, "python"):
        if words[:1] == ["-m"]:
            assert find_spec(words[1]), f"{page.path}: python -m {words[1]}"


def test_nothing_is_said_twice() -> None:
    where = defaultdict(list)
    for page in pages():
        if not GENERATED.match(page.path.as_posix()):
            for text in page.said:
                where[text].append(str(page.path))
    twice = {text: places for text, places in where.items() if len(places) > 1 and len(text) > SHORT}
    assert not twice


def test_readme_is_short_and_knows_every_room() -> None:
    readme = next(page for page in pages() if page.path == Path("README.md"))
    assert len(readme.text.encode()) <= LIMIT_BYTES
    rooms = {room.replace(".", "/") for room in room_graph()}
    assert rooms <= {name.removesuffix(".py").rstrip("/") for name in readme.spans}


def test_every_page_is_reached_from_readme() -> None:
    links = {ROOT / page.path: [link.partition("#")[0] for link in page.links] for page in pages()}
    reached = [ROOT / "README.md"]
    for path in reached:
        reached += {(path.parent / link).resolve() for link in links.get(path, ())} - {*reached}
    assert {path for path in links if not GENERATED.match(path.relative_to(ROOT).as_posix())} <= set(reached)


def test_every_dependency_says_why() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    for name in [*project["dependencies"], *chain(*project["optional-dependencies"].values())]:
        assert re.search(rf'(?m)^    "{re.escape(name)}",\s+# \S', text), name
