"""`tom`: one command for everything that people type. Nothing heavy is imported before it is known what is asked."""

import codecs
import sys
from collections.abc import Callable, Iterable, Sequence
from io import TextIOWrapper
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import click
from click import Argument, IntRange, Option

from pipeline.files import cores

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
PLAIN = {"−": "-", "–": "-", "×": "x", "→": "->", "…": "...", "“": '"', "”": '"'}
SHELLS = ("bash", "zsh", "fish")


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


class Commands(click.Group):
    """Commands in the order in which they are added, which is that of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def opens(self, example: str, work: str | Callable[..., Any], about: str, *params: click.Parameter) -> None:
        """Adds the command that the example begins with.

        What is typed goes by name to `work`, a function or where it is, `module:name`; what this comes to is printed or
        is the exit code.
        """

        def run(**typed: Any) -> None:
            from pipeline.runs.answers import answered

            sys.exit(answered(lambda: (resolve_name(work) if isinstance(work, str) else work)(**typed)))

        above = "tom" if self is tom else f"tom {self.name}"
        name, shown = example.split()[0], f"Example:  {above} {example}"
        self.add_command(click.Command(name, SETTINGS, run, list(params), help=about, epilog=shown))

    def holds(self, name: str, about: str) -> "Commands":
        """Adds a group of commands."""
        self.add_command(made := Commands(name, context_settings=SETTINGS, help=about))
        return made


def known(kind: str) -> Callable[..., list[str]]:
    """Completes what has been typed by the names of this kind in params.yaml."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        from pipeline.config.params import load_params

        return begun(incomplete, lambda: getattr(load_params(), kind))

    return complete


def open_claims(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Completes the id of a claim."""
    from pipeline.claims.needed import runs_decide
    from pipeline.files import here

    return begun(incomplete, lambda: runs_decide(here()))


def begun(incomplete: str, names: Callable[[], Iterable[str]]) -> list[str]:
    """Those that begin with what has been typed; none where a file cannot be read: there a command says why."""
    try:
        return [name for name in names() if name.startswith(incomplete)]
    except (ValueError, OSError):
        return []


def on_engine(work: str) -> Callable[..., Any]:
    """The function at `work` with the engine that is typed, in place of the words that say which."""

    def run(
        engine: str | None, options: Sequence[str], jobs: int | None, batch: int | None = None, **typed: Any
    ) -> Any:
        from pipeline.engines.settings import engine_of

        chosen = engine_of(engine, [*options, *([f"cell.batch={batch}"] if batch else [])], jobs)
        return resolve_name(work)(engine=chosen, **typed)

    return run


def made_here(env: str, seed: int) -> str:
    """A data set of SAC, made unless it is there."""
    from pipeline.runs.datasets.folder import show
    from pipeline.suites.weights.dataset import made

    return show(made(env, seed))


def completion(shell: str) -> str:
    """The lines of a shell."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    return made(tom, {}, "tom", "_TOM_COMPLETE").source()


FOLDER = click.Path(path_type=Path)
JOBS = Option(["--jobs", "-j"], type=IntRange(1), default=cores(), show_default="cores", help="Processes at once.")
AT_ONCE = Option(["--jobs", "-j"], type=IntRange(1), help="Processes at once; default: all there is room for.")
ENGINE = (
    Option(["--engine"], metavar="NAME", help="local, slurm or ray; default: that of engines.yaml."),
    Option(
        ["--option", "-o", "options"],
        metavar="KEY=VALUE",
        multiple=True,
        help="Over engines.yaml: slurm.partition=gpu.",
    ),
)
ENV = Argument(["env"], shell_complete=known("envs"))
UNTIL = Option(["--until"], metavar="STEP", help="Where runs stop for now, an env step, or none.")
SUITE = Option(
    ["--suite"],
    metavar="NAME",
    help="weights, ablation, crossings, finetune, networked, meta or your own; else the grid.",
)
RUNS = (
    Option(
        ["--claim", "claims"],
        metavar="ID",
        multiple=True,
        shell_complete=open_claims,
        help="What this claim needs, in place of the grid.",
    ),
    Option(["--scale"], metavar="NAME", shell_complete=known("scales"), help="smoke, quick, paper or janner."),
    UNTIL,
)

tom = Commands(
    "tom",
    context_settings=SETTINGS,
    help="Transition occupancy matching (Ma et al., 2023) against its baselines, from settings to figures.",
)
click.version_option(package_name="tom-reproduction", prog_name="tom")(tom)


@tom.command(add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def train(words: tuple[str, ...]) -> None:
    """Train one run, or many with --multirun: Hydra's key=value."""
    from pipeline.train import main as trained

    sys.exit(trained(words))


tom.opens(
    "evaluate reports/results/quick/tom/hopper/0 --episodes 20",
    "pipeline.evaluate:evaluated",
    "Play the policy of a finished RUN, and film it.",
    Argument(["run"], type=FOLDER),
    Option(["--episodes"], type=IntRange(1), default=10, show_default=True),
    Option(["--seed"], type=IntRange(0), default=0, show_default=True, help="Of the episodes."),
    Option(["--video"], type=FOLDER, help="A film of the first episode, .mp4."),
)
tom.opens(
    "repro --scale paper --until 40000 --jobs 8",
    on_engine("pipeline.launch:repro"),
    """Train what is stale, then make tables and figures.

    --scale, --until and what --claim needs are written into params.yaml. What is finished stays; a stopped run goes on.
    """,
    SUITE,
    *RUNS,
    AT_ONCE,
    Option(["--batch"], type=IntRange(1), help="Seeds side by side in a process: 1 on a CPU, all on a GPU."),
    *ENGINE,
    Option(["--wait/--no-wait"], default=True, help="Not to wait for runs that a cluster goes on with."),
    Option(["--cancel"], is_flag=True, help="End such runs, saved."),
)
tom.opens(
    "plan --claim humanoid_60",
    on_engine("pipeline.plan:plan"),
    "Say what `tom repro` would train: hours, disk. Changes nothing.",
    SUITE,
    *RUNS,
    AT_ONCE,
    *ENGINE,
)
tom.opens(
    "study mine",
    "pipeline.study:study",
    "Make studies/NAME, where experiments of one's own are recorded.",
    Argument(["name"]),
    Option(["--anew"], is_flag=True, help="Without the results of the grid: all of it is to be trained."),
)
tom.opens(
    "compare mbpo tom pmac --statistic final",
    "pipeline.compare:compared",
    "Compare methods, scales, folders or git revisions, each with the first, paired by seed.",
    Argument(["names"], metavar="A B...", nargs=-1, required=True),
    Option(
        ["--statistic"],
        default="cumulative_max",
        show_default=True,
        help="final, final_window, best_of_last_three, cumulative_max, auc or auc_cumulative_max.",
    ),
    UNTIL,
    Option(["--out"], type=FOLDER, help="Folder of the table and the figure."),
)
tom.opens(
    "report humanoid_60",
    "pipeline.claims.terminal:told",
    "Print the verdict on each claim of the paper, or CLAIM by environment.",
    Argument(["ids"], nargs=-1, metavar="[CLAIM]..."),
)
tom.opens(
    "publish --dry-run",
    "pipeline.publish:published",
    "Bring the recorded runs and the report to W&B.",
    Option(["--dry-run"], is_flag=True, help="Say what would be sent, send nothing."),
)
tom.opens(
    "verify --rerun 2",
    "pipeline.verify:verified",
    "Check that results are as recorded, and that tables and figures follow from them.",
    Option(["--rerun", "count"], type=IntRange(0), default=0, metavar="N", help="Train N results again, to the byte."),
    Option(["--against"], type=FOLDER, metavar="FOLDER", help="Only compare results with a study's, to the byte."),
    JOBS,
)
tom.opens(
    "accept --base HEAD~1",
    "pipeline.accept:accepted",
    "Let results count as made by changed code that gives the same bytes.",
    Option(["--base"], default="HEAD", show_default=True, metavar="COMMIT", help="Whose code made what is recorded."),
)
tom.opens(
    "evidence --jobs 2",
    on_engine("pipeline.suites.evidence.launch:evidence"),
    "Train what is missing of the published protocol, at low priority, until it is stopped.",
    Option(["--status"], is_flag=True, help="What is recorded, running and left; trains nothing."),
    AT_ONCE,
    *ENGINE,
)
tom.opens(
    "clean --dry-run",
    "pipeline.clean:clean",
    "Remove what runs left behind: locks, checkpoints, mirrors, partial, datasets. Asks for each; lets runs go on.",
    Argument(["kinds"], nargs=-1, metavar="[KIND]..."),
    Option(["--dry-run"], is_flag=True, help="Say what is there, remove nothing."),
    Option(["--yes"], is_flag=True, help="Remove all of it, or of KIND, without asking."),
)

dataset = tom.holds("dataset", "Data sets: SAC's replay in order, and data of others.")
dataset.opens(
    "make hopper 0",
    made_here,
    "Train SAC on ENV with SEED unless it is there.",
    Argument(["env"]),
    Argument(["seed"], type=IntRange(0), default=0),
)
dataset.opens(
    "show runs/datasets/0123456789abcdef",
    "pipeline.runs.datasets.folder:show",
    "Say what is in the data set in FOLDER, once it is checked.",
    Argument(["folder"], type=FOLDER),
)
dataset.opens(
    "import hopper_medium-v2.hdf5 hopper",
    "pipeline.runs.datasets.imported:imported",
    "Keep Minari's or D4RL's data of ENV at PATH.",
    Argument(["path"], type=FOLDER),
    ENV,
)
dataset.opens(
    "part runs/datasets/0123456789abcdef 10000 16000",
    "pipeline.runs.datasets.imported:part",
    "Keep the rows from FIRST up to LAST of the data set in FOLDER as one of their own.",
    Argument(["folder"], type=FOLDER),
    Argument(["first"], type=int),
    Argument(["last"], type=int),
)

export = tom.holds("export", "Results for other programs.")
export.opens(
    "policy reports/results/quick/tom/hopper/0 hopper.pt",
    "tom.export:exported",
    "Write the policy of a finished RUN to OUT, .pt (TorchScript) or .onnx.",
    Argument(["run"], type=FOLDER),
    Argument(["out"], type=FOLDER),
)
export.opens(
    "dataset runs/datasets/0123456789abcdef tom/hopper-v0",
    "pipeline.runs.datasets.exported:exported",
    "Write the data set or the run's replay in SOURCE as Minari's data set NAME.",
    Argument(["source"], type=FOLDER),
    Argument(["name"]),
)

check = tom.holds("check", "What is checked beyond the tests, in minutes.")
check.opens(
    "learns ma maac",
    "pipeline.checks.learns:learns",
    "Do methods learn? HalfCheetah, six seeds, scale quick; mbpo and tom, or those that are named.",
    Argument(["methods"], metavar="[METHOD]...", nargs=-1, shell_complete=known("methods")),
    Option(["--pendulum"], is_flag=True, help="InvertedPendulum instead, three seeds."),
    JOBS,
)
check.opens("fidelity", "pipeline.checks.fidelity:fidelity", "Numbers whose answer is known.", JOBS)
check.opens(
    "environment walker2d",
    "pipeline.checks.environment:environment",
    "Is ENV what its file says? Prints the numbers that the test of a new one wants.",
    ENV,
)
check.opens(
    "drill --kills 10 --only kills",
    "pipeline.checks.drill.parts:drilled",
    "Kills, full disks and other faults, done to real runs.",
    Option(["--kills", "count"], type=IntRange(0), default=100, show_default=True, help="Runs that are killed."),
    Option(["--seed"], type=IntRange(0), default=0, show_default=True, help="Of when and how."),
    Option(["--only"], metavar="PART", help="rubbish, faults, writers, twice, until or kills."),
    JOBS,
)
check.opens(
    "cluster --only slurm",
    "pipeline.checks.cluster.drill:drilled",
    "A real Slurm and Ray of three nodes here; what is done to them.",
    Option(["--only"], metavar="ENGINE", help="slurm or ray."),
    Option(["--match"], default="", metavar="TEXT", help="Trials whose line holds this."),
)
check.opens(
    "bench --compare before.json after.json",
    "pipeline.checks.bench.timed:benched",
    "Times of a step's parts beside their matrix products.",
    Option(["--brief"], is_flag=True, help="The parts of a step alone; nothing is written."),
    Option(["--device"], type=click.Choice(["cpu", "cuda"]), default="cpu", help="One core (cpu), or the GPU."),
    Option(
        ["--compare", "compared"], nargs=2, type=FOLDER, metavar="A.json B.json", help="What became slower from A to B."
    ),
    Option(["--out"], type=FOLDER, help="Folder of the report; default: reports/benchmarks."),
)
check.opens(
    "python .venv/newest/bin/python",
    "pipeline.checks.versions:checked",
    "Digests, smoke runs and fast tests under the Python at OTHER (make newest).",
    Argument(["other"], type=FOLDER),
    JOBS,
)
check.opens(
    "look .venv/look",
    "pipeline.checks.look:looked",
    "The page in a real browser; TOOLS has html-validate and axe-core (make look).",
    Argument(["tools"], type=FOLDER, default=".venv/look"),
)
tom.opens(
    "completion bash >> ~/.bashrc",
    completion,
    "Print the lines with which a SHELL completes this command.",
    Argument(["shell"], type=click.Choice(SHELLS)),
)

if __name__ == "__main__":
    main()
