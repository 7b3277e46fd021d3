"""The code that trains the evidence: a worktree of one commit, so that editing the code here stops nothing."""

import shutil
from pathlib import Path

from pipeline.files import ROOT, git
from pipeline.runs.folder import Refused

TREES = Path("runs/evidence/code")
KEY = "evidence: commit"


def checkout(commit: str, root: Path = ROOT) -> Path:
    """The folder with the code of the commit, made if it is not there as it was committed.

    Refused if there is no git, or the commit is not in the history.
    """
    folder = root / TREES / commit
    if shutil.which("git") is None:
        raise Refused(f"{KEY}={commit}: there is no git here to check it out with; install git")
    if _is_as_committed(folder, commit):
        return folder
    if git(root, "rev-parse", "--git-dir").returncode:
        raise Refused(f"{KEY}={commit}: this folder is not a git repository; clone it with its history")
    if git(root, "merge-base", "--is-ancestor", commit, "HEAD").returncode:
        head = git(root, "rev-parse", "HEAD").stdout.strip()
        raise Refused(f"{KEY}={commit} is not in the history; nearest valid choice: {head or 'a first commit'}")
    shutil.rmtree(folder, ignore_errors=True)
    git(root, "worktree", "prune")
    made = git(root, "worktree", "add", "--quiet", "--force", "--detach", str(folder), commit)
    if made.returncode:
        raise Refused(f"{KEY}={commit} cannot be checked out: {' '.join(made.stderr.split())}")
    return folder


def _is_as_committed(folder: Path, commit: str) -> bool:
    if not (folder / ".git").exists():
        return False
    head, changed = git(folder, "rev-parse", "HEAD"), git(folder, "status", "--porcelain", "--untracked-files=no")
    return head.stdout.strip() == commit and not changed.returncode and not changed.stdout
