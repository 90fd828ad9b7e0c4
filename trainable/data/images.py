"""What a source holds: images, not yet decoded, and their labels; and the decoding, to uint8 [N, size, size, 3]."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from trainable.cpus import count_cpus

ImageArray = npt.NDArray[np.uint8]
LabelArray = npt.NDArray[np.int64]
# In a format that Pillow knows, a file of one, or pixels: [height, width] or [height, width, 3].
EncodedImage = bytes | Path | ImageArray

SMALL_BYTES = 4096  # encoded images smaller than this on average are decoded by one thread
BLOCK = 64  # images a thread decodes at a time: a future for each would cost as much as a small image


class Block(NamedTuple):
    """Images that are read together. place: names one of them in an error message, by its index."""

    images: Sequence[EncodedImage]
    place: Callable[[int], str]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """A split of a source. labels: [N]. read_blocks: reads the images of the labels, in their order, block by block."""

    labels: LabelArray
    read_blocks: Callable[[], Iterable[Block]]


@dataclass(frozen=True, eq=False)
class Source:
    """What a source holds before its images are decoded. class_names: by label; none if it does not name them."""

    train: LabelledImages
    test: LabelledImages
    class_names: tuple[str, ...] = ()


def decode_images(blocks: Iterable[Block], rows: LabelArray, size: int) -> ImageArray:
    """The images as uint8 [N, size, size, 3], those of other sizes and modes converted.

    Args:
        blocks: the images.
        rows: where each of them goes: a row of the result, each once; or -1 if it is only to be checked.
        size: height and width, in pixels.

    Raises:
        ValueError: in one line, about the first image that cannot be read.
    """
    images = np.empty((np.count_nonzero(rows >= 0), size, size, 3), np.uint8)
    done = 0
    for block in blocks:
        _decode_block(block, rows[done : done + len(block.images)], images)
        done += len(block.images)
    return images


def _decode_block(block: Block, rows: LabelArray, images: ImageArray) -> None:
    """Writes the images of the block into the given rows of `images`."""
    size = images.shape[1]

    def fill(start: int) -> None:
        for index in range(start, min(start + BLOCK, len(rows))):
            try:
                pixels = _read_pixels(block.images[index], size)
            except Exception as error:  # each of Pillow's decoders fails in its own way
                raise ValueError(
                    f"{block.place(index)} must be an image, but cannot be read: {explain_unreadable(error)}"
                ) from error
            if rows[index] >= 0:
                images[rows[index]] = pixels

    # Pillow registers its formats when first needed, and while it does they are unknown to other threads. preinit comes
    # first: formats are tried in the order of registration, and it registers the common ones.
    Image.preinit()
    Image.init()
    with warnings.catch_warnings(), ThreadPoolExecutor(_count_threads(block.images)) as pool:
        # Transparent palettes, odd metadata, large images: all are read, and nobody wants a line about each.
        warnings.filterwarnings("ignore", module="PIL")
        list(pool.map(fill, range(0, len(rows), BLOCK)))


def explain_unreadable(error: Exception) -> str:
    """The error's message in one line; for an unknown format Pillow's own would name an object in memory."""
    if isinstance(error, UnidentifiedImageError):
        return "it is damaged or of a format unknown to Pillow"
    return " ".join(str(error).split()) or type(error).__name__


def _count_threads(images: Sequence[EncodedImage]) -> int:
    # Pillow releases the GIL to decode but not to open, and at 32x32 opening takes most of the time: on 2 shared cores
    # two threads were mostly slower than one, by up to half; at 256x256 they were about 1.6 times as fast. Files also
    # wait for disks, so they always get several.
    sizes = [
        len(image) if isinstance(image, bytes) else image.nbytes for image in images if not isinstance(image, Path)
    ]
    return 1 if sizes and np.mean(sizes) < SMALL_BYTES else min(8, count_cpus())


def _read_pixels(encoded: EncodedImage, size: int) -> ImageArray:
    if isinstance(encoded, np.ndarray):
        return encoded if encoded.shape == (size, size, 3) else _convert_image(Image.fromarray(encoded), size)
    with Image.open(BytesIO(encoded) if isinstance(encoded, bytes) else encoded) as image:
        if image.mode.startswith(("I", "F")):
            # Pillow would clip such values at 255: nearly all of a 16-bit image would be white.
            raise ValueError(f"it has more than 8 bits per channel (mode {image.mode}); convert it to 8")
        return _convert_image(image, size)


def _convert_image(image: Image.Image, size: int) -> ImageArray:
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    return np.asarray(rgb if rgb.size == (size, size) else rgb.resize((size, size), Image.Resampling.BILINEAR))
