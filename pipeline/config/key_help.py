"""The text of `tom train --help`: every key of the chosen method, from the settings themselves."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.config import command_line
from pipeline.config.compose import DEVICES, classes_of, compose
from pipeline.config.params import TRACKING, Params
from tom.settings import KINDS, names

HEAD = """tom train method=M env=E [seed=N] [key=value ...] [--multirun] [--cfg job]

method    {methods}
          one switch of params.yaml's ablation: {variants}
env       {envs}
scale     {scales} (default {scale})
seed      a whole number, 0 or more (default 0)
until     env step at which to stop for now, a multiple of train.eval_every_env_steps (default: the run's end)
device    {devices} (default auto)
tracking  {tracking} (default {default_tracking})
run_dir   where to train (default runs/SCALE-METHOD-ENV-sSEED/FINGERPRINT)
resume    true, false: go on from the last checkpoint of an interrupted run (default true)
checkpoint_every  env steps between checkpoints (default 0: as often as 2 % of the time allows)
keep_replay  true, false: leave the run's replay in its folder, a data set (default false)
{parts}
With --multirun a key can take several values: method={some} seed=0,1.

Settings of method={method} env={env} scale={at_scale}: value, range or choices, unit, origin, meaning
"""


def key_help(overrides: Sequence[str], params: Params) -> str:
    """The help for the method, environment and scale among the overrides, or the first of the grid."""
    given = [text.partition("=")[0] for text in overrides]
    first = {"method": params.grid.methods[0], "env": params.grid.envs[0]}
    chosen = [*overrides, *(f"{key}={value}" for key, value in first.items() if key not in given)]
    selection = command_line.check(command_line.parse(chosen), params)[0]
    config = compose(params, selection)
    head = HEAD.format(
        methods=", ".join(params.methods),
        variants=", ".join(params.variants) or "none",
        envs=", ".join(params.envs),
        scales=", ".join(params.scales),
        scale=params.scale,
        devices=", ".join(DEVICES),
        tracking=", ".join(TRACKING),
        default_tracking=params.tracking,
        parts="".join(f"{kind:<9} {', '.join(names(kind))} (now {config[kind]['name']})\n" for kind in KINDS),
        some=",".join(list(params.methods)[:2]),
        method=selection["method"],
        env=selection["env"],
        at_scale=selection.get("scale", params.scale),
    )
    sections = classes_of({kind: config[kind]["name"] for kind in KINDS})
    rows = [row for section, settings in sections.items() for row in _rows(section, settings, config[section])]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    padded = ([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]] for row in rows)
    return head + "\n".join("  ".join(line).rstrip() for line in padded)


def _rows(section: str, settings: Any, values: Any) -> Iterator[tuple[str, str, str, str]]:
    for field in dataclasses.fields(settings):
        rule = field.metadata
        if field.name == "name":
            continue
        words = rule.get("options", ("none", rule["digest"]) if "digest" in rule else ("true", "false"))
        span = f"[{rule['low']}, {rule['high']}]" if "low" in rule else "|".join(words)
        value = values[field.name]
        words = "; ".join(filter(None, (rule.get("unit"), rule["origin"], rule["help"])))
        yield f"{section}.{field.name}", str(value).lower() if isinstance(value, bool) else str(value), span, words
