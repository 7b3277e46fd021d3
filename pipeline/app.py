"""`tom`: one command for everything that people type. Nothing heavy is imported before it is known what is asked."""

import codecs
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline.claims.needed import Runs

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
PLAIN = {"−": "-", "–": "-", "×": "x", "→": "->", "…": "...", "“": '"', "”": '"'}
SHELLS = {"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/completions/tom.fish"}


def main(argv: Sequence[str] | None = None) -> None:
    """Exits with 0; 1 if what was asked for failed, 2 if it was asked wrongly, 128 + N if signal N stopped it."""
    codecs.register_error("plainly", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="plainly")
    tom.main(None if argv is None else list(argv), prog_name="tom")


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """In place of a character that a terminal cannot show, one that it can."""
    assert isinstance(error, UnicodeEncodeError)
    return PLAIN.get(error.object[error.start], "?"), error.start + 1


class InOrder(click.Group):
    """Commands are listed in the order of their definition, which is that of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=InOrder, context_settings=SETTINGS)
@click.version_option(package_name="tom-reproduction", prog_name="tom")
def tom() -> None:
    """Transition occupancy matching (Ma et al., 2023) against its baselines, from settings to figures."""


def command(group: click.Group, example: str, name: str | None = None) -> Callable[[Callable[..., Any]], click.Command]:
    """A command of the group that ends with the exit code of what its function comes to; the help shows the example."""

    def made(function: Callable[..., Any]) -> click.Command:
        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            from pipeline.runs.answers import answered

            sys.exit(answered(lambda: function(*args, **kwargs)))

        return group.command(name, epilog=f"Example:  {example}", context_settings=SETTINGS)(run)

    return made


def known(kind: str) -> Callable[..., list[str]]:
    """Completes what has been typed by the names of this kind in params.yaml."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        from pipeline.config.params import load_params

        return [name for name in getattr(load_params(), kind) if name.startswith(incomplete)]

    return complete


def open_claims(incomplete: str) -> list[str]:
    """Completes the id of a claim."""
    from pipeline.claims.needed import runs_decide
    from pipeline.files import here

    return [name for name in runs_decide(here()) if name.startswith(incomplete)]


@contextmanager
def about_results() -> Iterator[None]:
    """A word that stands for no claim or result, and a file of them that is not as it must be, are asked wrongly."""
    from pipeline.analysis.results import ResultsError
    from tom.settings.fields import SettingsError

    try:
        yield
    except ResultsError as error:
        raise SettingsError(str(error)) from None


def needed(claims: Sequence[str], **others: object) -> "Runs":
    """The runs that the claims need; SettingsError for one that none decide, or words beside --claim that they say."""
    from pipeline.claims.needed import needed_by
    from pipeline.files import here
    from tom.settings.fields import SettingsError

    for name, value in others.items():
        if value is not None:
            raise SettingsError(f"{name}={value} beside --claim, which says it; leave --{name} out")
    with about_results():
        return needed_by(claims, here())


JOBS = click.option(
    "--jobs", "-j", type=click.IntRange(1), default=os.cpu_count(), show_default="cores", help="Processes at once."
)
AT_ONCE = click.option(
    "--jobs", "-j", type=click.IntRange(1), help="Processes at once; default: all there is room for."
)
ENGINE = click.option("--engine", metavar="NAME", help="local, slurm or ray; default: that of engines.yaml.")
OPTION = click.option(
    "--option", "-o", "options", metavar="KEY=VALUE", multiple=True, help="Over engines.yaml: slurm.partition=gpu."
)
SCALE = click.option("--scale", metavar="NAME", shell_complete=known("scales"), help="smoke, quick, paper or janner.")
UNTIL = click.option("--until", metavar="STEP", help="Where runs stop for now, an env step, or none.")
CLAIM = click.option(
    "--claim",
    "claims",
    metavar="ID",
    multiple=True,
    shell_complete=lambda *given: open_claims(given[-1]),
    help="What this claim needs, in place of the grid.",
)
FOLDER = click.Path(path_type=Path)


@tom.command(add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def train(words: tuple[str, ...]) -> None:
    """Train one run, or many with --multirun: Hydra's key=value."""
    from pipeline.train import main as trained

    sys.exit(trained(words))


@command(tom, "tom evaluate reports/results/quick/tom/hopper/0 --episodes 20")
@click.argument("run", type=FOLDER)
@click.option("--episodes", type=click.IntRange(1), default=10, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the episodes.")
@click.option("--video", type=FOLDER, help="A film of the first episode, .mp4.")
def evaluate(run: Path, episodes: int, seed: int, video: Path | None) -> str:
    """Play the policy of a finished RUN, and film it."""
    from pipeline.evaluate import evaluated

    return evaluated(run, episodes, seed, video)


@command(tom, "tom repro --scale paper --until 40000 --jobs 8")
@click.option(
    "--suite",
    metavar="NAME",
    help="weights, ablation, crossings, finetune, networked, meta or your own; else the grid.",
)
@CLAIM
@SCALE
@UNTIL
@AT_ONCE
@click.option("--batch", type=click.IntRange(1), help="Seeds side by side in a process: 1 on a CPU, all on a GPU.")
@ENGINE
@OPTION
@click.option("--wait/--no-wait", default=True, help="Not to wait for runs that a cluster goes on with.")
@click.option("--cancel", is_flag=True, help="End such runs, saved.")
def repro(
    suite: str | None,
    claims: tuple[str, ...],
    scale: str | None,
    until: str | None,
    jobs: int | None,
    batch: int | None,
    engine: str | None,
    options: tuple[str, ...],
    wait: bool,
    cancel: bool,
) -> int:
    """Train what is stale, then make tables and figures.

    --scale, --until and what --claim needs are written into params.yaml. What is finished stays; a stopped run goes on.
    """
    from pipeline.engines.settings import engine_of
    from pipeline.launch import decide, reproduce

    runs = needed(claims, suite=suite, scale=scale, until=until) if claims else None
    chosen = engine_of(engine, [*options, *([f"cell.batch={batch}"] if batch else [])], jobs)
    if runs:
        return decide(runs, chosen, wait, cancel)
    return reproduce(suite or "", scale, until, chosen, wait, cancel)


@command(tom, "tom plan --claim humanoid_60")
@CLAIM
@SCALE
@UNTIL
@AT_ONCE
@ENGINE
@OPTION
def plan(
    claims: tuple[str, ...],
    scale: str | None,
    until: str | None,
    jobs: int | None,
    engine: str | None,
    options: tuple[str, ...],
) -> str:
    """Say what `tom repro` would train: hours, disk. Changes nothing."""
    from pipeline.engines.settings import engine_of
    from pipeline.plan import planned, planned_for

    runs = needed(claims, scale=scale, until=until) if claims else None
    chosen = engine_of(engine, options, jobs)
    return planned_for(runs, chosen) if runs else planned(scale, until, chosen)


@command(tom, "tom study mine")
@click.argument("name")
@click.option("--anew", is_flag=True, help="Without the results of the grid: all of it is to be trained.")
def study(name: str, anew: bool) -> str:
    """Make studies/NAME, where experiments of one's own are recorded."""
    from pipeline.study import study as made

    return made(name, anew)


@command(tom, "tom compare mbpo tom pmac --statistic final")
@click.argument("sides", metavar="A B...", nargs=-1, required=True)
@click.option("--statistic", default="cumulative_max", show_default=True, help="cumulative_max, auc, final, ...")
@UNTIL
@click.option("--out", type=FOLDER, help="Folder of the table and the figure.")
def compare(sides: tuple[str, ...], statistic: str, until: str | None, out: Path | None) -> str:
    """Compare methods, scales, folders or git revisions, each with the first, paired by seed."""
    from pipeline.compare import compared
    from pipeline.files import here

    with about_results():
        return compared(sides, statistic, until, out, here())


@command(tom, "tom report humanoid_60")
@click.argument("claims", nargs=-1, metavar="[CLAIM]...")
def report(claims: tuple[str, ...]) -> str:
    """Print the verdict on each claim of the paper, or CLAIM by environment."""
    from pipeline.claims.terminal import told
    from pipeline.files import here

    with about_results():
        return told(claims, here())


@command(tom, "tom publish --dry-run")
@click.option("--dry-run", is_flag=True, help="Say what would be sent, send nothing.")
def publish(dry_run: bool) -> int:
    """Bring the recorded runs and the report to W&B."""
    from pipeline.files import here
    from pipeline.publish import published

    return published(here(), dry_run)


@command(tom, "tom verify --rerun 2")
@click.option("--rerun", type=click.IntRange(0), default=0, metavar="N", help="Train N results again, to the byte.")
@click.option("--against", type=FOLDER, metavar="FOLDER", help="Only compare results with a study's, to the byte.")
@JOBS
def verify(rerun: int, against: Path | None, jobs: int) -> int:
    """Check that results are as recorded, and that tables and figures follow from them."""
    from pipeline.files import ROOT
    from pipeline.verify import compared, verified

    return compared(ROOT, against) if against else verified(rerun, jobs)


@command(tom, "tom accept --base HEAD~1")
@click.option("--base", default="HEAD", show_default=True, metavar="COMMIT", help="Whose code made what is recorded.")
def accept(base: str) -> int:
    """Let results count as made by changed code that gives the same bytes."""
    from pipeline.accept import accepted

    return accepted(base)


@command(tom, "tom evidence --jobs 2")
@click.option("--status", is_flag=True, help="What is recorded, running and left; trains nothing.")
@AT_ONCE
@ENGINE
@OPTION
def evidence(status: bool, jobs: int | None, engine: str | None, options: tuple[str, ...]) -> int | str:
    """Train the published protocol in the background, whatever is missing of it."""
    from pipeline.engines.settings import engine_of

    chosen = engine_of(engine, options, jobs)
    if status:
        from pipeline.suites.evidence.status import told

        return told(chosen.slots())
    from pipeline.suites.evidence.launch import begun

    return begun(chosen)


@command(tom, "tom clean --dry-run")
@click.argument("kinds", nargs=-1, metavar="[KIND]...")
@click.option("--dry-run", is_flag=True, help="Say what is there, remove nothing.")
@click.option("--yes", is_flag=True, help="Remove all of it, or of KIND, without asking.")
def clean(kinds: tuple[str, ...], dry_run: bool, yes: bool) -> str:
    """Remove what runs left behind: locks, checkpoints, mirrors, partial, datasets. Asks for each; lets runs go on."""
    from pipeline.clean import cleaned

    return cleaned(kinds, dry_run, lambda question: yes or click.confirm(question))


@tom.group(cls=InOrder, context_settings=SETTINGS)
def dataset() -> None:
    """Data sets: SAC's replay in order, and data of others."""


@command(dataset, "tom dataset make hopper 0")
@click.argument("env")
@click.argument("seed", type=click.IntRange(0), default=0)
def make(env: str, seed: int) -> str:
    """Train SAC on ENV with SEED unless it is there."""
    from pipeline.runs.datasets.folder import show
    from pipeline.suites.weights.dataset import made

    return show(made(env, seed))


@command(dataset, "tom dataset show runs/datasets/0123456789abcdef")
@click.argument("folder", type=FOLDER)
def show(folder: Path) -> str:
    """Say what is in the data set in FOLDER, once it is checked."""
    from pipeline.runs.datasets.folder import show as shown

    return shown(folder)


@command(dataset, "tom dataset import hopper_medium-v2.hdf5 hopper", "import")
@click.argument("path", type=FOLDER)
@click.argument("env", shell_complete=known("envs"))
def import_(path: Path, env: str) -> str:
    """Keep Minari's or D4RL's data of ENV at PATH."""
    from pipeline.runs.datasets.imported import imported

    return imported(path, env)


@command(dataset, "tom dataset part runs/datasets/0123456789abcdef 10000 16000")
@click.argument("folder", type=FOLDER)
@click.argument("first", type=int)
@click.argument("last", type=int)
def part(folder: Path, first: int, last: int) -> str:
    """Keep the rows from FIRST up to LAST of the data set in FOLDER as one of their own."""
    from pipeline.runs.datasets.imported import part as kept

    return kept(folder, first, last)


@tom.group(cls=InOrder, context_settings=SETTINGS)
def export() -> None:
    """Results for other programs."""


@command(export, "tom export policy reports/results/quick/tom/hopper/0 hopper.pt")
@click.argument("run", type=FOLDER)
@click.argument("out", type=FOLDER)
def policy(run: Path, out: Path) -> str:
    """Write the policy of a finished RUN to OUT, .pt (TorchScript) or .onnx."""
    from tom.export import exported

    return exported(run, out)


@command(export, "tom export dataset runs/datasets/0123456789abcdef tom/hopper-v0", "dataset")
@click.argument("source", type=FOLDER)
@click.argument("name")
def dataset_out(source: Path, name: str) -> str:
    """Write the data set or the run's replay in SOURCE as Minari's data set NAME."""
    from pipeline.runs.datasets.exported import exported

    return exported(source, name)


@tom.group(cls=InOrder, context_settings=SETTINGS)
def check() -> None:
    """What is checked beyond the tests, in minutes."""


@command(check, "tom check learns ma maac")
@click.argument("methods", metavar="[METHOD]...", nargs=-1, shell_complete=known("methods"))
@click.option("--pendulum", is_flag=True, help="InvertedPendulum instead, three seeds.")
@JOBS
def learns(methods: tuple[str, ...], pendulum: bool, jobs: int) -> int:
    """Do methods learn? HalfCheetah, six seeds, scale quick; mbpo and tom, or those that are named."""
    from pipeline.checks.learns import METHODS, PENDULUM, RUNNER
    from pipeline.checks.learns import learns as checked

    return checked(jobs, methods or METHODS, PENDULUM if pendulum else RUNNER)


@command(check, "tom check fidelity")
@JOBS
def fidelity(jobs: int) -> int:
    """Numbers whose answer is known."""
    from pipeline.checks.fidelity import fidelity as checked

    return checked(jobs)


@command(check, "tom check environment walker2d")
@click.argument("env", shell_complete=known("envs"))
def environment(env: str) -> str:
    """Is ENV what its file says? Prints the numbers that the test of a new one wants."""
    from pipeline.checks.environment import environment as checked

    return checked(env)


@command(check, "tom check drill --kills 10 --only kills")
@click.option("--kills", type=click.IntRange(0), default=100, show_default=True, help="Runs that are killed.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of when and how.")
@click.option("--only", metavar="PART", help="rubbish, faults, writers, twice, until or kills.")
@JOBS
def drill(kills: int, seed: int, only: str | None, jobs: int) -> int:
    """Kills, full disks and other faults, done to real runs."""
    from pipeline.checks.drill.parts import drilled

    return drilled(kills, jobs, seed, only)


@command(check, "tom check cluster --only slurm")
@click.option("--only", metavar="ENGINE", help="slurm or ray.")
@click.option("--match", default="", metavar="TEXT", help="Trials whose line holds this.")
def cluster(only: str | None, match: str) -> int:
    """A real Slurm and Ray of three nodes here; what is done to them."""
    from pipeline.checks.cluster.drill import drilled

    return drilled(only, match)


@command(check, "tom check bench --compare before.json after.json")
@click.option("--brief", is_flag=True, help="The parts of a step alone; nothing is written.")
@click.option("--compare", nargs=2, type=FOLDER, metavar="A.json B.json", help="What became slower from A to B.")
@click.option("--out", type=FOLDER, help="Folder of the report; default: reports/benchmarks.")
def bench(brief: bool, compare: tuple[Path, Path] | None, out: Path | None) -> int | str:
    """Times of a step's parts beside their matrix products."""
    from pipeline.checks.bench.timed import benched

    return benched(brief, compare, out)


@command(check, "tom check python .venv/newest/bin/python")
@click.argument("other", type=FOLDER)
@JOBS
def python(other: Path, jobs: int) -> int:
    """Digests, smoke runs and fast tests under the Python at OTHER (make newest)."""
    from pipeline.checks.versions import checked

    return checked(other.absolute(), jobs)


@command(check, "tom check look .venv/look")
@click.argument("tools", type=FOLDER, default=".venv/look")
def look(tools: Path) -> int:
    """The page in a real browser; TOOLS has html-validate and axe-core (make look)."""
    from pipeline.checks.look import looked

    return looked(tools)


@tom.command(context_settings=SETTINGS, epilog="Example:  tom completion bash >> ~/.bashrc")
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> None:
    """Print the lines with which a SHELL completes this command."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(tom, {}, "tom", "_TOM_COMPLETE").source())


if __name__ == "__main__":
    main()
