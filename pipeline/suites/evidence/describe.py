"""What a commit's own code makes of the evidence's runs; it is asked in a process of its own, in its own worktree.

`python -m pipeline.suites.evidence.describe` reads {"scale": S, "cells": [[method, env, seed, until], ...]} and writes,
for each "<method>/<env>", what a cell file has (pipeline/suites/configure.py) and the fingerprint and the stop of each
seed.
"""

import json
import sys
from collections.abc import Iterable
from typing import Any

from pipeline.config.compose import compose_cell
from pipeline.config.digests import source_digest, source_digests
from pipeline.config.fingerprint import fingerprint
from pipeline.config.refusals import check_until
from pipeline.files import ROOT
from pipeline.runs.answers import answering


def described(scale: str, cells: Iterable[tuple[str, str, int, int | None]]) -> dict[str, dict[str, Any]]:
    """By "<method>/<env>"; SettingsError if a cell cannot be composed, or cannot stop where it is to."""
    files: dict[str, dict[str, Any]] = {}
    for method, env, seed, until in cells:
        if (name := f"{method}/{env}") not in files:
            config = compose_cell(method, env, scale)
            sources = source_digests(config, ROOT)
            files[name] = {"config": config, "source_digest": source_digest(sources), "sources": sources, "seeds": {}}
        config = files[name]["config"]
        stop = None if until is None else check_until(f"evidence: until on {env}", until, config["train"])
        files[name]["seeds"][str(seed)] = {"fingerprint": fingerprint(config, seed), "until": stop}
    return files


@answering
def main() -> str:
    """0; 2 and one sentence for what this code cannot train."""
    return json.dumps(described(**json.load(sys.stdin)))


if __name__ == "__main__":
    sys.exit(main())
