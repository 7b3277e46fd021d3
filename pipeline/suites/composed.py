"""The whole cell of a method as a suite has it: what params.yaml says, and what the suite changes at its scale."""

from typing import Any

from pipeline.config.compose import compose
from pipeline.config.params import Params
from tom.settings import KINDS
from tom.settings.fields import SettingsError


def composed(name: str, params: Params, method: str, env: str, **more: Any) -> dict[str, Any]:
    """The resolved values of a method on an environment in the suite `name`; SettingsError says which cannot be.

    `more`: settings of `train` that are in no file.
    """
    scale, given = params.suites[name].scale, {f"train.{key}": value for key, value in more.items()}
    words = {"method": method, "env": env, "scale": scale} | changes(name, params, method, env) | given
    try:
        return compose(params, words)
    except SettingsError as error:
        raise SettingsError(f"{error} (suite {name}, method {method}, env {env}, scale {scale})") from None


def changes(name: str, params: Params, method: str, env: str) -> dict[str, Any]:
    """What the suite changes at its scale, then for the environment: `train.key`, and `kind.key` of the part used."""
    suite = params.suites[name]
    places = [("train", ("train",)), *((kind, (kind, params.part(method, kind))) for kind in KINDS)]
    return {f"{section}.{key}": value for section, place in places for key, value in suite.tuned(env, *place).items()}
