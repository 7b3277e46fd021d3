"""One run by hand, or many with --multirun: Hydra's command line over params.yaml.

    tom train method=tom env=hopper seed=1 scale=smoke weighting.clip=5
    tom train --multirun method=tom,mbpo env=hopper seed=0,1 tracking=off
    tom train method=tom env=hopper seeds=[0,1,2,3]     four seeds as one batch, for a GPU
    tom train method=tom env=hopper until=40000         stops there for now; without it, goes on
    tom train --help method=tom          every setting of the method

Trains in runs/<cell>/<fingerprint> (or run_dir=...); `dvc repro` finds the run there. Nothing is recorded in reports/.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.digests import code_digest
from pipeline.config.params import load_params
from pipeline.config.refusals import check_until, one_line
from pipeline.files import ROOT
from pipeline.runs.answers import FAILURES, told
from pipeline.runs.folder import Cell, run_folder
from pipeline.runs.interruptions import DIES_WITH_PARENT, Stopped, die_with_parent
from pipeline.suites.returns.work import result_folder
from tom.settings.fields import SettingsError

HYDRA_FOLDER = "TOM_HYDRA_FOLDER"  # in the environment, where a path needs no quotes
HYDRA = (  # no folders, no log files
    "hydra.output_subdir=null",
    "hydra.job.chdir=false",
    f"hydra.run.dir=${{oc.env:{HYDRA_FOLDER}}}",
    f"hydra.sweep.dir=${{oc.env:{HYDRA_FOLDER}}}",
    "hydra.sweep.subdir=.",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
)


class Failed(RuntimeError):
    """A run of a multirun that failed and has said so."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 for a run that failed or was refused; 2, with one sentence, for input that cannot be used."""
    if DIES_WITH_PARENT in os.environ:
        die_with_parent()
    try:
        return _main(sys.argv[1:] if argv is None else list(argv))
    except SettingsError as error:
        print(one_line(error), file=sys.stderr)
        return 2
    except Failed:
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130


def _main(argv: list[str]) -> int:
    params = load_params()
    import hydra  # only once params.yaml is known to be good
    from hydra.errors import HydraException

    from pipeline.config import command_line
    from pipeline.config.compose import register
    from pipeline.config.key_help import key_help

    if {"--help", "-h"} & set(argv):
        print(key_help([word for word in argv if not word.startswith("-")], params))
        return 0
    arguments = command_line.parse(argv)
    runs = command_line.check(arguments, params)
    register(params, runs)
    os.environ[HYDRA_FOLDER] = str(ROOT / "runs/.hydra")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here instead of being printed by Hydra
    flags = [word for word in argv if word not in arguments.overrides]
    sys.argv = [sys.argv[0], *HYDRA, *arguments.overrides, *flags]  # Hydra wants them apart
    try:
        hydra.main(version_base="1.3", config_path=None, config_name="command")(run)()
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(f"{one_line(error)}{_plugin(arguments.overrides)}") from None
    return 0


def _plugin(words: Sequence[str]) -> str:
    """Which package has the launcher that was asked for, in words that follow Hydra's; nothing if none was."""
    name = next((word.partition("=")[2] for word in words if word.startswith("hydra/launcher=")), "")
    return f"; pip install hydra-{name.partition('_')[0]}-launcher brings that launcher" if name else ""


def run(command: DictConfig) -> None:
    """Trains the run that a composed command describes; exits, after what is `told`, where it cannot be done."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from pipeline.config.compose import SCIENCE
    from pipeline.runs.ensure import Job, Options, ensure_all_trained

    config: Any = OmegaConf.to_container(OmegaConf.masked_copy(command, list(SCIENCE)), resolve=True)
    try:
        code = code_digest(config, ROOT)
        seeds = command.seeds or [command.seed]
        until = None if command.until is None else check_until("until", command.until, config["train"])
        cells = [Cell(command.method, command.env, seed, command.scale, config, code, until) for seed in seeds]
        jobs = [Job(cell, _folder(cell, command), result_folder(cell)) for cell in cells]
        names = ("device", "tracking", "resume", "checkpoint_every", "threads", "graphs", "keep_replay")
        for line in ensure_all_trained(jobs, Options(**{name: command[name] for name in names})):
            print(line, flush=True)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.code)
    except (SettingsError, *FAILURES) as error:
        told(error)
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            raise Failed from error  # the other runs go on
        sys.exit(1)


def _folder(cell: Cell, command: DictConfig) -> Path:
    """Where the cell trains; of several seeds each has a folder of its own in run_dir."""
    if not command.run_dir:
        return run_folder(cell, ROOT)
    folder = Path(command.run_dir).expanduser().absolute()
    return folder / str(cell.seed) if command.seeds else folder


if __name__ == "__main__":
    sys.exit(main())
