"""How much memory images take is known, and too much is refused, before any of them is decoded."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_data import load, refused

from trainable.config import DataConfig
from trainable.cpus import memory_bytes
from trainable.data.dataset import load_data
from trainable.data.size import MOST_MEMORY, DataSize, check_memory, count_images


@pytest.mark.parametrize("image_size", [32, 50])
def test_the_size_is_that_of_the_arrays(folder: Path, image_size: int) -> None:
    data = load(folder, validation_fraction=0.25, image_size=image_size)
    assert data.size == DataSize(4, 30, 10, 10, image_size)
    assert data.size.bytes == sum(split.images.nbytes for split in (data.train, data.validation, data.test))
    assert data.size.trained_bytes == data.train.images.nbytes + data.validation.images.nbytes


@pytest.mark.parametrize(
    ("settings", "train", "validation"),
    [({}, 900, 100), ({"images": 50, "validation_fraction": 0.2}, 40, 10), ({"images": 1000}, 900, 100)],
)
def test_images_are_counted_as_they_are_split(settings: dict[str, Any], train: int, validation: int) -> None:
    size = count_images(DataConfig(**settings, image_size=64), classes=7, training=1000, test=30)
    assert size == DataSize(7, train, validation, 30, 64)
    assert size.bytes == (train + validation + 30) * 64 * 64 * 3


def write_millions(folder: Path, count: int) -> Path:
    """As many images as said to train on, in a small file: none can be decoded."""
    folder.mkdir()
    for split, rows in (("train", count), ("test", 10)):
        images = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([b"no image"]))
        labels = pa.array(np.arange(rows) % 2)
        pq.write_table(pa.table({"image": images, "label": labels}), folder / f"{split}.parquet")
    return folder


def test_images_that_do_not_fit_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    fit = int(MOST_MEMORY * memory_bytes() / (3 * 224**2))
    folder = write_millions(tmp_path / "large", fit + 10)
    assert refused(folder, image_size=224) == (
        f"the images must fit into 80% of the {memory_bytes() / 1e9:.1f} GB of memory that this process may use, but "
        f"{fit + 20:,} images of 224x224 pixels take {(fit + 20) * 3 * 224**2 / 1e9:.1f} GB; lower data.image_size or "
        "data.images"
    )
    assert "must be an image, but" in refused(folder, image_size=224, images=100)
    with pytest.raises(ValueError, match="GB in 2 copies; lower data"):
        load_data(DataConfig(source=str(folder), image_size=160), copies=2)


def test_small_images_fit(folder: Path) -> None:
    check_memory(load(folder).size, copies=2)
