"""What commands do to the process they run in: messages are shown as they are, everything is restored afterwards."""

import errno
import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
import sklearn.datasets  # noqa: F401  commands import these; done here, so that what importing does to the process is not counted
import tensorboardX  # noqa: F401
import torch._inductor  # noqa: F401
import typer
from experiments import ExperimentBuilder
from searches import TINY, alphaprune
from typer.testing import CliRunner

import analysis.report  # noqa: F401
import search.experiment  # noqa: F401
from search.cli.app import SHOWN_TRIALS, app, console, end_gracefully, log, logging_to_console, print_ranking
from search.interruption import Interruption
from trainable.errors import LostError, TrialError

# Texts from elsewhere are full of what rich would take for markup, emoji or highlights.
ODD = [
    "--data must be a folder, but got '[/data/masks]'",
    "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory",
    "[bold red]no markup[/bold red] [/] [[ ]] \\[ [link=x]",
    ":warning: :+1: 3.14 True None 'text' http://example.org/a?b=c",
    "100% of {braces} and %s",
    "Zürich → 北京",
    "word " * 100 + "end",
]


@pytest.mark.parametrize("text", ODD)
def test_messages_are_shown_as_they_are(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_console(console):
        log.info("%s", text)
        log.warning("%s", text)
        log.error("%s", text)
        log.debug("%s", text)
    shown = capsys.readouterr()
    assert shown.err == f"{text}\nalphaprune: {text}\nalphaprune: {text}\n"
    assert shown.out == ""


def test_a_refusal_is_shown_as_it_is(tmp_path: Path) -> None:
    storage = tmp_path / "[storage]"
    result = alphaprune("rank", "[/data/masks]", "--storage", storage, code=2)
    assert result.stderr == (
        f"alphaprune: '{storage}' holds no experiment '[/data/masks]'; it holds none yet; `alphaprune run` makes one\n"
    )


def test_an_error_from_a_custom_space_is_shown_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd_space.py").write_text("def odd(trial):\n    raise ValueError('[/data/masks] [enforce fail]')\n")
    settings = tmp_path / "mine.toml"
    settings.write_text(TINY.replace("[space.options]\namounts = [0.5]", "[space]\nfunction = 'odd_space:odd'"))
    monkeypatch.chdir(tmp_path)
    result = alphaprune("run", settings, "--local", "--storage", tmp_path / "r", code=2)
    assert result.stderr.splitlines()[-1] == "alphaprune: [/data/masks] [enforce fail]"


@pytest.fixture
def custom_logger() -> Iterator[None]:
    """The logger as a program sets it up that uses the project as a library."""
    before = log.level, log.propagate
    log.setLevel(logging.ERROR)
    log.propagate = True
    yield
    log.setLevel(before[0])
    log.propagate = before[1]


def logger_state() -> tuple[int, bool, list[logging.Handler], bool]:
    return log.level, log.propagate, list(log.handlers), log.disabled


@pytest.mark.usefixtures("custom_logger")
@pytest.mark.parametrize(
    "command", [["--help"], ["rank", "none"], ["status"], ["run", "quikstart"], ["settings"], ["no-such-command"]]
)
def test_every_command_restores_the_logger(command: list[str], tmp_path: Path) -> None:
    before = logger_state()
    CliRunner().invoke(app, [*command, *(["--storage", str(tmp_path)] if command[0] in ("rank", "run") else [])])
    assert logger_state() == before


@pytest.mark.usefixtures("custom_logger")
def test_the_logger_is_restored_whatever_is_raised(capsys: pytest.CaptureFixture[str]) -> None:
    before = logger_state()
    with suppress(KeyboardInterrupt), logging_to_console(console):
        log.info("shown")
        raise KeyboardInterrupt
    assert logger_state() == before
    log.warning("not shown")
    assert capsys.readouterr().err == "shown\n"


def test_log_messages_reach_other_handlers_only_outside_of_commands(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with logging_to_console(console):
        log.warning("inside")
    log.warning("outside")
    assert caplog.messages == ["outside"]


SETTINGS = TINY.replace("[controls]", "[controls]\nkinds = ['one_shot']").replace("trials = 3", "trials = 2")
LOGGERS = ["", "alphaprune", "optuna", "ray", "ray.tune", "py.warnings"]


def process_state() -> dict[str, Any]:
    """The state of the process that belongs to whoever calls the command in it."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    handled = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]
    return {
        "signals": {number: signal.getsignal(number) for number in handled},
        "signal.signal": signal.signal,  # which keep_signals replaces
        "timer": signal.getitimer(signal.ITIMER_REAL)[0] > 0,  # pytest's, which ends a test that hangs
        "environment": dict(os.environ),
        "path": list(sys.path),
        "folder": Path.cwd(),
        "warnings": list(warnings.filters),
        "gc": (gc.isenabled(), gc.get_threshold()),
        "optuna": optuna.logging.get_verbosity(),
        "loggers": {each.name: (each.level, each.propagate, list(each.handlers), each.disabled) for each in loggers},
        "threads": {thread.name for thread in threading.enumerate()},
        "streams": (sys.stdout, sys.stderr),
        "excepthook": sys.excepthook,
    }


def differences(before: dict[str, Any]) -> dict[str, Any]:
    after, found = process_state(), {}
    for name in before:
        if isinstance(before[name], dict):
            keys = before[name].keys() | after[name].keys()
            changed = {key: (before[name].get(key), after[name].get(key)) for key in keys}
            found |= {f"{name}: {key}": pair for key, pair in changed.items() if pair[0] != pair[1]}
        elif before[name] != after[name]:
            found[name] = (before[name], after[name])
    return found


@pytest.fixture
def alien() -> Iterator[None]:
    """Handlers, filters and levels that are neither Python's nor the project's."""

    def handler(number: int, frame: object) -> None:
        raise AssertionError("nobody sends signals here")

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.signal(number, handler) for number in signals]
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    gc.disable()
    warnings.simplefilter("error", ResourceWarning)  # pytest puts the filters back
    yield
    gc.enable()
    optuna.logging.set_verbosity(verbosity)
    for number, before in zip(signals, handlers, strict=True):
        signal.signal(number, before)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("alien")
def test_a_search_leaves_its_process_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "mine.toml"
    settings.write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    where = ("--local", "--storage", tmp_path / "r")
    before = process_state()
    alphaprune("run", settings, *where, "--time-budget", "1h")
    assert differences(before) == {}
    alphaprune("resume", "mine", *where, "--trials", 3, "--tensorboard")
    assert differences(before) == {}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("alien")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--data", "nowhere"], 2),
        (["--time-budget", "soon"], 2),
        (["--set", "space.function=nowhere:space"], 2),
    ],
    ids=["no data", "no duration", "no space"],
)
def test_a_refused_search_leaves_its_process_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int
) -> None:
    settings = tmp_path / "mine.toml"
    settings.write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    before = process_state()
    alphaprune("run", settings, *arguments, "--local", "--storage", tmp_path / "r", code=code)
    assert differences(before) == {}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("alien")
def test_a_search_with_a_defect_leaves_its_process_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "mine.toml"
    settings.write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)

    def fail(*arguments: object, **keywords: object) -> None:
        raise ZeroDivisionError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr("search.backends.local.LocalBackend.run_trials", fail)
        before = process_state()
        result = CliRunner().invoke(app, ["run", str(settings), "--local", "--storage", str(tmp_path / "r")])
        assert isinstance(result.exception, ZeroDivisionError)
        assert differences(before) == {}


def test_what_nobody_asked_for_is_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a search, or of its time budget; `rank` shows all."""
    built = ExperimentBuilder(tmp_path / "demo", epochs=3)
    built.write_dense()
    for number in range(SHOWN_TRIALS + 5):
        built.add_trial(number)
    with logging_to_console(console):
        print_ranking(built.folder)
    shown = capsys.readouterr()
    assert shown.out.count("exponential") == SHOWN_TRIALS
    command = f"alphaprune rank demo --storage {tmp_path}"
    assert f"the first {SHOWN_TRIALS} of {SHOWN_TRIALS + 5} trials; all of them: {command}" in shown.err
    assert alphaprune("rank", "demo", "--storage", tmp_path).stdout.count("exponential") == SHOWN_TRIALS + 5


def test_messages_for_a_terminal_that_is_closed_do_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **keywords: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(console, "print", fail)
    with logging_to_console(console):
        log.error("nobody reads this")


@pytest.mark.parametrize(
    ("error", "code", "resumes"),
    [
        (Interruption("interrupted by SIGTERM", 143), 143, True),
        (Interruption("now being run by another process", 1, can_resume=False), 1, False),
        (LostError("its node was lost"), 1, True),
        (TrialError("all trials failed"), 1, False),
    ],
)
def test_the_last_line_is_the_command_that_resumes_if_that_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, resumes: bool
) -> None:
    folder = ExperimentBuilder(tmp_path / "demo").folder
    with logging_to_console(console), pytest.raises(typer.Exit) as ended, end_gracefully(folder, "resume", ["--local"]):
        raise error
    assert ended.value.exit_code == code
    command = f"alphaprune resume demo --storage {tmp_path} --local"
    assert capsys.readouterr().err.splitlines() == [f"alphaprune: {error}", *([command] if resumes else [])]
