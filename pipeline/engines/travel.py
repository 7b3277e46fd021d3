"""What travels from a node to here where nothing is shared: finished folders, checked, and the end of a log."""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

LOG_BYTES = 100_000


def packed(folders: Sequence[Path]) -> bytes:
    """The folders that are there, as an archive whose names are their places in the list."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for place, folder in enumerate(folders):
            if folder.is_dir():
                archive.add(folder, arcname=str(place), filter=_no_link)
    return buffer.getvalue()


def unpack(content: bytes, folders: Sequence[Path]) -> None:
    """Puts each folder in its place, whole; ValueError if a file is not as it was recorded."""
    from pipeline.files import replaced_folder  # of the machine where this is called, which has it

    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for place, folder in enumerate(folders):
            inside = [member for member in archive.getmembers() if member.name.startswith(f"{place}/")]
            if not inside:
                continue
            with replaced_folder(folder) as fresh:
                archive.extractall(
                    fresh, [member.replace(name=member.name.partition("/")[2]) for member in inside], filter="data"
                )
                _check(fresh)


def end_of(log: Path) -> bytes:
    """The last of what a task said."""
    return log.read_bytes()[-LOG_BYTES:] if log.is_file() else b""


def keep_log(content: bytes, log: Path) -> None:
    """Puts it where it is looked for."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(content)


def _no_link(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """W&B's folder has links to places on its machine."""
    return None if member.issym() or member.islnk() else member


def _check(folder: Path) -> None:
    recorded = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["sha256"]
    for name, digest in recorded.items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise ValueError(f"{name} is not as it was recorded; it was damaged on its way")
