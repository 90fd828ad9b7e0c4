"""Encoded images, from files or from memory, decoded to uint8 [N, 32, 32, 3]."""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from trainable.cpus import count_cpus

ImageArray = npt.NDArray[np.uint8]
LabelArray = npt.NDArray[np.int64]
LabelledImages = tuple[ImageArray, LabelArray]

SIZE = 32  # pixels per side
SMALL_BYTES = 4096  # encoded images smaller than this on average are decoded by one thread
BLOCK = 64  # images a thread decodes at a time: a future for each would cost as much as a small image


def decode_images(encoded: Sequence[bytes | Path], place: Callable[[int], str]) -> ImageArray:
    """The images as uint8 [N, 32, 32, 3], those of other sizes and modes converted.

    Args:
        encoded: each an image in a format that Pillow knows, or the file that holds it.
        place: names an image in an error message, by its row.

    Raises:
        ValueError: in one line, about the first image that cannot be read.
    """
    images = np.empty((len(encoded), SIZE, SIZE, 3), np.uint8)

    def fill(start: int) -> None:
        for row in range(start, min(start + BLOCK, len(encoded))):
            try:
                images[row] = _read_pixels(encoded[row])
            except Exception as error:  # each of Pillow's decoders fails in its own way
                raise ValueError(
                    f"{place(row)} must be an image, but cannot be read: {describe_error(error)}"
                ) from error

    # Pillow registers its formats when first needed, and while it does they are unknown to other threads. preinit comes
    # first: formats are tried in the order of registration, and it registers the common ones.
    Image.preinit()
    Image.init()
    with warnings.catch_warnings(), ThreadPoolExecutor(_count_threads(encoded)) as pool:
        # Transparent palettes, odd metadata, large images: all are read, and nobody wants a line about each.
        warnings.filterwarnings("ignore", module="PIL")
        list(pool.map(fill, range(0, len(encoded), BLOCK)))
    return images


def describe_error(error: Exception) -> str:
    """The error's message in one line; for an unknown format Pillow's own would name an object in memory."""
    if isinstance(error, UnidentifiedImageError):
        return "it is damaged or of a format unknown to Pillow"
    return " ".join(str(error).split()) or type(error).__name__


def _count_threads(encoded: Sequence[bytes | Path]) -> int:
    # Pillow releases the GIL to decode but not to open, and at 32x32 opening takes most of the time: on 2 shared cores
    # two threads were mostly slower than one, by up to half; at 256x256 they were about 1.6 times as fast. Files also
    # wait for disks, so they always get several.
    sizes = [len(image) for image in encoded if isinstance(image, bytes)]
    return 1 if sizes and np.mean(sizes) < SMALL_BYTES else min(8, count_cpus())


def _read_pixels(encoded: bytes | Path) -> ImageArray:
    with Image.open(BytesIO(encoded) if isinstance(encoded, bytes) else encoded) as image:
        if image.mode.startswith(("I", "F")):
            # Pillow would clip such values at 255: nearly all of a 16-bit image would be white.
            raise ValueError(f"it has more than 8 bits per channel (mode {image.mode}); convert it to 8")
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        return np.asarray(rgb if rgb.size == (SIZE, SIZE) else rgb.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
