"""The data sets that are known by name: digits and CIFAR-10."""

import os
import socket
import tarfile
from http.client import HTTPException
from pathlib import Path

import numpy as np
from PIL import Image

from trainable.data.images import SIZE, LabelledImages, describe_error

DOWNLOAD_TIMEOUT_SECONDS = 10.0
CIFAR10_IMAGES = 50_000


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


def has_cifar10(cache: Path | None = None) -> bool:
    """Whether `read_cifar10` would find the data or its archive in `cache`; neither is checked."""
    from torchvision.datasets import CIFAR10

    return any((cache or _default_cache()).joinpath(name).exists() for name in (CIFAR10.base_folder, CIFAR10.filename))


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alphaprune"


def read_cifar10(cache: Path | None) -> tuple[LabelledImages, LabelledImages]:
    """torchvision's CIFAR-10: 50,000 and 10,000 images in 10 classes, downloaded into `cache` if they are not there."""
    from torchvision.datasets import CIFAR10

    cache = cache or _default_cache()
    archive = cache / CIFAR10.filename
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)  # torchvision sets none and would wait for ever
    try:
        # It verifies checksums: an incomplete archive is downloaded again, and no foreign pickle is opened.
        training, test = (CIFAR10(cache, train=train, download=True) for train in (True, False))
    except (OSError, HTTPException, RuntimeError, tarfile.TarError) as error:
        found = " (the one there is incomplete or not the official one)" if archive.exists() else ""
        raise ValueError(
            f"CIFAR-10 could not be downloaded into {str(cache)!r}: {describe_error(error)}; put the official "
            f"{archive.name} there{found}, or pass `--data FOLDER` with train.parquet and test.parquet"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    return (training.data, np.array(training.targets)), (test.data, np.array(test.targets))
