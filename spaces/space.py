"""Loads the space that a preset names, `package.module:function`; refuses what cannot work before a trial starts."""

import inspect
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna

from trainable.config import TrialConfig
from trainable.function_import import (
    announce_import,
    describe_error,
    describe_nearest,
    import_function,
    is_function_name,
)


@dataclass(frozen=True)
class Space:
    """A space with its options, called with the Optuna trial and the base; pickles by the function's name."""

    name: str
    function: Callable[..., TrialConfig]
    options: dict[str, Any]
    takes_base: bool

    def __call__(self, trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
        """The configuration that the space makes for `trial`; raises ValueError if it is not a TrialConfig."""
        options = {**self.options, "base": base} if self.takes_base else self.options
        config = self.function(trial, **options)
        if not isinstance(config, TrialConfig):
            raise ValueError(
                f"space {self.name!r} must return a TrialConfig, but returned a {type(config).__name__}; "
                "e.g. `return dataclasses.replace(base, alpha=...)`"
            )
        return config


def load_space(name: str, options: dict[str, Any]) -> Space:
    """The space that a preset names `package.module:function`, to be called with (trial, base).

    The module may also be a file in the current folder. The function takes the trial, `base` if it has a parameter of
    that name, and `options` as keyword arguments. Raises ValueError, with a single line, if the name does not lead to a
    function that workers can import, or if the function does not take exactly these options.
    """
    if not is_function_name(name):
        raise ValueError(f"space.function must be package.module:function, but got {name!r}; e.g. 'my_space:space'")
    if not name.startswith("spaces."):
        announce_import("space", name)
    function = import_function("space", name)
    _check_pickles(function, name)

    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
        raise ValueError(
            f"space {name!r} must take an optuna.Trial as its first argument, but takes none; write `def space(trial)`"
        )
    keywords = [
        parameter
        for parameter in parameters[1:]
        if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    ]
    takes_any = parameters[-1].kind is inspect.Parameter.VAR_KEYWORD
    known = [parameter.name for parameter in keywords if parameter.name != "base"]
    for option in options:
        # The search itself passes the trial and the base, even to a function that takes any keyword.
        if option not in known and not (takes_any and option not in ("base", parameters[0].name)):
            raise ValueError(
                f"space {name!r} takes no option {option!r}; {describe_nearest(option, known, 'it takes none')}"
            )
    for parameter in keywords:
        if parameter.default is parameter.empty and parameter.name not in ("base", *options):
            raise ValueError(
                f"space {name!r} needs {parameter.name!r}, which is not among its options; add it to space.options, or "
                "give it a default (the preset's TrialConfig goes to a parameter named 'base')"
            )
    return Space(name, function, dict(options), any(parameter.name == "base" for parameter in keywords))


def _check_pickles(function: Callable[..., TrialConfig], name: str) -> None:
    try:
        pickle.dumps(function)
    except Exception as error:
        is_local = "<" in getattr(function, "__qualname__", "")  # <lambda>, or make.<locals>.space
        where = inspect.getsourcefile(function) if is_local else ""
        found = f"is a lambda or a local function in {where}" if is_local else f"cannot be: {describe_error(error)}"
        raise ValueError(
            f"space {name!r} must be importable by workers, but {found}; "
            f"write `def {name.partition(':')[2]}(trial)` at the top level of the module"
        ) from error
