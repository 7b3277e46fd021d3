"""A study: a folder with params.yaml, dvc.lock and reports of its own, and the code, stages and runs of the project.

Whatever is typed in studies/<name> is about the study: `tom` and `dvc` find its params.yaml there and write below it.
So the published record stays as it is, to the byte, and a run that both ask for is trained once.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from pipeline.config.refusals import check_name
from pipeline.files import CODE, replaced_folder
from tom.settings.fields import SettingsError

DVC = (".dvcignore", ".dvc/.gitignore", ".dvc/config")
SHARED = ("tom", "pipeline", "runs", "engines.yaml", "dvc.yaml", "suites/*/dvc.yaml")
OWN = ("params.yaml", "dvc.lock", "suites/*/dvc.lock", "reports", *DVC)
OUT_OF_GIT = "[core]\n    no_scm = true\n"  # as studies/ is in .gitignore


def study(name: str, anew: bool = False, project: Path = CODE) -> str:
    """Makes studies/<name>, which begins as a copy of what is recorded; returns what to do there.

    With `anew` nothing of the grid is taken for trained: the study has no results of it and a runs/ of its own.
    """
    folder = project / "studies" / check_name(name, "study")
    if folder.exists():
        raise SettingsError(f"study={name} is there; nearest valid choice: cd {folder.relative_to(project)}")
    (project / "runs").mkdir(exist_ok=True)
    shared = [name for name in SHARED if not (anew and name == "runs")]
    with replaced_folder(folder) as fresh:
        for path, target in _each(shared, project, fresh):
            up = Path(*[".."] * len(target.parent.relative_to(project).parts))
            target.symlink_to(up / path.relative_to(project))
        for path, target in _each(OWN, project, fresh):
            if path.is_dir():
                shutil.copytree(path, target, ignore=shutil.ignore_patterns("*.partial", "*.tmp"))
            else:
                shutil.copyfile(path, target)
        if anew:
            shutil.rmtree(fresh / "reports/results", ignore_errors=True)
        (fresh / ".dvc/config.local").write_text(OUT_OF_GIT, encoding="utf-8")
    return (
        f"{folder.relative_to(project)} begins as a copy of what is recorded here\n"
        f"next: cd {folder.relative_to(project)}, edit params.yaml, tom repro; its page: reports/index.html there"
    )


def _each(patterns: Iterable[str], project: Path, fresh: Path) -> list[tuple[Path, Path]]:
    """Where each thing is in the project, and where in the study, whose folder for it is made."""
    found = [path for pattern in patterns for path in sorted(project.glob(pattern))]
    pairs = [(path, fresh / path.relative_to(project)) for path in found]
    for _, target in pairs:
        target.parent.mkdir(parents=True, exist_ok=True)
    return pairs
