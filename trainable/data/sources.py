"""Where images come from: each source gives its training and its test images, decoded to uint8 [N, 32, 32, 3].

Whatever a user can get wrong raises a ValueError of one line: the rule, what was found, and how to fix it.
"""

import os
import socket
import tarfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError

from trainable.cpus import count_cpus

ImageArray = npt.NDArray[np.uint8]
LabelArray = npt.NDArray[np.int64]
LabelledImages = tuple[ImageArray, LabelArray]

SIZE = 32  # pixels per side
SMALL_BYTES = 4096  # encoded images smaller than this on average are decoded by one thread
BLOCK = 64  # images a thread decodes at a time: a future for each would cost as much as a small image
DOWNLOAD_TIMEOUT_SECONDS = 10.0


def read_digits() -> tuple[LabelledImages, LabelledImages]:
    """scikit-learn's bundled digits: 1,797 images of 8x8, in three equal channels; 10 classes."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = np.empty((len(digits.images), SIZE, SIZE, 3), np.uint8)
    for row, values in enumerate(digits.images):  # [8, 8] in 0 to 16
        small = Image.fromarray(np.round(values * (255 / 16)).astype(np.uint8))
        images[row] = np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BILINEAR))[..., None]
    # Drawn at random from each class. The images are sorted by writer, so the last fifth would be other people's
    # handwriting: harder than the validation images, which are drawn from the training images at random.
    train, test = train_test_split(np.arange(len(images)), test_size=0.2, stratify=digits.target, random_state=0)
    labels = digits.target.astype(np.int64)
    return (images[train], labels[train]), (images[test], labels[test])


def read_cifar10(cache: Path | None) -> tuple[LabelledImages, LabelledImages]:
    """torchvision's CIFAR-10: 50,000 and 10,000 images in 10 classes, downloaded into `cache` if they are not there."""
    from torchvision.datasets import CIFAR10

    if cache is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alphaprune"
    archive = cache / CIFAR10.filename
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)  # torchvision sets none and would wait for ever
    try:
        # It verifies checksums: an incomplete archive is downloaded again, and no foreign pickle is opened.
        training, test = (CIFAR10(cache, train=train, download=True) for train in (True, False))
    except (OSError, HTTPException, RuntimeError, tarfile.TarError) as error:
        found = " (the one there is incomplete or not the official one)" if archive.exists() else ""
        raise ValueError(
            f"CIFAR-10 could not be downloaded into {str(cache)!r}: {_describe_error(error)}; put the official "
            f"{archive.name} there{found}, or pass `--data FOLDER` with train.parquet and test.parquet"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    return (training.data, np.array(training.targets)), (test.data, np.array(test.targets))


def read_folder(folder: Path) -> tuple[LabelledImages, LabelledImages]:
    """A folder in the Parquet or the ImageFolder layout."""
    if not folder.is_dir():
        raise ValueError(f"data must be 'digits', 'cifar10' or a folder, but {str(folder)!r} is none of them")
    files, folders = ("train.parquet", "test.parquet"), ("train", "test")
    for names in (files, folders):
        there = [name for name in names if (folder / name).exists()]
        if len(there) == 1:
            missing = names[1 - names.index(there[0])]
            raise ValueError(f"{str(folder)!r} must hold both {names[0]} and {names[1]}, but {missing} is missing")
        if there:
            break
    else:
        raise ValueError(
            f"{str(folder)!r} must hold train.parquet and test.parquet, or train/<class>/* and test/<class>/*, "
            "but holds neither"
        )
    if names == files:
        return _read_parquet(folder / files[0]), _read_parquet(folder / files[1])
    train, test = (_class_names(folder / name) for name in folders)
    if train != test:
        raise ValueError(
            f"train and test of {str(folder)!r} must hold the same class folders, but only one of them holds "
            f"{', '.join(sorted(set(train) ^ set(test)))}"
        )
    return _read_image_folder(folder / folders[0], train), _read_image_folder(folder / folders[1], train)


def _read_parquet(path: Path) -> LabelledImages:
    try:
        with pq.ParquetFile(path) as file:
            _check_schema(path, file.schema_arrow)
            table = file.read(columns=["img.bytes", "label"])
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} must be a Parquet file, but cannot be read as one: {_describe_error(error)}"
        ) from error
    columns = {"img.bytes": pc.struct_field(table["img"], "bytes"), "label": table["label"]}
    for name, column in columns.items():
        if column.null_count:
            row = pc.index(pc.is_null(column), True)
            raise ValueError(f"{path} must have no null values, but {name} is null in row {row} (from 0)")
    images = _decode_images(columns["img.bytes"].to_pylist(), lambda row: f"row {row} (from 0) of {path}")
    return images, columns["label"].to_numpy().astype(np.int64)


def _check_schema(path: Path, schema: pa.Schema) -> None:
    missing = [name for name in ("img", "label") if name not in schema.names]
    if missing:
        raise ValueError(
            f"{path} must have the columns img and label, but lacks {' and '.join(missing)}; "
            f"it has: {', '.join(schema.names) or 'none'}"
        )
    img, label = schema.field("img").type, schema.field("label").type
    # Compared as text: a struct without the field has no type to compare.
    content = str(img.field("bytes").type) if pa.types.is_struct(img) and img.get_field_index("bytes") >= 0 else ""
    if content not in ("binary", "large_binary", "binary_view"):
        raise ValueError(f"column img of {path} must be a struct with the encoded image as bytes: binary, but is {img}")
    if not pa.types.is_integer(label):
        raise ValueError(f"column label of {path} must be of integers (0 to classes - 1), but is {label}")


def _class_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())


def _read_image_folder(folder: Path, classes: list[str]) -> LabelledImages:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = sorted((folder / name).glob("[!.]*"))
        if not files:
            raise ValueError(f"every class folder must hold images, but {folder / name} is empty")
        paths += files
        labels += [label] * len(files)
    return _decode_images(paths, lambda row: str(paths[row])), np.array(labels, np.int64)


def _decode_images(encoded: Sequence[bytes | Path], place: Callable[[int], str]) -> ImageArray:
    """The images as uint8 [N, 32, 32, 3]; raises ValueError, saying which is the first that cannot be read."""
    images = np.empty((len(encoded), SIZE, SIZE, 3), np.uint8)

    def fill(start: int) -> None:
        for row in range(start, min(start + BLOCK, len(encoded))):
            try:
                images[row] = _read_pixels(encoded[row])
            except Exception as error:  # each of Pillow's decoders fails in its own way
                raise ValueError(
                    f"{place(row)} must be an image, but cannot be read: {_describe_error(error)}"
                ) from error

    # Pillow registers its formats when first needed, and while it does they are unknown to other threads. preinit comes
    # first: formats are tried in the order of registration, and it registers the common ones.
    Image.preinit()
    Image.init()
    with ThreadPoolExecutor(_count_threads(encoded)) as pool:
        list(pool.map(fill, range(0, len(encoded), BLOCK)))
    return images


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


def _describe_error(error: Exception) -> str:
    """The error's message in one line; for an unknown format Pillow's own would name an object in memory."""
    if isinstance(error, UnidentifiedImageError):
        return "it is damaged or of a format unknown to Pillow"
    return " ".join(str(error).split()) or type(error).__name__
