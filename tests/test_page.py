"""The page as a reader gets it: whole, alone on its disk, and the same every time."""

import base64
import json
import re
import shutil
from collections import Counter
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import vl_convert

from pipeline.analysis.extent import stops
from pipeline.analysis.looks import place_of
from pipeline.checks import remade
from pipeline.checks.remade import made_problems
from pipeline.claims import table as claims
from pipeline.report.curves import POINTS, charts, script
from pipeline.report.page import LIMIT_BYTES, REGISTER, deviations, inline, render
from pipeline.report.page import make as write
from pipeline.report.pictures import fitted, pictures
from pipeline.report.studies import seeds, studies
from pipeline.suites.evidence import tables as evidence
from tests.commands import complaint, typed
from tests.pages import Page

ROOT = Path(__file__).resolve().parents[1]
VOID = {"meta", "link", "img", "br"}


class Reader(HTMLParser):
    """Every tag with its attributes; refuses tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def all(self, tag: str, key: str) -> list[str]:
        return [str(attrs[key]) for name, attrs in self.tags if name == tag and key in attrs]


@pytest.fixture(scope="module")
def html() -> str:
    return render(ROOT)


@pytest.fixture(scope="module")
def page(html: str) -> Reader:
    return Reader(html)


def test_it_can_be_sent_alone(page: Reader) -> None:
    """Every link leads to a section, or has its file in it; the register's lead to headings of other pages."""
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert max(Counter(ids).values()) == 1
    links = [attrs for tag, attrs in page.tags if tag == "a"]
    assert len(links) > 20
    files = {base64.b64encode(path.read_bytes()).decode() for path in (ROOT / "reports").rglob("*.csv")}
    files |= {base64.b64encode((ROOT / "reports/claims.yaml").read_bytes()).decode()}
    for link in links:
        where = str(link["href"])
        if where.startswith(("#", "data:")):
            assert where[1:] in ids if where.startswith("#") else where.partition(";base64,")[2] in files, where[:80]
        else:
            name, _, anchor = where.partition("#")
            beside = ROOT / "reports" / name
            assert not anchor or anchor in Page(beside, beside.read_text(encoding="utf-8")).anchors, where
            assert beside.is_file(), where


def test_a_curve_is_drawn_from_its_table(page: Reader, html: str) -> None:
    """Every place of a chart has its values; the means are those of the table, to the tenth."""
    places = page.all("div", "data-chart")
    assert "chart-learning-curves-cumulative-maximum" in places and "chart-published-learning-curves" in places
    text = html.partition('id="chart-learning-curves-cumulative-maximum">')[2].partition("</script>")[0]
    drawn = pd.DataFrame(json.loads(text)["data"]["values"])
    table = pd.read_csv(ROOT / "reports/tables/returns/curves.csv")
    means = table[table["curve"] == "cumulative_max"]
    assert drawn[drawn["seed"].isna()]["mean"].to_list() == means["mean"].round(1).to_list()
    assert (drawn["from"].dropna() >= drawn["low"].dropna()).all()
    for place in places:
        assert f'<script type="application/json" id="{place}">' in html


def test_a_chart_is_one_that_vega_lite_draws() -> None:
    for chart in charts(ROOT / "reports").values():
        assert vl_convert.vegalite_to_svg(json.loads(chart)).count("mark-line") > 1


def test_every_reference_between_elements_resolves(page: Reader) -> None:
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    named = {str(attrs["aria-labelledby"]) for _, attrs in page.tags if "aria-labelledby" in attrs}
    assert named <= ids


def test_pictures_are_embedded_whole_and_described(page: Reader) -> None:
    sources = page.all("img", "src")
    assert len(sources) >= 7
    for source in sources:
        head, _, data = source.partition(",")
        assert head == "data:image/webp;base64"
        picture = base64.b64decode(data, validate=True)
        assert (picture[:4], picture[8:12]) == (b"RIFF", b"WEBP")
    assert all(len(text) > 40 for text in page.all("img", "alt"))
    assert len(page.all("img", "alt")) == len(page.all("img", "width")) == len(sources)


def test_nothing_is_asked_of_the_network(html: str) -> None:
    """The libraries have addresses among their words; `make look` sees that they are not asked."""
    ours = html.replace(str(script()), "")
    assert len(ours) < len(html) - 500_000
    assert "http://" not in ours and "https://" not in ours
    assert not re.search(r"@import|url\(|<script src", ours)
    assert len(html.encode()) < LIMIT_BYTES


def test_every_claim_and_every_run_is_on_the_page(html: str, page: Reader) -> None:
    claims = pd.read_csv(ROOT / "reports/tables/claims/claims.csv")
    rows = page.all("tr", "id")
    early = pd.read_csv(ROOT / "reports/tables/evidence/claims.csv")
    assert rows == [*claims["id"], *early["id"]]
    assert all(f"<code>{name}</code>" in html for name in rows) and "<code>1 of 2 envs [0, 2]</code>" in html
    runs = pd.read_csv(ROOT / "reports/tables/report/runs.csv")
    for run in runs.itertuples():
        assert run.git_commit[:12] in html
        assert f"<code>reports/results/{run.scale}/{run.method}/{run.env}/{run.seed}</code>" in html


def test_same_files_same_bytes_wherever_they_are(tmp_path: Path, html: str) -> None:
    for part in ("reports/paper", "reports/tables", "reports/figures"):
        shutil.copytree(ROOT / part, tmp_path / part)
    for name in (REGISTER, "reports/claims.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    assert write(tmp_path).read_text(encoding="utf-8") == html
    (tmp_path / "reports/figures/report/profiles.png").unlink()
    assert "Performance profiles: no data at this scale" in write(tmp_path).read_text(encoding="utf-8")
    (tmp_path / REGISTER).write_text("# nothing\n")
    with pytest.raises(ValueError, match="has no table"):
        write(tmp_path)


def test_figures_of_other_suites_are_shown_where_they_are(tmp_path: Path) -> None:
    for folder in ("age", "weights"):
        (tmp_path / "figures" / folder).mkdir(parents=True)
    shutil.copy(ROOT / "reports/figures/report/profiles.png", tmp_path / "figures/age/by_age.png")
    (tmp_path / "tables/age").mkdir(parents=True)
    (tmp_path / "tables/age/heatmap.csv").write_text("env\n")
    (tmp_path / "figures/age/by_age.txt").write_text("What it says.\n")
    drawn, absent = pictures(tmp_path, {})
    assert drawn[0]["text"].endswith(". What it says.")
    assert [(figure["heading"], figure["table"]) for figure in drawn] == [("Weights by age", "tables/age/heatmap.csv")]
    assert "Weights on a curated buffer (Figure 4)" in [heading for heading, _ in absent]


def test_a_table_of_several_figures_comes_with_the_first() -> None:
    drawn, _ = pictures(ROOT / "reports", {})
    others = [figure for figure in drawn if figure["owner"]]
    assert others and all(figure["csv"] for figure in drawn if figure not in others)
    for figure in others:
        assert figure["owner"]["table"] == figure["table"] and figure["owner"]["csv"] and not figure["csv"]


def test_what_a_page_has_no_room_for_is_left_out_tables_first() -> None:
    parts = [{"csv": "c" * 100, "chart": "h" * 300}, {"csv": "d" * 200, "chart": ""}]

    def draw() -> str:
        return "é" * 50 + "".join(part["csv"] + part["chart"] for part in parts)

    assert len(fitted(draw, parts, 700).encode()) == 700
    assert fitted(draw, parts, 699) == "é" * 50 + "c" * 100 + "h" * 300
    assert fitted(draw, parts, 499) == "é" * 50 + "h" * 300
    assert fitted(draw, parts, 399) == "é" * 50
    with pytest.raises(ValueError, match="would have 100 bytes, more than 99"):
        fitted(draw, parts, 99)


def test_curves_of_long_runs_have_few_points_and_their_last(tmp_path: Path) -> None:
    """The published length of both methods, four seeds: charts of it leave room on the page."""
    envs = pd.read_csv(ROOT / "reports/paper/fig3_curves.csv")["env"].unique()
    runs = [(env, method, seed) for env in envs for method in ("mbpo", "tom") for seed in range(4)]
    steps = [*range(0, 300_001, 1000)]
    rows = [(*run, step, 1000.0 * run[2], 1000.0 * run[2]) for run in runs for step in steps]
    (tmp_path / "tables/returns").mkdir(parents=True)
    table = pd.DataFrame(rows, columns=["env", "method", "seed", "env_steps", "plain", "cumulative_max"])
    table.to_csv(tmp_path / "tables/returns/curves_by_seed.csv", index=False)
    means = table[table["seed"] == 0].drop(columns="seed").assign(curve="plain", mean=0.0, low=-1.0, high=1.0)
    means.to_csv(tmp_path / "tables/returns/curves.csv", index=False)
    chart = charts(tmp_path)["returns/learning_curves_plain"]
    drawn = pd.DataFrame(json.loads(chart)["data"]["values"])
    curves = drawn.groupby(["env", "method", "seed"], dropna=False)["env_steps"]
    assert len(curves) == 2 * 5 * 5 and curves.size().max() <= POINTS < 2 * curves.size().min()
    assert (curves.max() == 300_000).all() and curves.min().max() < 300_000 / POINTS
    assert len(chart) < LIMIT_BYTES / 5


def test_words_stand_where_code_has_names(tmp_path: Path) -> None:
    """Outside settings, deviations and what is set as code, no name of a column, a method or an environment."""
    for part in ("paper", "tables", "figures"):
        shutil.copytree(ROOT / "reports" / part, tmp_path / "reports" / part)
    for part in ("results", "evidence"):
        (tmp_path / "reports" / part).symlink_to(ROOT / "reports" / part)
    for name in (REGISTER, "reports/claims.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    claims.make(tmp_path)
    evidence.make(tmp_path)
    html = re.sub(r"<(script|style|code)\b.*?</\1>|--claim \w+", "", render(tmp_path), flags=re.DOTALL)
    html = re.sub(
        r'<section id="(settings|deviations)".*?</details>|<small>reports/.*?</small>', "", html, flags=re.DOTALL
    )
    words = unescape(re.sub(r"<[^>]*>", " ", html))
    assert re.findall(r"\S*\w_\w\S*|\b(?:hopper|walker2d|halfcheetah|ant|humanoid|mbpo|pmac)\b", words) == []


def test_a_page_that_is_not_made_of_its_tables_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = remade.stages()
    mine = {name: whole[name] for name in ("claims", "report_tables", "report_figures", "page")}
    monkeypatch.setattr(remade, "stages", lambda: mine)
    for part in ("paper", "tables", "figures"):
        shutil.copytree(ROOT / "reports" / part, tmp_path / "reports" / part)
    (tmp_path / "reports/results").symlink_to(ROOT / "reports/results")
    for name in (REGISTER, "reports/claims.yaml", "reports/index.html"):
        shutil.copy(ROOT / name, tmp_path / name)
    write(tmp_path)

    assert list(made_problems(tmp_path)) == []
    html = tmp_path / "reports/index.html"
    html.write_text(html.read_text(encoding="utf-8").replace("not run at this scale", "supported"), encoding="utf-8")
    (tmp_path / "reports/tables/claims/by_env.csv").unlink()
    missing, unmade, *others = made_problems(tmp_path)
    assert missing == "reports/tables/claims/by_env.csv: missing"
    assert unmade.startswith("reports/index.html: cannot be made again") and "by_env.csv" in unmade
    assert others == ["reports/index.html: missing"] or others == []


def test_what_was_trained_is_said_of_each_study(html: str, page: Reader) -> None:
    """The grid's scale and seeds are not those of the others, and its hours not all."""
    head, _, _ = html.partition("<nav")
    found = {study["name"]: study for study in studies(ROOT / "reports/tables")}
    assert all(f'<th scope="row">{name}</th>' in html for name in found)
    grid, road = found["the grid of methods and environments"], found["Road-and-Rocks"]
    assert f"{grid['name']} (scale {grid['scale']}, {grid['seeds']}" in head
    assert f"Road-and-Rocks ({road['seeds']})" in head
    runs = pd.read_csv(ROOT / "reports/tables/crossings/runs.csv")
    assert found["TOM as a plug-in"]["hours"] == f"{runs['wall_s'].sum() / 3600:.2f}"
    assert road["hours"] == road["places"] == ""
    protocol = pd.read_csv(ROOT / "reports/tables/evidence/runs.csv")
    assert found["the published protocol"]["extent"] == ", ".join(
        f"{place_of(env)} {words}" for env, words in stops(protocol).items()
    )


def test_seeds_are_counted_for_each_method_and_environment(tmp_path: Path) -> None:
    rows = [("mbpo", "hopper", 0), ("tom", "hopper", 0), ("tom", "hopper", 1)]
    runs = pd.DataFrame(rows, columns=["method", "env", "seed"])
    assert (seeds(runs), seeds(runs[:2]), seeds(runs[1:])) == ("1 to 2 seeds", "1 seed", "2 seeds")
    assert list(studies(tmp_path)) == []


def test_register_keeps_code_and_escapes_the_rest() -> None:
    assert inline("a < b, `x|y` and `<z>`") == "a &lt; b, <code>x|y</code> and <code>&lt;z&gt;</code>"
    assert inline(r"f\*₊ of <b>, [there](../a.md#b)") == 'f*₊ of &lt;b&gt;, <a href="../a.md#b">there</a>'
    rows = deviations(ROOT / REGISTER)
    assert [str(cell) for cell in rows[0]] == ["what", "paper or released code", "here", "why"]
    assert len(rows) > 40
    assert {len(row) for row in rows} == {4}


def test_terminal_shows_every_claim_within_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")
    shown = typed("report").stdout
    for name in pd.read_csv(ROOT / "reports/tables/claims/claims.csv")["id"]:
        assert f"({name})" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "only from about 122 k to 238 k env steps" in " ".join(typed("report", "humanoid_60").stdout.split())
    assert "nearest valid choice: humanoid_60" in complaint(typed("report", "humanoid_6"))
