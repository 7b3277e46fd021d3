"""`make look`: reports/index.html in a real headless Chromium, and through an HTML validator and axe-core.

Screenshots at two widths and the page as it prints go to runs/look/; CHROMIUM names the browser where it is not on the
path.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

from pipeline.report.page import PLACE
from pipeline.runs.folder import Refused
from tom.settings.fields import SettingsError

WIDTHS = (390, 1280)  # a phone, a laptop
HEIGHT = 2_400
SHOTS = Path("runs") / "look"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
TIMEOUT_S = 120
# Run in a copy of the page: what axe-core finds with everything unfolded, and how wide things are.
PROBE = """
<script>{axe}</script>
<script>
addEventListener("load", async () => {
  document.querySelectorAll("details").forEach((part) => { part.open = true; });
  const root = document.documentElement;
  const found = {
    window: innerWidth, page: root.scrollWidth,
    pictures: [...document.images].filter((image) => image.naturalWidth === 0).length,
    requests: performance.getEntriesByType("resource").filter((entry) => !entry.name.startsWith("data:")).length,
    faults: (await axe.run()).violations.map((each) =>
      each.id + ": " + each.help + " (" + each.nodes.map((node) => node.target.join(" ")).slice(0, 3).join(", ") + ")"),
  };
  parent.postMessage(JSON.stringify(found), "*");
});
</script>
"""
# The page in a frame, since a browser's own window is never narrower than 500 px.
FRAME = """<!DOCTYPE html><title>frame</title><iframe src="page.html" width="{width}" height="2400" style="border: 0">
</iframe><pre id="found"></pre>
<script>addEventListener("message", (event) => { document.getElementById("found").textContent = event.data; });</script>
"""


def browser() -> str | None:
    """The browser's path; None if there is none."""
    return next(filter(None, map(shutil.which, (os.environ.get("CHROMIUM", ""), *BROWSERS))), None)


def run_browser(path: str, *words: str) -> str:
    """What the browser prints; it neither shares a profile nor reaches any host."""
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        flags += ["--host-resolver-rules=MAP * ~NOTFOUND"]
        flags += ["--no-sandbox"] if os.geteuid() == 0 else []  # it refuses to run as root otherwise
        done = subprocess.run([path, *flags, *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    return done.stdout


def probe(path: str, html: str, axe: str, width: int) -> dict[str, Any]:
    """What PROBE finds in the page at a width; Refused if it found no end."""
    with tempfile.TemporaryDirectory() as folder:
        copy, frame = Path(folder) / "page.html", Path(folder) / "frame.html"
        copy.write_text(html.replace("</body>", PROBE.replace("{axe}", axe) + "</body>"), encoding="utf-8")
        frame.write_text(FRAME.replace("{width}", str(width)), encoding="utf-8")
        shown = run_browser(path, "--virtual-time-budget=60000", "--dump-dom", frame.as_uri())
    found = re.search(r'<pre id="found">(.+?)</pre>', shown, re.DOTALL)
    if found is None:
        raise Refused(f"the page did not finish at {width} px")
    return dict(json.loads(unescape(found[1])))


def problems(found: dict[str, Any], width: int) -> Iterator[str]:
    """What is wrong with a page at a width, a line each."""
    if found["window"] != width:
        yield f"the window is {found['window']} px wide, not {width}"
    if found["page"] > found["window"]:
        yield f"scrolls sideways: {found['page']} px in {found['window']}"
    if found["pictures"]:
        yield f"{found['pictures']} pictures do not show"
    if found["requests"]:
        yield f"{found['requests']} requests to elsewhere"
    yield from found["faults"]


def validate(tools: Path, page: Path) -> list[str]:
    """The lines of html-validate's report; empty if the page is valid."""
    command = [str(tools / "node_modules/.bin/html-validate"), "--formatter", "text", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    failed = done.stderr.splitlines() if done.returncode > 1 else []
    return [*filter(None, done.stdout.splitlines()), *failed]


def looked(tools: Path) -> int:
    """0 if nothing was found; 1 with a line for each problem. `tools`: where npm put html-validate and axe-core."""
    path = browser()
    script = tools / "node_modules/axe-core/axe.min.js"
    if path is None or not script.is_file():
        lacks = "no Chromium on the path (CHROMIUM=...)" if path is None else f"{script} is missing: make look"
        raise SettingsError(f"look: {lacks}")
    html, axe = PLACE.read_text(encoding="utf-8"), script.read_text(encoding="utf-8")
    SHOTS.mkdir(parents=True, exist_ok=True)
    address = PLACE.absolute().as_uri()
    lines = [f"html-validate: {line}" for line in validate(tools, PLACE)]
    for width in WIDTHS:
        lines += [f"{width} px: {line}" for line in problems(probe(path, html, axe, width), width)]
        run_browser(path, f"--window-size={width},{HEIGHT}", f"--screenshot={SHOTS / f'{width}.png'}", address)
    run_browser(path, "--no-pdf-header-footer", f"--print-to-pdf={SHOTS / 'print.pdf'}", address)
    said = f"problems: {len(lines)}" if lines else "valid, accessible, fits"
    print(*lines, f"{PLACE}: {said}; pictures in {SHOTS}/", sep="\n")
    return 1 if lines else 0
