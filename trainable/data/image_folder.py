"""The ImageFolder layout, train/<class>/* and test/<class>/*: the files that torchvision's ImageFolder reads."""

import logging
import os
from collections import Counter
from pathlib import Path
from typing import NoReturn

import numpy as np

from trainable.data.images import Block, LabelledImages, Source
from trainable.data.validation_split import report_unused, suggest_use

log = logging.getLogger("alphaprune")

# torchvision's, whose import takes seconds.
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
# Class folders that a message names.
MOST_NAMES = 10


def find_split_folders(folder: Path) -> tuple[Path, Path] | None:
    """The folders of the training and the test images; None if there is neither.

    Raises:
        ValueError: if there is only one of them.
    """
    train, test = folder / "train", folder / "test"
    missing = [path.name for path in (train, test) if not path.is_dir()]
    if len(missing) == 1:
        hint = suggest_use(folder) if missing == ["test"] else ""
        raise ValueError(f"{str(folder)!r} must hold both train and test, but {missing[0]} is missing{hint}")
    if missing:
        return None
    report_unused(folder)
    return train, test


def list_image_folder(train: Path, test: Path) -> Source:
    """The images of both folders; labels number the class folders, which name the classes, in the order of their names.

    As with torchvision, files with other endings than IMAGE_ENDINGS are skipped, and folders within a class folder
    are searched, links to folders included. Hidden files and folders are skipped, too.

    Raises:
        ValueError: in one line, if the class folders differ, or one of them has no images.
    """
    classes, others = _list_classes(train), _list_classes(test)
    if classes != others:
        sides = (train.name, set(classes) - set(others)), (test.name, set(others) - set(classes))
        alone = " and ".join(f"only {name} holds {_name_some(sorted(more))}" for name, more in sides if more)
        raise ValueError(f"train and test of {str(train.parent)!r} must hold the same class folders, but {alone}")
    skipped: Counter[str] = Counter()
    images = _list_split(train, classes, skipped), _list_split(test, classes, skipped)
    if skipped:
        endings = ", ".join(f"{count} {ending or 'without ending'}" for ending, count in sorted(skipped.items()))
        log.info("skipped files in %s that are not named like images: %s", train.parent, endings)
    return Source(*images, tuple(classes))


def _list_classes(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _name_some(classes: list[str]) -> str:
    more = len(classes) - MOST_NAMES
    return ", ".join(classes[:MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _list_split(folder: Path, classes: list[str], skipped: Counter[str]) -> LabelledImages:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = _list_images(folder / name, skipped)
        if not files:
            raise ValueError(
                f"every class folder must hold images, but {folder / name} holds none "
                f"(files that end in {', '.join(IMAGE_ENDINGS)})"
            )
        paths += files
        labels += [label] * len(files)
    return LabelledImages(np.array(labels, np.int64), lambda: [Block(paths, lambda row: str(paths[row]))])


def _list_images(folder: Path, skipped: Counter[str]) -> list[Path]:
    """The image files in a class folder and the folders in it, in torchvision's order; counts what is skipped."""
    paths = []
    for root, folders, names in os.walk(folder, followlinks=True, onerror=_raise_error):
        folders[:] = [name for name in folders if not name.startswith(".") and not _is_loop(Path(root, name))]
        paths.append((root, sorted(name for name in names if not name.startswith("."))))
    found: list[Path] = []
    for path in (Path(root, name) for root, names in sorted(paths) for name in names):
        if not path.name.lower().endswith(IMAGE_ENDINGS):
            skipped[path.suffix.lower()] += 1
        elif path.is_file():
            found.append(path)
        else:  # opening a FIFO would wait for ever, and reading a device would never end
            raise ValueError(f"{path} must be an image, but is not a regular file; remove it")
    return found


def _is_loop(folder: Path) -> bool:
    """Whether it is a link to a folder that it is in."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _raise_error(error: OSError) -> NoReturn:
    # os.walk would leave out what it cannot read.
    raise error
