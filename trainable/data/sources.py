"""What a source is: the name of built-in data, or a folder in the Parquet or the ImageFolder layout.

Each source gives its training and its test images. Whatever a user can get wrong raises a ValueError of one line: the
rule, what was found, and how to fix it.
"""

import os
from pathlib import Path

from trainable.data.builtin import read_cifar10, read_digits
from trainable.data.image_folder import find_split_folders, read_image_folder
from trainable.data.images import LabelledImages
from trainable.data.parquet import find_parquet_files, read_parquet_files

BUILT_IN = ("digits", "cifar10")


def locate_source(source: str) -> str:
    """The source as an experiment records it: a folder by its absolute path, so that it is found from anywhere.

    `digits` and `cifar10` always are the built-in data; a folder of that name is `./digits`.
    """
    is_folder = source not in BUILT_IN and os.path.isdir(source)  # noqa: PTH112  Path("") would be the current folder
    return str(Path(source).resolve()) if is_folder else source


def read_source(source: str, cache: Path | None) -> tuple[LabelledImages, LabelledImages]:
    """The training and the test images of `source`.

    Args:
        source: a name in BUILT_IN or a folder.
        cache: the folder in which cifar10 is kept; None for the default.
    """
    if source == "digits":
        return read_digits()
    if source == "cifar10":
        return read_cifar10(cache)
    if not os.path.isdir(source):  # noqa: PTH112  as above; and a name too long for a file is no folder
        raise ValueError(f"data must be 'digits', 'cifar10' or a folder, but {source!r} is none of them")
    try:
        return _read_folder(Path(source))
    except OSError as error:
        raise ValueError(f"data must be readable, but {source!r} is not: {error}") from error


def _read_folder(folder: Path) -> tuple[LabelledImages, LabelledImages]:
    if (files := find_parquet_files(folder)) is not None:
        return read_parquet_files(*files)
    if (folders := find_split_folders(folder)) is not None:
        return read_image_folder(*folders)
    raise ValueError(
        f"{str(folder)!r} must hold train.parquet and test.parquet, or train/<class>/* and test/<class>/*, "
        "but holds neither"
    )
