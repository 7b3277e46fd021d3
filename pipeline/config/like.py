"""`like: NAME` in params.yaml: a method, or the settings of a part, begin as those of another and change some of it.

YAML's own anchors do the same, but once a program writes the file (dvc exp run -S) they no longer hang together.
"""

from collections.abc import Callable
from typing import Any

from omegaconf import OmegaConf

from pipeline.config.refusals import Section, mapping, one_of
from tom.settings import KINDS
from tom.settings.fields import SettingsError

LIKE = "like"
DEFAULT_PARTS = {"dynamics": "mdn", "backbone": "mbpo"}  # what a method may leave out


def part(section: Section, kind: str) -> str | None:
    """The name of the part of this kind that a method uses; None if it has to say and does not."""
    return mapping(section.get(kind), kind).get("name", DEFAULT_PARTS.get(kind))


def written_out(
    entries: Section, where: str, begun: Callable[[dict[str, Any], Section], dict[str, Any]] | None = None
) -> dict[str, Section]:
    """Every entry with what it takes from the one it is like, below its own words unless `begun` puts them together.

    SettingsError for a name that is none, and a circle.
    """
    done: dict[str, Section] = {}

    def whole(name: str, way: tuple[str, ...]) -> Section:
        if name in way:
            raise SettingsError(f"{where}: {' is like '.join((*way, name))}; nearest valid choice: end it somewhere")
        if name not in done:
            own = dict(mapping(entries[name], f"{where}.{name}"))
            other = own.pop(LIKE, None)
            if other is not None:
                one_of(f"{where}.{name}.{LIKE}", other, entries)
                taken = whole(other, (*way, name))
                own = begun(own, taken) if begun else {**taken, **own}
            done[name] = own
        return done[name]

    return {name: whole(name, ()) for name in entries}


def begun_method(own: dict[str, Any], taken: Section) -> dict[str, Any]:
    """A method's own words above those it takes; none of a part in whose place it has another one."""
    names = {kind: mapping(own.get(kind), kind).get("name") for kind in KINDS}
    other = [kind for kind, name in names.items() if name not in (None, part(taken, kind))]
    there = {env: _without(values, other) for env, values in mapping(taken.get("envs"), "envs").items()}
    begun = OmegaConf.create({**_without(taken, other), **({"envs": there} if there else {})})
    return dict(OmegaConf.to_container(OmegaConf.merge(begun, own)))  # type: ignore[arg-type]


def _without(section: Section, keys: list[str]) -> dict[str, Any]:
    return {key: values for key, values in section.items() if key not in keys}
