"""The figures that the page shows: which there are, what each shows, and its picture."""

import base64
import struct
from dataclasses import dataclass
from pathlib import Path

SHOWN = 0.7  # of a picture's pixels: they are drawn for print
# Every figure by folder and file name: (heading, what it shows, table with its data).
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
}
# The other suites' figures, by folder: (heading, what they show, table with their data); drawn by their own stages.
SUITES = {
    "road": (
        "Road-and-Rocks (Figure 2)",
        "The map, the returns of TOM, offline MBPO and others along training, and their weights over the map.",
        "tables/road/curves.csv",
    ),
    "gorge": (
        "Road-and-Rocks with a gorge",
        "A second world: beyond the gorge every step is paid, and no action leads there.",
        "tables/road/gorge_curves.csv",
    ),
    "weights": (
        "Weights on a curated buffer (Figure 4)",
        "Mean weight of each chunk of a buffer, half random data, half the replay of SAC, beside the published bars.",
        "tables/weights/bars.csv",
    ),
    "ablation": (
        "One switch at a time",
        "What each setting by which one method differs from another does, alone, all added up, and all together.",
        "tables/ablation/attribution.csv",
    ),
    "age": (
        "Weights by age",
        "Mean weight of each tenth of the buffer by the age of its data, in every round of training.",
        "tables/age/heatmap.csv",
    ),
}
PROTOCOL = (  # the suite of evidence, which has a section of its own
    "How far the runs have come",
    "Returns at every evaluation and their maximum so far beside the published mean and band, the effective share of "
    "the buffer, the critic's mean Q, and the model's errors on the newest rows, by learning steps.",
    "tables/evidence/curves.csv",
)
NOT_DRAWN = {
    "road": "the suite Road-and-Rocks has no figure here",
    "gorge": "the suite Road-and-Rocks has no second figure here",
    "weights": "the suite of the curated buffer has no figure here",
    "ablation": "the suite of the switches has no figure here",
    "age": "the weights by age have no figure here",
}


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it; `data` is its PNG in base64."""

    heading: str
    text: str
    alt: str
    table: str
    file: str
    data: str
    width: int
    height: int


def picture(reports: Path, name: str, heading: str, text: str, table: str) -> Picture | None:
    """The figure `name` below reports/figures, with the text of that name if there is one; None if it was not drawn."""
    path = reports / "figures" / f"{name}.png"
    if not path.is_file():
        return None
    if path.with_suffix(".txt").is_file():
        text = f"{text} {path.with_suffix('.txt').read_text(encoding='utf-8').strip()}"
    content = path.read_bytes()
    width, height = struct.unpack(">II", content[16:24])  # where a PNG has its size
    data = base64.b64encode(content).decode("ascii")
    vector = f"figures/{name}.pdf"
    size = round(SHOWN * width), round(SHOWN * height)
    return Picture(heading, text, f"{heading}: {text}", table, vector, data, *size)


def pictures(reports: Path) -> tuple[list[Picture], list[tuple[str, str]]]:
    """Every figure that was drawn, and of the others the heading with what it would need."""
    drawn, absent = [], []
    for name, (heading, text, table) in FIGURES.items():
        found = picture(reports, name, heading, text, table)
        drawn.append(found) if found else absent.append((heading, NOT_DRAWN.get(name, "no data at this scale")))
    for suite, about in SUITES.items():
        made = every_picture(reports, suite, *about)
        drawn.extend(made)
        if not made:
            absent.append((about[0], NOT_DRAWN[suite]))
    return drawn, absent


def every_picture(reports: Path, suite: str, heading: str, text: str, table: str, named: bool = False) -> list[Picture]:
    """Every figure of a suite, in the order of their names, which are in the headings where they are to be `named`."""
    files = sorted((reports / "figures" / suite).glob("*.png"))
    headings = [f"{heading}: {path.stem}" if named else heading for path in files]
    made = [picture(reports, f"{suite}/{p.stem}", h, text, table) for p, h in zip(files, headings, strict=True)]
    return [each for each in made if each]
