"""A search that takes seconds: 200 digits, VGG16 at a sixteenth of its width, three epochs a trial."""

from pathlib import Path

import pytest

TINY = """
[data]
source = "digits"
images = 200
validation_fraction = 0.25

[dense]
width = 0.0625
epochs = 2
optimizer = { batch_size = 32 }

[trial]
epochs = 3
alpha_fraction = 0.34
optimizer = { batch_size = 32 }
lr = { policy = "cosine", warmup_epochs = 0 }
pruning = { amount = 0.5, round_to = 1 }

[space.options]
amounts = [0.5]

[controls]
amounts = [0.5]

[search]
trials = 3
early_stopping = { enabled = false }
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The settings as a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path
