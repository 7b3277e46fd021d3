"""The table of hyperparameters: every setting is in it, it knows no other, and the file is what the command writes."""

import csv
import dataclasses

from pipeline.files import ROOT
from pipeline.report.hyperparameters import FACTS, TABLE, facts, origins, render, settings_by_key, text
from tom.settings import KINDS, names, settings_class
from tom.settings.experiments.networked import Rules
from tom.settings.experiments.networked import Settings as Networked
from tom.settings.experiments.road_and_rocks import Offline, World
from tom.settings.pacoh import MetaSettings, families, family_settings


def test_the_file_is_what_the_command_writes() -> None:
    assert (ROOT / TABLE).read_text(encoding="utf-8") == render()


def test_every_setting_has_one_row_and_every_fact_a_setting() -> None:
    rows = [line.split("`")[1] for line in render().splitlines() if line.startswith("| `")]
    assert rows == list(settings_by_key())
    assert {"train.total_env_steps", "weighting.tom.clip", "backbone.mbpo.rollout_length"} <= set(rows)
    assert set(facts()) <= set(rows)


def test_every_fact_has_a_source_and_says_something() -> None:
    with (ROOT / FACTS).open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert len(listed) == len(facts())  # no key twice
    for row in listed:
        assert None not in row and row["source"] and (row["paper"] or row["released"]), row
        assert not any("|" in value for value in row.values())


def test_every_origin_has_a_source_and_every_source_a_setting() -> None:
    own = *MetaSettings.SECTIONS.values(), *map(family_settings, families())
    experiments = [
        field for settings in (World, Offline, Networked, Rules, *own) for field in dataclasses.fields(settings)
    ]
    parts = [settings_class(kind, name).__dataclass_fields__["name"] for kind in KINDS for name in names(kind)]
    named = {field.metadata["origin"] for field in [*settings_by_key().values(), *parts, *experiments]}
    assert named == set(origins()), "reports/paper/origins.csv says what each word stands for"
    assert all(origins().values())


def test_what_is_written_for_a_known_setting() -> None:
    (line,) = [line for line in render().splitlines() if "`weighting.tom.negative_label`" in line]
    source = "TOM discriminator_pytorch.py:191,228"
    assert line == f"| `weighting.tom.negative_label` | 0 |  | 0.1 |  | paper | {source} |"
    assert [text(value) for value in (True, 3e-4, 0.6931471805599453, 300_000, "all")] == [
        "true",
        "0.0003",
        "0.693147180559945",
        "300000",
        "all",
    ]
