"""Curves that a reader can hover over and switch off, as Vega-Lite; where no script runs the pictures stand alone.

One specification per picture, its data inside; the libraries that draw it come as one script with the page.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import vl_convert
from markupsafe import Markup

from pipeline.analysis.looks import looks, place_of, spelled

Chart = dict[str, Any]
STYLE = {"view": {"stroke": None}, "axis": {"gridColor": "#e8e8e8"}, "legend": {"symbolOpacity": 1.0}}
WIDTH, HEIGHT, PANELS = 300, 210, 3  # of a panel in pixels, and how many stand side by side
COLUMNS_SHOWN = ["env", "method", "seed", "env_steps", "mean", "low", "high"]  # a row without a seed is of a mean
ONLY_RUNS, ONLY_MEANS = [{"filter": "isValid(datum.seed)"}], [{"filter": "!isValid(datum.seed)"}]
POINTS = 64  # of a curve at most: a page has no room for every evaluation of hundreds of long runs
MARGIN = 0.15  # of the runs' range, by which a band may leave it
RETURN = {"field": "mean", "type": "quantitative", "title": "return"}
STEPS = {"title": "environment steps", "format": "~s"}
SHOWN = {"condition": {"param": "shown", "value": 1.0}, "value": 0.06}
# Draws every chart of the page in the place of its picture, or above one that shows more.
DRAW = """
for (const place of document.querySelectorAll("[data-chart]")) {
  const picture = place.nextElementSibling;
  const chart = JSON.parse(document.getElementById(place.dataset.chart).textContent);
  chart.description = picture.alt;
  vegaEmbed(place, chart, {actions: false, renderer: "svg"}).then(() => {
    picture.hidden = !("both" in place.dataset);
  });
}
"""


def script() -> Markup:
    """The libraries and what draws the charts, to stand in a script element."""
    bundle = vl_convert.javascript_bundle(DRAW)
    return Markup(bundle.replace("</script", "<\\/script"))  # the libraries' own text


def charts(reports: Path) -> dict[str, str]:
    """The charts by the name of their picture below reports/figures, as JSON; none where the table is not there."""
    found = {name: chart(reports) for name, chart in CHARTS.items()}
    evidence = reports / "tables/evidence/curves.csv"
    runs = pd.read_csv(evidence) if evidence.is_file() else pd.DataFrame({"env": []})
    runs = runs.rename(columns={"plain": "mean"})  # the return of each evaluation; every run by itself
    found |= {f"evidence/{env}": panels(rows[:0], rows) for env, rows in runs.groupby("env", sort=False)}
    return {name: json.dumps(chart, separators=(",", ":")) for name, chart in found.items() if chart}


def of_returns(curve: str) -> Callable[[Path], Chart | None]:
    """The grid's returns: every seed, their mean and its band."""

    def chart(reports: Path) -> Chart | None:
        means, runs = (_table(reports / f"tables/returns/{name}.csv") for name in ("curves", "curves_by_seed"))
        if means is None or runs is None:
            return None
        return panels(means[means["curve"] == curve], runs.rename(columns={curve: "mean"}))

    return chart


def of_paper(reports: Path) -> Chart | None:
    """The published curves with their bands, as they were read off."""
    table = _table(reports / "paper/fig3_curves.csv")
    names = {"return_mean": "mean", "return_low": "low", "return_high": "high"}
    return None if table is None else panels(table.rename(columns=names), table[:0])


CHARTS: Mapping[str, Callable[[Path], Chart | None]] = {
    "returns/learning_curves": of_returns("cumulative_max"),
    "returns/learning_curves_plain": of_returns("plain"),
    "report/published_curves": of_paper,
}


def panels(means: pd.DataFrame, runs: pd.DataFrame) -> Chart:
    """A panel per environment: a line per method with its band, a thin one per run; a click on a name keeps it alone.

    A band is drawn as far as the runs' own range and a little more; what is under the pointer is the whole.
    """
    rows = pd.concat([_thinned(table.reindex(columns=COLUMNS_SHOWN)) for table in (means, runs)], ignore_index=True)
    methods, order = looks(rows["method"].unique()), [*map(place_of, rows["env"].unique())]
    rows = _cut(rows.assign(env=rows["env"].map(place_of), method=rows["method"].map(spelled)))
    colours = {"domain": [*map(spelled, methods)], "range": [look.colour for look in methods.values()]}
    colour = {"field": "method", "type": "nominal", "title": None, "legend": {"orient": "top"}, "scale": colours}
    shared = {"x": {"field": "env_steps", "type": "quantitative", "axis": STEPS}, "color": colour}
    values = json.loads(rows.round(1).to_json(orient="records"))
    return {
        "data": {"values": [{name: value for name, value in row.items() if value is not None} for row in values]},
        "facet": {"field": "env", "type": "nominal", "title": None, "sort": order},
        "columns": PANELS,
        "spec": {"width": WIDTH, "height": HEIGHT, "layer": [_band(shared), _runs(shared), _means(shared)]},
        "resolve": {"scale": {"x": "independent", "y": "independent"}},
        "config": STYLE,
    }


def _thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """Every k-th point of each curve up to its last, so that POINTS are left at most."""
    curve = rows.groupby(["env", "method", "seed"], dropna=False)["env_steps"]
    behind, every = curve.cumcount(ascending=False), np.ceil(curve.transform("size") / POINTS)
    return rows[behind % every == 0]


def _cut(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the ends of the band as they are drawn."""
    groups = rows[rows["seed"].notna()].groupby("env")["mean"]
    lowest, highest = (rows["env"].map(ends) for ends in (groups.min(), groups.max()))
    margin = MARGIN * (highest - lowest)
    drawn = {
        "from": rows["low"].clip(lower=(lowest - margin).fillna(-np.inf)),
        "to": rows["high"].clip(upper=(highest + margin).fillna(np.inf)),
    }
    return rows.assign(**drawn)


def _band(shared: Chart) -> Chart:
    ends = {"y": {"field": "from", "type": "quantitative", "title": "return"}, "y2": {"field": "to"}}
    faint = {"condition": {"param": "shown", "value": 0.15}, "value": 0.0}
    return {"transform": ONLY_MEANS, "mark": "area", "encoding": {**shared, **ends, "opacity": faint}}


def _runs(shared: Chart) -> Chart:
    detail = {"detail": {"field": "seed"}, "tooltip": _told("seed", "env_steps", "mean")}
    mark = {"type": "line", "point": {"size": 9}, "strokeWidth": 0.8}
    return {"transform": ONLY_RUNS, "mark": mark, "encoding": {**shared, "y": RETURN, "opacity": SHOWN, **detail}}


def _means(shared: Chart) -> Chart:
    params = [{"name": "shown", "select": {"type": "point", "fields": ["method"]}, "bind": "legend"}]
    told = {"tooltip": _told("env_steps", "mean", "low", "high")}
    mark = {"type": "line", "point": {"size": 12}, "strokeWidth": 2}
    encoding = {**shared, "y": RETURN, "opacity": SHOWN, **told}
    return {"transform": ONLY_MEANS, "params": params, "mark": mark, "encoding": encoding}


def _told(*names: str) -> list[Chart]:
    """What is said of the point under the pointer."""
    titles = {"env_steps": "env steps", "mean": "return"}
    shown = {"type": "quantitative", "format": ",.0f"}
    return [{"field": "method"}, *({"field": name, "title": titles.get(name, name), **shown} for name in names)]


def _table(path: Path) -> pd.DataFrame | None:
    return pd.read_csv(path) if path.is_file() else None
