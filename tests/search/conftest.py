"""What the tests of the search share."""

from pathlib import Path

import pytest
from searches import TINY


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The settings as a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path
