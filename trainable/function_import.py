"""Imports the functions that settings name, `package.module:function`; refuses what cannot be in one line."""

import hashlib
import importlib
import importlib.util
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

log = logging.getLogger("alphaprune")

# Tells the processes that a search starts where the user's own modules are: their current folder is another one.
FOLDER_VARIABLE = "ALPHAPRUNE_FOLDER"


def announce_import(kind: str, name: str) -> None:
    """Says whose code will run, before `import_function` runs it; the arguments are the same."""
    file = _find_file(name.partition(":")[0])
    log.info("importing the %s %s from %s; its code runs in this process", kind, name, file)


def import_function(kind: str, name: str) -> Callable[..., Any]:
    """The function `name` of a module that is installed or a file in the user's folder.

    Args:
        kind: what it is, for messages: `space`, `sampler` or `network`.
        name: package.module:function, well-formed (`is_function_name`).

    Raises:
        ValueError: if the module cannot be imported, or has no such function.
    """
    module_name, _, function_name = name.partition(":")
    module = _import_module(kind, module_name, name)
    # The file is named because an installed module may have been found instead of the user's own.
    where = getattr(module, "__file__", None) or module.__name__
    if not hasattr(module, function_name):
        known = [
            key
            for key, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not key.startswith("_")
        ]
        hint = describe_nearest(function_name, known, "it has no function")
        raise ValueError(f"{kind} {name!r}: {where} has no {function_name!r}; {hint}")
    function: Callable[..., Any] = getattr(module, function_name)
    if not callable(function):
        raise ValueError(f"{kind} {name!r} must be a function, but is {function!r} in {where}; name a function")
    return function


def hash_module(kind: str, name: str) -> str:
    """A digest of the source of the module that has the function; the arguments are those of `import_function`."""
    module = _import_module(kind, name.partition(":")[0], name)
    file = getattr(module, "__file__", None)  # built-in modules have none
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def is_function_name(name: str) -> bool:
    """Whether it has the form package.module:function."""
    module_name, _, function_name = name.partition(":")
    return all(part.isidentifier() for part in [*module_name.split("."), function_name])


def user_folder() -> Path:
    """Where the user's own modules are: the current folder of the command that runs the search."""
    return Path(os.environ.get(FOLDER_VARIABLE) or Path.cwd())


@contextmanager
def user_folder_importable() -> Iterator[None]:
    """Makes modules in the user's folder importable, as `python -m` does, so that functions can stand beside a preset.

    Processes that are started in this context can import them, too. The folder comes last in the search path, so that a
    file there hides nothing that is installed.
    """
    here, told = str(user_folder()), FOLDER_VARIABLE in os.environ
    os.environ[FOLDER_VARIABLE] = here
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        yield
    finally:
        if added:
            sys.path.remove(here)
        if not told:
            del os.environ[FOLDER_VARIABLE]


def _find_file(module_name: str) -> str:
    """The file that importing the module will run first; nothing is run yet."""
    with user_folder_importable(), suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(module_name.partition(".")[0])
        if spec is not None:
            return spec.origin or str(next(iter(spec.submodule_search_locations or ()), module_name))
    return "nowhere"


def _import_module(kind: str, module_name: str, name: str) -> ModuleType:
    try:
        with user_folder_importable():
            return importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise ValueError(
                f"{kind} {name!r}: {describe_error(error)}, neither installed nor in {user_folder()}; "
                "fix the name or run in its folder"
            ) from error
        raise ValueError(
            f"{kind} {name!r}: importing {module_name} raised {describe_error(error)}; fix the module"
        ) from error


def describe_nearest(name: str, known: list[str], nothing: str) -> str:
    """The end of a message that refuses `name`."""
    near = get_close_matches(name, known, n=1, cutoff=0)
    return f"the nearest is {near[0]!r}" if near else nothing


def describe_error(error: Exception) -> str:
    """The type and text of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
