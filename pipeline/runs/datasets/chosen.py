"""The data set that a cell's settings name by its content."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import ROOT
from pipeline.runs.datasets.folder import MANIFEST, content, datasets, load, read_manifest
from pipeline.runs.folder import Refused
from tom.settings.fields import SettingsError

if TYPE_CHECKING:
    from tom.core.recording import Recording


def data_of(config: Mapping[str, Any], root: Path = ROOT) -> "Recording | None":
    """The transitions that a cell with these values begins with, found by their content; None if with none.

    Refused if they are not here, not whole, or of another environment; SettingsError if their rewards are others.
    """
    train = config["train"]
    word = train.get("offline_dataset")
    if not word:
        return None
    known = {path.parent: _content_of(path.parent) for path in sorted(datasets(root).glob(f"*/{MANIFEST}"))}
    folder = next((place for place, name in known.items() if name == word), None)
    if folder is None:
        raise Refused(f"train.offline_dataset={word} is not in {datasets(root)}; `tom dataset` makes and imports them")
    found = load(folder, config["env"])
    counted = found.contact_cost
    if content(found.transitions, config["env"], counted) != word:
        raise Refused(f"{folder} has another content than its manifest says; delete it and make it again")
    if counted != train["contact_cost"] and _costs_contact(config["env"]):
        raise SettingsError(
            f"train.contact_cost={str(train['contact_cost']).lower()} is not how the rewards of {word} were counted; "
            f"nearest valid value: {str(counted).lower()}"
        )
    return found.transitions


def _content_of(folder: Path) -> str:
    try:
        return str(read_manifest(folder).get("content"))
    except Refused:
        return ""


def _costs_contact(env: str) -> bool:
    from tom.envs import spec_of

    return spec_of(env, contact_cost=True).contact_cost is not None
