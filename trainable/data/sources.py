"""What a source is: the name of built-in data, or a folder in the Parquet or the ImageFolder layout.

Each source gives its training and its test images. Whatever a user can get wrong raises a ValueError of one line: the
rule, what was found, and how to fix it.
"""

import logging
import os
from pathlib import Path

from trainable.data.builtin import DOWNLOADS, read_digits, read_download
from trainable.data.image_folder import find_split_folders, list_image_folder
from trainable.data.images import Source
from trainable.data.parquet import find_parquet_files, list_parquet_files

log = logging.getLogger("alphaprune")

BUILT_IN = ("digits", *DOWNLOADS)


def locate_source(source: str) -> str:
    """The source as an experiment records it: a folder by its absolute path, so that it is found from anywhere.

    The names in BUILT_IN always are the built-in data; a folder called `digits` is `./digits`.
    """
    is_folder = source not in BUILT_IN and os.path.isdir(source)  # noqa: PTH112  Path("") would be the current folder
    return str(Path(source).resolve()) if is_folder else source


def open_source(source: str, cache: Path | None) -> Source:
    """The training and the test images of `source`; those of folders are listed, but not read.

    Args:
        source: a name in BUILT_IN or a folder.
        cache: the folder in which data is kept that has to be downloaded; None for the default.
    """
    if source == "digits":
        return read_digits()
    if source in DOWNLOADS:
        return read_download(source, cache)
    if not os.path.isdir(source):  # noqa: PTH112  as above; and a name too long for a file is no folder
        names = ", ".join(map(repr, BUILT_IN))
        raise ValueError(f"data must be {names} or a folder, but {source!r} is none of them")
    try:
        return _open_folder(Path(source))
    except OSError as error:
        raise ValueError(f"data must be readable, but {source!r} is not: {error}") from error


def _open_folder(folder: Path) -> Source:
    if (files := find_parquet_files(folder)) is not None:
        return list_parquet_files(*files)
    if (folders := find_split_folders(folder)) is not None:
        return list_image_folder(*folders)
    raise ValueError(
        f"{str(folder)!r} must hold train.parquet and test.parquet, or train/<class>/* and test/<class>/*, "
        "but holds neither"
    )
