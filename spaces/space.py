"""Loads the space that a preset names, `package.module:function`; refuses what cannot work before a trial starts."""

import importlib
import importlib.util
import inspect
import logging
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna

from trainable.config import TrialConfig

log = logging.getLogger("alphaprune")


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
    module_name, _, function_name = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), function_name]):
        raise ValueError(f"space.function must be package.module:function, but got {name!r}; e.g. 'my_space:space'")
    if not module_name.startswith("spaces."):  # whose code it is should be known before it runs
        log.info("importing the space %s from %s; its code runs in this process", name, _find_file(module_name))
    module = _import_module(module_name, name)
    function = _find_function(module, function_name, name)

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
                f"space {name!r} takes no option {option!r}; {_describe_nearest(option, known, 'it takes none')}"
            )
    for parameter in keywords:
        if parameter.default is parameter.empty and parameter.name not in ("base", *options):
            raise ValueError(
                f"space {name!r} needs {parameter.name!r}, which is not among its options; add it to space.options, or "
                "give it a default (the preset's TrialConfig goes to a parameter named 'base')"
            )
    return Space(name, function, dict(options), any(parameter.name == "base" for parameter in keywords))


@contextmanager
def current_folder_importable() -> Iterator[None]:
    """Makes modules in the current folder importable, as `python -m` does, so that a space can stand beside its preset.

    The folder comes last in the search path, so that a file there hides nothing that is installed.
    """
    here = str(Path.cwd())
    if here in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _find_file(module_name: str) -> str:
    """The file that importing the module will run first; nothing is run yet."""
    with current_folder_importable(), suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(module_name.partition(".")[0])
        if spec is not None:
            return spec.origin or str(next(iter(spec.submodule_search_locations or ()), module_name))
    return "nowhere"


def _import_module(module_name: str, name: str) -> ModuleType:
    here = str(Path.cwd())
    try:
        with current_folder_importable():
            return importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise ValueError(
                f"space {name!r}: {_describe_error(error)}, neither installed nor in {here}; "
                "fix the name or run in its folder"
            ) from error
        raise ValueError(
            f"space {name!r}: importing {module_name} raised {_describe_error(error)}; fix the module"
        ) from error


def _find_function(module: ModuleType, function_name: str, name: str) -> Callable[..., TrialConfig]:
    # The file is named because an installed module may have been found instead of the user's own.
    where = getattr(module, "__file__", None) or module.__name__
    if not hasattr(module, function_name):
        known = [
            key
            for key, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not key.startswith("_")
        ]
        hint = _describe_nearest(function_name, known, "it has no function")
        raise ValueError(f"space {name!r}: {where} has no {function_name!r}; {hint}")
    function: Callable[..., TrialConfig] = getattr(module, function_name)
    if not callable(function):
        raise ValueError(f"space {name!r} must be a function, but is {function!r} in {where}; name a function")
    try:
        pickle.dumps(function)
    except Exception as error:
        is_local = "<" in getattr(function, "__qualname__", "")  # <lambda>, or make.<locals>.space
        found = f"is a lambda or a local function in {where}" if is_local else f"cannot be: {_describe_error(error)}"
        raise ValueError(
            f"space {name!r} must be importable by workers, but {found}; "
            f"write `def {function_name}(trial)` at the top level of the module"
        ) from error
    return function


def _describe_nearest(name: str, known: list[str], nothing: str) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0)
    return f"the nearest is {near[0]!r}" if near else nothing


def _describe_error(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
