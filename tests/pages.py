"""The pages of the repository as a reader finds them: their links, what stands in code, and what they say."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
SPAN = re.compile(r"`([^`]+)`")
COMMENT = re.compile(r"(?:^|\s)#.*")


class Page(NamedTuple):
    """A Markdown file: its path from ROOT, and its text."""

    path: Path
    text: str

    @property
    def prose(self) -> list[str]:
        """Its lines that are no code block, with what stands in backticks."""
        return [line for line, is_code in _lines(self.text) if not is_code]

    @property
    def blocks(self) -> list[str]:
        """The lines of its code blocks, without their comments."""
        return [COMMENT.sub("", line).strip() for line, is_code in _lines(self.text) if is_code]

    @property
    def paragraphs(self) -> list[str]:
        """Its prose between empty lines."""
        return re.split(r"\n\s*\n", "\n".join(self.prose))

    @property
    def spans(self) -> list[str]:
        """What stands in backticks in its prose, each in one line."""
        return [" ".join(span.split()) for paragraph in self.paragraphs for span in SPAN.findall(paragraph)]

    @property
    def links(self) -> list[str]:
        """Where its links and images lead."""
        return [link for paragraph in self.paragraphs for link in LINK.findall(SPAN.sub("", paragraph))]

    @property
    def anchors(self) -> set[str]:
        """The ends of links that lead to its headings, as GitHub makes them."""
        headings = [line.lstrip("#").strip().lower() for line in self.prose if re.match(r"#+ ", line)]
        return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}

    @property
    def said(self) -> Iterator[str]:
        """Its paragraphs, list items and table rows, each in one line; headings, a table's too, and code are none."""
        for paragraph in self.paragraphs:
            parts = re.split(r"\n(?=\||\* |\d+\. )", paragraph.strip())
            for part in parts[2:] if paragraph.lstrip().startswith("|") else parts:
                if not part.startswith("#"):
                    yield " ".join(part.split())


def pages() -> list[Page]:
    """Every Markdown file of the repository, tracked or about to be."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [Path(name) for name in sorted({*filter(None, listed.split("\0"))}) if (ROOT / name).is_file()]
    return [Page(path, (ROOT / path).read_text(encoding="utf-8")) for path in paths]


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it is of a code block: fenced, or indented by four after an empty line."""
    fenced = code = False
    before = ""
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif line.strip():
            code = line.startswith("    ") and (code or not before.strip())
        yield line, fenced or code
        before = line
