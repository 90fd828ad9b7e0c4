"""Images of noise, encoded and written as people keep them, and how they are loaded or refused."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainable.config import DataConfig
from trainable.data.dataset import Data, Split, load_data

IMG = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def pixels(count: int, seed: int = 0, size: int = 32) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def encode(image: np.ndarray[Any, Any] | Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind)
    return stream.getvalue()


def write_parquet(path: Path, encoded: list[Any], labels: list[Any], img: Any = IMG, label: Any = None) -> None:
    if img == IMG:
        encoded = [{"bytes": item} if isinstance(item, bytes) else item for item in encoded]
    table = {"img": pa.array(encoded, img), "label": pa.array(labels, label or pa.int64())}
    pq.write_table(pa.table(table), path, row_group_size=7)


def load(source: Path | str, **settings: Any) -> Data:
    return load_data(DataConfig(source=str(source), **settings))


def refused(source: Path | str, **settings: Any) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        load(source, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def keys(split: Split) -> set[bytes]:
    return {image.tobytes() for image in split.images}
