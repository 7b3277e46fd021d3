"""Claims read from reports/claims.yaml and checked whole: what is measured, where, and what would make them true."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from pipeline.analysis.looks import spelled
from pipeline.analysis.results import ResultsError, nearest

LISTS = ("claims", "checks", "neighbours")
COLUMNS = {  # of tables, in words
    "final_return": "last return",
    "weight_ratio": "mean weight on the road / off it",
    "replay_over_random": "mean weight of SAC's replay / of random transitions",
    "spearman": "rank correlation of weight and stage of training",
    "pairs": "share of pairs of age groups in which the older one weighs more",
    "model/bias_newest": "bias of the model on the newest rows",
    "model/rmse_newest": "RMSE of the model on the newest rows",
    "bias": "bias of the model on fresh rows",
    "rmse": "RMSE of the model on fresh rows",
    "last_of_central": "last return above that of the centralised learner, in shares of it",
    "last_of_world": "last return above that with the true model, in shares of it",
    "half_of_free": "best return in half the env steps above that without a model in all, in shares of it",
    "fewer_than_plain": "episodes fewer than with a plain prior",
    "fewer_than_pooled": "episodes fewer than with one model of all tasks",
    "policy_of_planner": "last return of the policy above that of its planner, in shares of it",
    "error_of_pooled": "error of the model / that of one model of all tasks",
}


class NoClaim(ResultsError):
    """The word is the id of no claim, or of none that runs decide."""


@dataclass(frozen=True)
class Needs:
    """The runs without which nothing is said."""

    seeds: int
    scale: str | None = None


@dataclass(frozen=True)
class Claim:
    """One claim; `envs` is empty where there is one environment without a name, `needs` for a check of the figures."""

    id: str
    text: str
    place: str
    measure: str
    method: str
    region: tuple[float, float]
    against: tuple[str, ...] = ()
    envs: tuple[str, ...] = ()
    in_envs: int | None = None
    window: tuple[float, float] = (1.0, 1.0)
    table: str | None = None
    column: str | None = None
    needs: Needs | None = None
    paper: str = ""  # whose claim it is, if not that of the paper that is reproduced

    @property
    def quantity(self) -> str:
        """What is measured, in a few words."""
        others = ", ".join(spelled(method) for method in self.against)
        column = COLUMNS.get(str(self.column), str(self.column))
        words = {
            "lead": f"return of {spelled(self.method)} − that of the best of {others}",
            "ratio": f"return of {spelled(self.method)} / {others}",
            "normalised_average": f"return of {spelled(self.method)} / {others}, mean over environments",
            "column": f"{column}, {spelled(self.method)}" + (f" − {others}" if others else ""),
            "in_band": f"distance of {spelled(self.method)} from its published mean in half heights of the band",
            "paired_ratio": f"{column}: {spelled(self.method)} / {others}",
            "share_of_rounds": f"share of rounds with a share of the buffer of at least 0.1, {spelled(self.method)}",
            "collapses": f"runs of {spelled(self.method)} that collapse",
        }
        return words.get(self.measure, self.measure.replace("_", " "))

    @property
    def methods(self) -> tuple[str, ...]:
        """Every method it is about."""
        return (self.method, *self.against)


def read_claims(path: Path, measures: Iterable[str], lists: Sequence[str] = LISTS) -> list[Claim]:
    """The claims of a file's lists, one after the other; ResultsError with one sentence about the first fault."""
    try:
        raw: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
        sections = [section for name in lists for section in raw[name]]
    except (OSError, KeyError, TypeError, YAMLError, OmegaConfBaseException) as error:
        needed = " and ".join(f"`{name}`" for name in lists)
        raise ResultsError(f"{path}: needs lists {needed} ({str(error).splitlines()[0]})") from None
    labels = [f"{path}: {_label(section, place)}" for place, section in enumerate(sections)]
    claims = [_claim(section, label, list(measures)) for section, label in zip(sections, labels, strict=True)]
    names = [claim.id for claim in claims]
    for name in names:
        if names.count(name) > 1:
            raise ResultsError(f"{path}: the id {name} is there twice")
    return claims


def _label(section: Any, place: int) -> str:
    return str(section.get("id", f"entry {place + 1}")) if isinstance(section, Mapping) else f"entry {place + 1}"


def _claim(section: Any, where: str, measures: list[str]) -> Claim:
    if not isinstance(section, Mapping):
        raise ResultsError(f"{where} is not a mapping")
    _known(section, Claim, where)
    measure = section["measure"]
    if measure not in measures:
        raise ResultsError(f"{where}: measure={measure} does not exist; {nearest(measure, measures)}")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in section.items()}
    for key in ("region", "window"):
        pair = values.get(key, (0.0, 1.0))
        if not (isinstance(pair, tuple) and len(pair) == 2 and pair[0] <= pair[1]):
            raise ResultsError(f"{where}: {key}={section[key]} is not [low, high]")
    if needs := values.get("needs"):
        _known(needs, Needs, f"{where}: needs")
        values["needs"] = Needs(**needs)
    claim = Claim(**values)
    if claim.in_envs and claim.in_envs > len(claim.envs):
        raise ResultsError(f"{where}: in_envs={claim.in_envs} is more than its {len(claim.envs)} environments")
    return claim


def _known(section: Mapping[str, Any], kind: Any, where: str) -> None:
    names = {field.name: field for field in fields(kind)}
    for key in section:
        if key not in names:
            raise ResultsError(f"{where}: {key} is not a key; {nearest(key, names)}")
    for name, field in names.items():
        if name not in section and field.default is field.default_factory:  # both missing: it has no default
            raise ResultsError(f"{where}: {name} is missing")
