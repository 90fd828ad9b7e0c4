"""Parquet files with encoded images and labels, alone or in the parts and folders that data sets are published in."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainable.data.images import Block, LabelArray, LabelledImages, Source, explain_unreadable
from trainable.data.validation_split import report_unused, suggest_use

SPLITS = ("train", "test")
# The names that a column may have, the preferred one first. `img.bytes` is a column of that name, without a struct.
IMAGE_COLUMNS = ("img", "image", "img.bytes", "image.bytes")
LABEL_COLUMNS = ("label", "labels", "fine_label")

# train.parquet, train-00000-of-00002.parquet; in a folder called train also 0000.parquet
_SPLIT_FILE = re.compile(r"(train|test)(-.*)?\.parquet")
_FILE_IN_SPLIT = re.compile(r".*\d.*\.parquet")
_PART = re.compile(r".*-(\d+)-of-(\d+)\b.*")
# Rows that are read at a time: the encoded images of a whole file may take as much memory as the decoded ones.
_BATCH_ROWS = 1024


class _Part(NamedTuple):
    """A file. image: its column of encoded images. labels: integers or text. names: of the classes, if it has them."""

    path: Path
    image: str
    labels: pa.ChunkedArray
    names: tuple[str, ...] | None


def find_parquet_files(folder: Path) -> tuple[list[Path], list[Path]] | None:
    """The files of train and of test, in `folder` itself or else in one of its sub-folders; None if there are none.

    Raises:
        ValueError: if one of the two is missing or incomplete, or several sub-folders have such files.
    """
    subfolders = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    for places in ([folder], subfolders):
        found = {place: files for place in places if any(files := [_list_files(place, split) for split in SPLITS])}
        if len(found) > 1:
            names = ", ".join(place.name for place in found)
            raise ValueError(
                f"{str(folder)!r} must hold one data set, but several of its folders hold Parquet files ({names}); "
                "give one of these as the data"
            )
        for place, (train, test) in found.items():
            if not (train and test):
                raise ValueError(
                    f"{str(place)!r} must hold both train.parquet and test.parquet (or their parts), but "
                    f"{'test' if train else 'train'}.parquet is missing{suggest_use(place) if train else ''}"
                )
            _check_parts(place, train)
            _check_parts(place, test)
            report_unused(place)
            return train, test
    return None


def list_parquet_files(train: Sequence[Path], test: Sequence[Path]) -> Source:
    """The images of both splits, of which only the labels are read.

    Labels that are text number the classes in the sorted order of the training labels.

    Raises:
        ValueError: in one line that names the file and the column, about the first thing that is wrong.
    """
    splits = [[_list_part(path) for path in paths] for paths in (train, test)]
    labels, names = _number_labels(*splits)
    first, second = (
        LabelledImages(numbers, partial(_read_images, parts)) for numbers, parts in zip(labels, splits, strict=True)
    )
    return Source(first, second, names)


def _list_files(place: Path, split: str) -> list[Path]:
    named = [path for path in place.iterdir() if (match := _SPLIT_FILE.fullmatch(path.name)) and match[1] == split]
    inside = place / split
    if not named and inside.is_dir():
        named = [path for path in inside.iterdir() if _FILE_IN_SPLIT.fullmatch(path.name) and path.name[0] != "."]
    return sorted(named)


def _check_parts(place: Path, files: Sequence[Path]) -> None:
    """Refuses part files of which one is missing or that are of different sets."""
    parts = [_PART.fullmatch(path.stem) for path in files]
    if len(files) == 1 and parts[0] is None:
        return
    if any(path.stem in SPLITS for path in files):
        whole = False
    else:
        totals = {int(part[2]) if part else len(files) for part in parts}
        numbers = sorted(int(part[1]) if part else row for row, part in enumerate(parts))
        whole = len(totals) == 1 and numbers == list(range(*totals))
    if not whole:
        names = ", ".join(path.name for path in files)
        raise ValueError(f"{str(place)!r} must hold each part of one set of files exactly once, but holds {names}")


@contextmanager
def _open_file(path: Path) -> Iterator[pq.ParquetFile]:
    """The file; what goes wrong while it is read raises a ValueError that names it."""
    unreadable = f"{path} must be a Parquet file, but cannot be read as one: "
    if not path.is_file():  # opening a FIFO would wait for ever
        raise ValueError(f"{unreadable}it is not a regular file")
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise ValueError(unreadable + explain_unreadable(error)) from error


def _list_part(path: Path) -> _Part:
    with _open_file(path) as file:
        schema = file.schema_arrow
        image, label = _find_image_column(path, schema), _find_label_column(path, schema)
        labels = _as_plain(file.read(columns=[label])[label])
    _check_nulls(path, label, labels, 0)
    return _Part(path, image, labels, _read_class_names(schema, label))


def _read_images(parts: Sequence[_Part]) -> Iterator[Block]:
    """The encoded images of all parts."""
    for path, column, _, _ in parts:
        start = 0
        with _open_file(path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=[column]):
                is_flat = column in batch.schema.names
                images = batch[column] if is_flat else pc.struct_field(batch[column.partition(".")[0]], "bytes")
                encoded = _as_plain(images)
                _check_nulls(path, column, encoded, start)
                yield Block(encoded.to_pylist(), partial(_name_row, path, start))
                start += len(encoded)


def _name_row(path: Path, start: int, row: int) -> str:
    return f"row {start + row} (from 0) of {path}"


def _check_nulls(path: Path, name: str, column: pa.Array | pa.ChunkedArray, start: int) -> None:
    """start: the row of the file that the column begins with."""
    if column.null_count:
        row = start + pc.index(pc.is_null(column), True).as_py()
        raise ValueError(f"{path} must have no null values, but {name} is null in row {row} (from 0)")


def _as_plain(column: Any) -> Any:
    """An array, or chunks of one, without a dictionary."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _find_image_column(path: Path, schema: pa.Schema) -> str:
    """The column of encoded images: its name, or that of the struct with `.bytes`."""
    field = _find_field(path, schema, IMAGE_COLUMNS)
    kind, name = field.type, field.name
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        kind, name = kind.field(index).type if index >= 0 else kind, f"{name}.bytes"
    if _has_type(kind, ("binary", "large_binary", "binary_view", "fixed_size_binary")):
        return str(name)
    raise ValueError(
        f"column {field.name} of {path} must hold encoded images (binary, or a struct with them as bytes), "
        f"but is {field.type}"
    )


def _find_label_column(path: Path, schema: pa.Schema) -> str:
    field = _find_field(path, schema, LABEL_COLUMNS)
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if not (pa.types.is_integer(kind) or _has_type(kind, ("string", "large_string", "string_view"))):
        raise ValueError(
            f"column {field.name} of {path} must be of integers (0 to classes - 1) or text, but is {field.type}"
        )
    return str(field.name)


def _find_field(path: Path, schema: pa.Schema, names: Sequence[str]) -> Any:
    there = [name for name in names if name in schema.names]
    if not there:
        raise ValueError(
            f"{path} must have a column {' or '.join(names)}, but has: {', '.join(schema.names) or 'no columns'}"
        )
    if schema.names.count(there[0]) > 1:
        raise ValueError(f"{path} must have one column {there[0]}, but has {schema.names.count(there[0])}")
    return schema.field(there[0])


def _has_type(kind: pa.DataType, names: Iterable[str]) -> bool:
    # Compared as text: pyarrow has no single test for these, and the names of fixed sizes go on with the size.
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return str(kind).partition("[")[0] in names


def _read_class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """The names of the classes that Hugging Face's library writes into a file's metadata."""
    try:
        names = json.loads(schema.metadata[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    is_valid = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_valid else None


def _number_labels(train: list[_Part], test: list[_Part]) -> tuple[list[LabelArray], tuple[str, ...]]:
    """The labels of both splits as numbers with the same meaning in all files, and the names of the classes."""
    first, named = train[0], next((part for part in (*train, *test) if part.names is not None), None)
    for part in (*train, *test):
        if pa.types.is_integer(part.labels.type) != pa.types.is_integer(first.labels.type):
            raise ValueError(
                f"all files must have labels of one kind, but they are {first.labels.type} in {first.path} and "
                f"{part.labels.type} in {part.path}"
            )
        if named is not None and part.names not in (named.names, None):
            raise ValueError(
                f"all files must name the same classes, but {named.path} and {part.path} name different ones"
            )
    if pa.types.is_integer(first.labels.type):
        numbers = [_join([_as_numbers(part) for part in split]) for split in (train, test)]
        return numbers, (named.names if named is not None else None) or ()
    classes = sorted(set().union(*(part.labels.to_pylist() for part in train)))
    number = {name: row for row, name in enumerate(classes)}
    return [_join([_look_up(part, number) for part in split]) for split in (train, test)], tuple(classes)


def _as_numbers(part: _Part) -> LabelArray:
    try:
        labels: LabelArray = part.labels.cast(pa.int64()).to_numpy()
    except pa.ArrowException as error:
        raise ValueError(f"labels of {part.path} must be integers from 0 to classes - 1: {error}") from error
    if part.names is not None and len(labels) and labels.max() >= len(part.names):
        raise ValueError(
            f"{part.path} names {len(part.names)} classes, so labels must be at most {len(part.names) - 1}, but row "
            f"{labels.argmax()} (from 0) has label={labels.max()}"
        )
    return labels


def _look_up(part: _Part, number: dict[str, int]) -> LabelArray:
    labels = part.labels.to_pylist()
    for row, label in enumerate(labels):
        if label not in number:
            raise ValueError(
                f"test labels must be among the {len(number)} of train, but {part.path} has label={label!r} in row "
                f"{row} (from 0); remove that class or add training images of it"
            )
    return np.array([number[label] for label in labels], np.int64)


def _join(arrays: list[Any]) -> Any:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
