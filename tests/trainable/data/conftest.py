"""What the tests of the data share."""

from pathlib import Path

import pytest
from image_data import encode, pixels, write_parquet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """40 training and 10 test images of 4 classes, of pure noise, so that no two are equal."""
    folder = tmp_path / "noise"
    folder.mkdir()
    for name, count, seed in (("train", 40, 0), ("test", 10, 1)):
        images = pixels(count, seed)
        write_parquet(folder / f"{name}.parquet", [encode(image) for image in images], [n % 4 for n in range(count)])
    return folder
