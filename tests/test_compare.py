"""Two configurations side by side: differences by hand, and every kind of name."""

import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from scipy import stats as independent

from pipeline.analysis.runs import seeds_table
from pipeline.analysis.sides import side
from pipeline.analysis.sides_figure import draw
from pipeline.compare import aligned, compared, differences
from tests.commands import complaint, typed
from tests.results_on_disk import write_cell, write_results


def noisy(method: str, env: str, seed: int, step: int) -> float:
    """Ends at 100, 110, 120 for mbpo and 10, 13, 19 more for tom."""
    gain = (10.0, 13.0, 19.0)[seed] if method == "tom" else 0.0
    return (100.0 + 10.0 * seed + gain) * step / 200


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_results(tmp_path, noisy, seeds=(0, 1, 2))
    return tmp_path


def found(project: Path, one: str, other: str) -> pd.DataFrame:
    return differences(*aligned([side(one, "quick", project), side(other, "quick", project)]), "final").set_index("env")


def test_differences_are_paired_by_seed_and_those_of_scipy(project: Path) -> None:
    row = found(project, "mbpo", "tom").loc["hopper"]
    assert (row["a"], row["b"], row["difference"], row["n_seeds"]) == (110.0, 124.0, 14.0, 3)
    theirs = independent.ttest_rel([110, 123, 139], [100, 110, 120]).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((theirs.low, theirs.high), rel=1e-12)
    assert found(project, "tom", "mbpo").loc["hopper", "difference"] == -14.0


def test_only_shared_seeds_count_and_one_has_no_interval(project: Path) -> None:
    write_cell(project / "elsewhere/tom/hopper/2", [(0, 0.0), (100, 1.0), (200, 200.0)])
    write_cell(project / "elsewhere/tom/ant/0", [(0, 0.0)])
    out = project / "out"
    (out / "thesis").mkdir(parents=True)
    shown = compared(["mbpo", "elsewhere"], "final", None, out, project)
    (out / "thesis").rmdir()  # what else is in a folder of one's own stays
    default = project / "runs/compare/mbpo-vs-elsewhere"
    assert str(default) in compared(["mbpo", "elsewhere"], "final", None, default, project)
    assert "+80.0 one seed: no interval, 1 seeds" in shown
    assert "only in elsewhere: ant 0" in shown
    assert "only in mbpo: halfcheetah 0, halfcheetah 1, halfcheetah 2, hopper 0, hopper 1" in shown
    assert {path.name for path in out.iterdir()} == {"differences.csv", "curves.png", "curves.pdf"}


@pytest.mark.parametrize("within", ["", "another/repository"])
def test_a_revision_is_read_without_touching_the_working_tree(tmp_path: Path, within: str) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(
            ["git", "-C", str(project), *identity, *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    project = tmp_path / within
    write_results(project, noisy, seeds=(0, 1, 2))
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    git("add", ".")
    git("commit", "-qm", "first")
    first = git("rev-parse", "HEAD")
    write_results(project, lambda *cell: 2 * noisy(*cell), seeds=(0, 1, 2))
    table = differences(*aligned([side(first, "quick", project), side("quick", "quick", project)]), "final")
    assert table.set_index(["method", "env"]).loc[("mbpo", "hopper"), "difference"] == 110.0
    assert git("status", "--short") != ""
    with pytest.raises(Exception, match="has no results at scale paper"):
        side(first, "paper", project)


def test_runs_of_different_length_are_named(project: Path) -> None:
    write_results(project, noisy, scale="short", seeds=(0,), env_steps=(0, 100))
    said = compared(["quick", "short"], "cumulative_max", None, project / "out", project)
    assert "different lengths: tom hopper seed 0, 200 and 100 steps" in said


FAULTS = {
    "a name": (
        ["mbpo", "tomm"],
        "tomm is no method or scale with results, no folder and no revision; nearest valid choice: tom",
    ),
    "one": (["mbpo"], "mbpo is compared with nothing; name two or more, the first one is A"),
    "untrained": (["mbpo", "pmac"], "pmac has no results at scale quick; put it into `grid:` in params.yaml and train"),
    "statistic": (["mbpo", "tom", "--statistic=fnal"], "statistic=fnal does not exist; nearest valid choice: final"),
    "until": (
        ["mbpo", "tom", "--until=0"],
        "until=0 is not a whole number of env steps from 1 on; valid example: 40000",
    ),
    "option": (["mbpo", "tom", "--ouf=x"], "No such option '--ouf'"),
    "empty folder": (["mbpo", "empty"], "has no run: no evals.csv lies below it"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_be_compared_is_one_sentence(project: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words, said = FAULTS[case]
    (project / "empty").mkdir()
    with (project / "params.yaml").open("a") as file:
        file.write("methods: {mbpo: {}, tom: {}, pmac: {}}\n")
    monkeypatch.chdir(project)
    assert said in complaint(typed("compare", *words))
    assert not (project / "runs").exists()


def test_long_names_get_a_folder_of_their_own(project: Path) -> None:
    names = ["/".join(word * 30 for word in (first, "b", "c", "d", "e")) for first in "xy"]
    for name in names:
        write_cell(project / name / "tom/hopper/0", [(0, 0.0), (200, 200.0)])
    said = compared(names, "final", None, None, project), compared(names[::-1], "final", None, None, project)
    assert len({text.splitlines()[-1] for text in said}) == 2
    compared(["mbpo", "tom"], "final", None, None, project)
    assert len([*(project / "runs/compare").iterdir()]) == 3 and (project / "runs/compare/mbpo-vs-tom").is_dir()


def test_figure_draws_the_statistic_that_is_printed(project: Path) -> None:
    """Each seed, the means, and the statistic of every run; a maximum so far where the statistic is of one."""
    sides = [side(name, "quick", project) for name in ("mbpo", "tom")]
    runs = dict(zip(("mbpo", "tom"), aligned(sides), strict=True))
    falling = {name: table.assign(return_mean=-table["return_mean"]) for name, table in runs.items()}
    for statistic, each, last in (("final", runs, [110.0, 124.0]), ("cumulative_max", falling, [0.0, 0.0])):
        figure = draw(each, differences(*each.values(), statistic), statistic)
        panels = [*zip(figure.axes[::2], figure.axes[1::2], strict=True)]
        curves, points = next(pair for pair in panels if pair[0].get_title() == "Hopper")
        thick = [line.get_ydata()[-1] for line in curves.get_lines() if line.get_linewidth() > 2]  # type: ignore[index]
        assert thick == last
        assert len(curves.get_lines()) == 2 * (3 + 1)
        assert len(curves.collections) == 2
        dots = [line.get_ydata() for line in points.get_lines() if line.get_linestyle() == "None"]
        expected = [seeds_table(table[table["env"] == "hopper"])[statistic] for table in each.values()]
        assert [list(ys) for ys in dots] == [list(values) for values in expected]
        plt.close(figure)


def test_three_are_compared_each_with_the_first(project: Path) -> None:
    write_results(project, lambda *cell: 3 * noisy(*cell), scale="other", seeds=(0, 1, 2))
    write_results(project, noisy, seeds=(0, 1, 2))  # the scale in params.yaml
    said = compared(["mbpo", "tom", "reports/results/other/mbpo"], "final", None, project / "out", project)
    assert "final of each run, B − A" in said and "final of each run, C − A" in said
    table = pd.read_csv(project / "out/differences.csv")
    hopper = table[table["env"] == "hopper"].set_index("other")["difference"]
    assert hopper.to_dict() == {"tom": 14.0, "reports/results/other/mbpo": 220.0}
