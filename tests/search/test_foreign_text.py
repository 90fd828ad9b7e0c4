"""Text that others wrote, in records and errors, is shown as text: no markup of rich's, no commands to a terminal."""

import json
import logging
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from experiments import ExperimentBuilder, make_measurement, write_measurement

from search.cli.app import console, log, logging_to_console

# A window's title, a cleared screen, a colour by a C1 code, a reversed reading direction, and markup.
HOSTILE = "\x1b]0;owned\x07 \x1b[2J [/data/masks] [bold] \x9b31m \u202e [enforce fail at alloc_cpu.cpp:121]"
SHOWN = "[/data/masks] [bold] �31m � [enforce fail at alloc_cpu.cpp:121]"


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """An experiment with hostile text wherever a record holds text."""
    builder = ExperimentBuilder(tmp_path / "search", epochs=3, trials=4)
    builder.write_dense()
    complete = builder.add_trial(0)
    write_measurement(complete, make_measurement(measured_on=HOSTILE))
    failed = builder.add_trial(1, (0.5, 0.8), state="failed", error=HOSTILE)
    failed.write_record(replace(failed.read_record(), problems=[HOSTILE]))
    builder.add_trial(2, (0.5,), state="running", host=HOSTILE, device=HOSTILE)
    other = builder.add_trial(3)
    other.rows_path.write_text(json.dumps({HOSTILE: 1}) + "\n")
    record = builder.folder.read_record()
    builder.folder.write_record(replace(record, name=HOSTILE, preset=HOSTILE, versions={HOSTILE: HOSTILE}))
    return tmp_path


def run_in_terminal(*arguments: str) -> str:
    """What `alphaprune ARGUMENTS` writes to a terminal, without the colours that it may use."""
    screen, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "alphaprune", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "COLUMNS": "500"},
    ):
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # the end, on Linux
            while piece := os.read(screen, 1 << 16):
                shown += piece
    os.close(screen)
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode().replace("\r\n", "\n"))


@pytest.mark.parametrize(
    "command",
    [
        "status search",
        "status search --format json",
        "list",
        "list --format json",
        "rank search",
        "rank search --format csv",
        "rank search --format json",
        "report search",
        "resume search --local",
        "measure search",
        "export search 0 --to network",
    ],
)
def test_no_text_of_a_record_commands_the_terminal(storage: Path, command: str) -> None:
    shown = run_in_terminal(*command.split(), "--storage", str(storage))
    assert shown
    odd = {character for character in shown if not character.isprintable() and character != "\n"}
    assert not odd, shown


def test_an_error_is_shown_with_its_brackets(storage: Path) -> None:
    assert SHOWN in run_in_terminal("status", "search", "--storage", str(storage))


def test_a_program_gets_the_text_as_it_is(storage: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "alphaprune", "rank", "search", "--format", "csv", "--storage", str(storage)],
        capture_output=True,
        check=True,
    )
    assert HOSTILE in ran.stdout.decode(), ran.stdout[-900:]


def test_a_log_line_is_shown_with_its_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.stderr
    with logging_to_console(console):
        log.warning("the space rejects %s", HOSTILE)
        logging.getLogger("alphaprune").info("[/red]")
    said = capsys.readouterr().err
    assert SHOWN in said
    assert "[/red]" in said
    assert "\x1b" not in said
