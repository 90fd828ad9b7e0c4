"""What the tests of the search share."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from searches import TINY


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The settings as a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the project has logged since the last call, from INFO up."""
    caplog.set_level(logging.INFO, "alphaprune")

    def new() -> list[str]:
        messages = [record.getMessage() for record in caplog.records if record.name == "alphaprune"]
        caplog.clear()
        return messages

    return new


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the project has warned of since the last call."""

    def new() -> list[str]:
        found = [each for each in caplog.records if each.name == "alphaprune" and each.levelno >= logging.WARNING]
        caplog.clear()
        return [record.getMessage() for record in found]

    return new
