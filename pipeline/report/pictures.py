"""The figures that the page shows: which there are, what each shows, and its picture."""

import base64
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.analysis.looks import place_of

COLOURS = 128  # of a picture on the page
PARTS = ("csv", "chart")  # of a picture, that a page can do without, the first sooner
SHOWN = 0.7  # of a picture's pixels: they are drawn for print
# Figures by folder and file name, `*` for all that a suite drew: (heading, what they show, table with their data).
FIGURES = {
    "report/published_curves": (
        "Published learning curves",
        "Best return so far by environment steps, five methods on five environments, read off Figure 3 of the paper.",
        "paper/fig3_curves.csv",
    ),
    "returns/learning_curves": (
        "Learning curves, cumulative maximum",
        "Best return so far by environment steps: each seed thin, their mean thick, the published mean if comparable.",
        "tables/returns/curves_by_seed.csv",
    ),
    "returns/learning_curves_plain": (
        "Learning curves, every evaluation",
        "The same without the maximum, which hides collapses.",
        "tables/returns/curves_by_seed.csv",
    ),
    "report/averages": (
        "Normalised average",
        "Return divided by MBPO's, averaged over environments: ours beside the published bars.",
        "tables/report/averages.csv",
    ),
    "report/profiles": (
        "Performance profiles",
        "Share of a method's runs above each normalised score.",
        "tables/report/profiles.csv",
    ),
    "report/improvement": (
        "Probability of improvement",
        "How likely a run of one method beats a run of another on the same environment.",
        "tables/report/improvement.csv",
    ),
    "report/model_error": (
        "Model error against return",
        "Each run's model error in its last rounds and its best return, one panel per environment.",
        "tables/report/model_error.csv",
    ),
    "road/*": (
        "Road-and-Rocks (Figure 2)",
        "The map, the returns of TOM, offline MBPO and others along training, and their weights over the map.",
        "tables/road/curves.csv",
    ),
    "gorge/*": (
        "Road-and-Rocks with a gorge",
        "A second world: beyond the gorge every step is paid, and no action leads there.",
        "tables/road/gorge_curves.csv",
    ),
    "weights/*": (
        "Weights on a curated buffer (Figure 4)",
        "Mean weight of each chunk of a buffer, half random data, half the replay of SAC, beside the published bars.",
        "tables/weights/bars.csv",
    ),
    "ablation/*": (
        "One switch at a time",
        "What each setting by which one method differs from another does, alone, all added up, and all together.",
        "tables/ablation/attribution.csv",
    ),
    "crossings/*": (
        "TOM as a plug-in, and its neighbours",
        "What each weighting adds to uniform weights with the same loss and backbone, paired by seed.",
        "tables/crossings/differences.csv",
    ),
    "finetune/*": (
        "From somebody else's data to online learning",
        "What TOM's weights add to uniform weights where agents begin with rows of SAC's replay, paired by seed.",
        "tables/finetune/differences.csv",
    ),
    "networked/*": (
        "Networks of agents (DMPO)",
        "Return of platoons by environment steps, with and without a model, beside rules that do not learn; and what a "
        "policy gradient loses if each agent looks no further than a few hops, in two networks where it is exact.",
        "tables/networked/curves.csv",
    ),
    "meta/*": (
        "A prior learned on many tasks",
        "How fast a model adapts to a new task from a meta-learned prior, from none, and from one model of all tasks.",
        "tables/meta/curves.csv",
    ),
    "age/*": (
        "Weights by age",
        "Mean weight of each tenth of the buffer by the age of its data, in every round of training.",
        "tables/age/heatmap.csv",
    ),
}
Picture = dict[str, Any]  # as the page shows it
PROTOCOL = (  # the figures of the suite of evidence, which has a section of its own
    "How far the runs have come",
    "Returns at every evaluation and their maximum so far beside the published mean and band, the effective share of "
    "the buffer, the critic's mean Q, and the model's errors on the newest rows, by learning steps.",
    "tables/evidence/curves.csv",
)


def pictures(reports: Path, charts: Mapping[str, str]) -> tuple[list[Picture], list[tuple[str, str]]]:
    """Every figure that was drawn, and of the others the heading with what it would need."""
    drawn, absent = [], []
    for name, about in FIGURES.items():
        made = drawn_as(reports, charts, name, *about)
        drawn += made
        if not made:
            absent.append((about[0], "the suite has no figure here" if "*" in name else "no data at this scale"))
    return drawn, absent


def drawn_as(
    reports: Path, charts: Mapping[str, str], name: str, heading: str, text: str, table: str, named: bool = False
) -> list[Picture]:
    """The figures of this name below reports/figures, in order, each with the text that was drawn with it.

    Picture and table are in base64; `chart` is to be drawn in its place, as JSON, if there is one; `place` is what an
    address on the page calls it. Their own names are in the headings if `named`, or if there are several. The table
    comes with the first of them, their `owner`: a page has no room for one table several times.
    """
    found, paths = list[Picture](), sorted((reports / "figures").glob(f"{name}.png"))
    for path in paths:
        title = f"{heading}: {place_of(path.stem)}" if named or len(paths) > 1 else heading
        said = path.with_suffix(".txt")
        whole = f"{text} {said.read_text(encoding='utf-8').strip()}" if said.is_file() else text
        content, size = small(path)
        width, height = (round(SHOWN * pixels) for pixels in size)
        picture = {"heading": title, "text": whole, "alt": f"{title}: {whole}", "width": width, "height": height}
        picture |= {"data": base64_of(content), "chart": charts.get(f"{path.parent.name}/{path.stem}", "")}
        picture |= {"table": table, "csv": "" if found else base64_of((reports / table).read_bytes())}
        picture |= {"place": re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-"), "owner": found[0] if found else None}
        found.append(picture)
    return found


def fitted(draw: Callable[[], str], pictures: Sequence[Picture], limit: int) -> str:
    """What `draw` makes of the pictures, which lose tables, then charts, the largest first, until it has `limit` bytes.

    The pictures themselves stay, and the place of each table; ValueError if they alone have more.
    """
    going = [(part, picture) for part in PARTS for picture in _by_size(pictures, part)]
    while (size := len((drawn := draw()).encode())) > limit:
        if not going:
            raise ValueError(f"the page would have {size:,} bytes, more than {limit:,}: draw fewer or smaller figures")
        part, picture = going.pop(0)
        picture[part] = ""
    return drawn


def _by_size(pictures: Sequence[Picture], part: str) -> list[Picture]:
    return sorted((each for each in pictures if each[part]), key=lambda each: len(each[part]), reverse=True)


def small(path: Path) -> tuple[bytes, tuple[int, int]]:
    """The figure as WebP in COLOURS colours, which nobody sees and leaves a third of its bytes; its size in pixels."""
    with Image.open(path) as picture:
        fewer = picture.convert("RGB").quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    content = io.BytesIO()
    fewer.save(content, "WEBP", lossless=True, quality=80)  # of effort; more takes a minute
    return content.getvalue(), fewer.size


def base64_of(content: bytes) -> str:
    """Bytes as they stand in a data: address."""
    return base64.b64encode(content).decode("ascii")
