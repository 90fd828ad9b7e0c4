"""The data sets that are known by name: digits, CIFAR-10 and CIFAR-100."""

import os
import socket
import tarfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from trainable.data.images import Block, ImageArray, LabelArray, LabelledImages, Source, explain_unreadable

DOWNLOAD_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Download:
    """Data that torchvision downloads. title: for people. dataset: its name in torchvision.datasets."""

    title: str
    dataset: str
    classes: int
    train_images: int
    test_images: int
    megabytes: int


DOWNLOADS = {
    "cifar10": Download("CIFAR-10", "CIFAR10", 10, 50_000, 10_000, 170),
    "cifar100": Download("CIFAR-100", "CIFAR100", 100, 50_000, 10_000, 169),
}


def read_digits() -> Source:
    """scikit-learn's bundled digits: 1,797 grey images of 8x8; 10 classes."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)  # of 0 to 16
    # Drawn at random from each class. The images are sorted by writer, so the last fifth would be other people's
    # handwriting: harder than the validation images, which are drawn from the training images at random.
    train, test = train_test_split(np.arange(len(images)), test_size=0.2, stratify=digits.target, random_state=0)
    labels = digits.target.astype(np.int64)
    first, second = (_hold_images("digits", images[rows], labels[rows]) for rows in (train, test))
    return Source(first, second, tuple(str(digit) for digit in digits.target_names))


def has_download(name: str, cache: Path | None = None) -> bool:
    """Whether `read_download` would find the data or its archive in `cache`; neither is checked."""
    dataset = _find_dataset(name)
    return any((cache or _default_cache()).joinpath(each).exists() for each in (dataset.base_folder, dataset.filename))


def read_download(name: str, cache: Path | None) -> Source:
    """torchvision's data of that name, one of DOWNLOADS, downloaded into `cache` if it is not there.

    CIFAR-10: 50,000 and 10,000 images in 10 classes. CIFAR-100: as many in its 100 fine classes.
    """
    dataset, cache = _find_dataset(name), cache or _default_cache()
    archive = cache / dataset.filename
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)  # torchvision sets none and would wait for ever
    try:
        # It verifies checksums: an incomplete archive is downloaded again, and no foreign pickle is opened.
        splits = [dataset(cache, train=train, download=True) for train in (True, False)]
    except (OSError, HTTPException, RuntimeError, tarfile.TarError) as error:
        found = " (the one there is incomplete or not the official one)" if archive.exists() else ""
        raise ValueError(
            f"{DOWNLOADS[name].title} could not be downloaded into {str(cache)!r}: {explain_unreadable(error)}; put "
            f"the official {archive.name} there{found}, or pass `--data FOLDER` with train.parquet and test.parquet"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    train, test = (_hold_images(name, split.data, np.array(split.targets, np.int64)) for split in splits)
    return Source(train, test, tuple(splits[0].classes))


def _find_dataset(name: str) -> Any:
    import torchvision.datasets

    return getattr(torchvision.datasets, DOWNLOADS[name].dataset)


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alphaprune"


def _hold_images(name: str, images: ImageArray, labels: LabelArray) -> LabelledImages:
    """A split of images that are already pixels in memory."""
    return LabelledImages(labels, lambda: [Block(list(images), lambda row: f"image {row} (from 0) of {name}")])
