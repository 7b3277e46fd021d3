"""What a run added to its replay, as a data set: kept with the run when it ends, or read from its checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import read_yaml
from pipeline.runs.datasets.folder import MANIFEST, write
from pipeline.runs.folder import CHECKPOINTS, Refused, beside

if TYPE_CHECKING:
    from pipeline.runs.batch import Run
    from tom.core.recording import Recording


def recorded(replay: Mapping[str, Any], config: Mapping[str, Any]) -> "Recording":
    """The rows of its own in the state of a replay of one replica, the oldest first."""
    from tom.core.recording import Recording
    from tom.core.replay import Transitions
    from tom.envs import spec_of

    spec = spec_of(config["env"], config["train"]["contact_cost"])
    rows = Transitions(replay["rows"][0, replay.get("preloaded", 0) :], spec.observation_dim, spec.action_dim)
    return Recording.of(rows, replay["resets"][0, : int(replay["reset_count"][0])])


def keep_replays(runs: "Sequence[Run]", state: Mapping[str, Any]) -> None:
    """Makes the folder of each run, whose state at the end this is, a data set besides."""
    from pipeline.runs.provenance import names_of
    from tom.states import split

    for run, own in zip(runs, split(state["replay"], len(runs)), strict=True):
        config = run.cell.config
        known = {**names_of(run.cell), "fingerprint": run.cell.fingerprint, "source": run.cell.name}
        write(run.folder, recorded(own, config), config["env"], config["train"]["contact_cost"], known)


def replay_of(run: Path) -> "tuple[Recording, str, bool]":
    """The transitions in the newest checkpoint of a run, their environment, and whether rewards count contact costs.

    A run that stopped at `until`, or was interrupted, has a checkpoint; Refused if there is none.
    """
    import torch

    places = [place for folder in (run, beside(run, ".partial")) for place in sorted((folder / CHECKPOINTS).glob("*"))]
    states = [place / "state.pt" for place in places if place.name.isdigit() and (place / MANIFEST).is_file()]
    if not states:
        raise Refused(f"{run} kept no replay; give a data set, or a run with keep_replay=true or until=")
    config = read_yaml((states[-1].parents[2] / "config.yaml").read_text(encoding="utf-8"))
    replay = torch.load(states[-1], weights_only=True, map_location="cpu")["replay"]
    return recorded(replay, config), config["env"], bool(config["train"]["contact_cost"])
