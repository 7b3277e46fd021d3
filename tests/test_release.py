"""What goes out with a version: notes, how to cite it, types, and a container that does what README says."""

import json
import re
import tomllib

import yaml

from tests.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_newest_notes_and_both_ways_to_cite_are_of_this_version() -> None:
    notes = re.findall(r"(?m)^## (\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d), [0-9a-f]{7}\)$", read("CHANGELOG.md"))
    assert notes == sorted(notes, key=lambda note: [int(part) for part in note[0].split(".")], reverse=True)
    cited = yaml.safe_load(read("CITATION.cff"))
    assert (cited["version"], str(cited["date-released"])) == notes[0]
    assert PROJECT["project"]["version"] == notes[0][0]
    assert f"version = {{{notes[0][0]}}}" in read("CITATION.bib")


def test_the_paper_is_linked_alike_everywhere() -> None:
    (paper,) = yaml.safe_load(read("CITATION.cff"))["references"]
    assert f"({paper['url']})" in read("README.md")
    assert f"url       = {{{paper['url']}}}" in read("CITATION.bib")
    for author in paper["authors"]:
        assert f"{author['family-names']}, {author['given-names']}" in read("CITATION.bib")


def test_both_packages_ship_their_types() -> None:
    data = PROJECT["tool"]["setuptools"]["package-data"]
    for package in PROJECT["tool"]["mypy"]["packages"]:
        assert "py.typed" in data[package] and (ROOT / package / "py.typed").is_file()


def test_the_container_runs_the_two_commands() -> None:
    dockerfile, inside = read("Dockerfile"), json.loads(read(".devcontainer/devcontainer.json"))
    assert re.findall(r"(?m)^RUN (make \w+)$", dockerfile) == ["make setup"] == [inside["postCreateCommand"]]
    assert json.loads(re.findall(r"(?m)^CMD (.+)$", dockerfile)[0]) == ["make", "repro"]
    assert f"AS {inside['build']['target']}\n" in dockerfile
