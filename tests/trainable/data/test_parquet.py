"""Parquet files as people and hubs write them: read, or refused in one line that names file and column."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_data import IMG, encode, load, pixels, refused, write_parquet

from trainable.data import parquet


@pytest.mark.parametrize("damage", ["nonsense", "empty", "cut", "page", "folder"])
def test_damaged_parquet(folder: Path, damage: str) -> None:
    path = folder / "train.parquet"
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        page = content[:4] + bytes(100) + content[104:]
        path.write_bytes({"nonsense": b"a,b\n1,2\n", "empty": b"", "cut": content[:-50], "page": page}[damage])
    assert refused(folder).startswith(f"{path} must be a Parquet file, but cannot be read as one: ")


def test_wrong_columns(folder: Path) -> None:
    path = folder / "test.parquet"
    pq.write_table(pa.table({"picture": [b""], "label": [0]}), path)
    columns = "img or image or img.bytes or image.bytes"
    assert refused(folder) == f"{path} must have a column {columns}, but has: picture, label"
    pq.write_table(pa.table({"image": [b""]}), path)
    assert refused(folder) == f"{path} must have a column label or labels or fine_label, but has: image"

    image = encode(pixels(1)[0])
    write_parquet(path, [image], [0.5], label=pa.float64())
    rule = f"column label of {path} must be of integers (0 to classes - 1) or text, but is "
    assert refused(folder) == f"{rule}double"
    write_parquet(path, [image], [[1, 2]], label=pa.list_(pa.int64()))
    assert refused(folder).startswith(f"{rule}list<")
    for values, kind in (
        ([list(image)], pa.list_(pa.field("element", pa.uint8()))),
        ([{"path": "1.png"}], pa.struct([("path", pa.string())])),
        ([{"bytes": "a"}], pa.struct([("bytes", pa.string())])),
        ([{"data": image}], pa.struct([("data", pa.binary())])),
        ([1], pa.int64()),
    ):
        write_parquet(path, values, [0], img=kind)
        rule = f"column img of {path} must hold encoded images (binary, or a struct with them as bytes), but is {kind}"
        assert refused(folder) == rule


def test_other_integer_and_binary_types(folder: Path) -> None:
    before = load(folder).fingerprint
    encoded = [{"bytes": encode(image)} for image in pixels(10, seed=1)]
    img = pa.struct([("bytes", pa.large_binary())])
    write_parquet(folder / "test.parquet", encoded, [n % 4 for n in range(10)], img=img, label=pa.uint8())
    assert load(folder).fingerprint == before


def test_null_values(folder: Path) -> None:
    path, image = folder / "test.parquet", encode(pixels(1)[0])
    rule = f"{path} must have no null values, but "
    write_parquet(path, [image, image, None], [0, 1, 2])
    assert refused(folder) == rule + "img.bytes is null in row 2 (from 0)"
    write_parquet(path, [image, {"bytes": None, "path": "1.png"}], [0, 1])
    assert refused(folder) == rule + "img.bytes is null in row 1 (from 0)"
    write_parquet(path, [image, image], [None, 1])
    assert refused(folder) == rule + "label is null in row 0 (from 0)"


IMAGES = [encode(image) for image in pixels(10, seed=1)]
LABELS = [number % 4 for number in range(10)]


def write_table(path: Path, images: Any, labels: Any, image: str = "img", label: str = "label") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({image: images, label: labels}), path)


@pytest.mark.parametrize(
    "name",
    [
        "{}-00000-of-00001.parquet",
        "plain_text/{}-00000-of-00001.parquet",
        "data/{}-00000-of-00001-0a1b2c3d.parquet",
        "default/{}/0000.parquet",
        "{}/0000.parquet",
    ],
)
def test_the_hubs_layouts_are_those_of_two_files(folder: Path, name: str) -> None:
    before = load(folder).fingerprint
    for split in ("train", "test"):
        path = folder / name.format(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{split}.parquet").rename(path)
    # What lies beside them in a copy of a hub's repository.
    (folder / "README.md").write_text("---")
    (folder / ".gitattributes").write_text("")
    for other in ("validation", "._train", ".test"):
        (folder / f"{other}.parquet").write_bytes(b"no Parquet")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "train.parquet").write_bytes(b"no Parquet")
    assert load(folder).fingerprint == before


def test_parts_are_joined_in_their_order(folder: Path) -> None:
    before = load(folder).fingerprint
    table = pq.read_table(folder / "train.parquet")
    (folder / "train.parquet").unlink()
    for part, (start, end) in enumerate([(0, 15), (15, 15), (15, 40)]):
        pq.write_table(table.slice(start, end - start), folder / f"train-{part:05}-of-00003.parquet")
    assert load(folder).fingerprint == before

    rule = f"{str(folder)!r} must hold each part of one set of files exactly once, but holds "
    last = folder / "train-00002-of-00003.parquet"
    pq.write_table(table, folder / "train-00000-of-00001.parquet")
    assert refused(folder).startswith(rule)  # of another set
    (folder / "train-00000-of-00001.parquet").rename(folder / "train.parquet")
    assert refused(folder).startswith(rule)
    (folder / "train.parquet").unlink()
    last.rename(folder / "train-00001-of-00003-again.parquet")
    assert refused(folder).startswith(rule)
    (folder / "train-00001-of-00003-again.parquet").rename(last)
    (folder / "train-00000-of-00003.parquet").unlink()
    assert refused(folder) == f"{rule}train-00001-of-00003.parquet, train-00002-of-00003.parquet"


def test_a_damaged_row_of_a_part_is_named(folder: Path) -> None:
    (folder / "train.parquet").unlink()
    paths = [folder / f"train-{part:05}-of-00002.parquet" for part in range(2)]
    write_parquet(paths[0], IMAGES, LABELS)
    write_parquet(paths[1], [*IMAGES[:3], IMAGES[3][:60], *IMAGES[4:]], LABELS)
    assert refused(folder).startswith(f"row 3 (from 0) of {paths[1]} must be an image, but cannot be read: ")
    write_parquet(paths[1], IMAGES, [*LABELS[:9], None])
    assert refused(folder) == f"{paths[1]} must have no null values, but label is null in row 9 (from 0)"


def test_one_of_several_data_sets_has_to_be_named(folder: Path) -> None:
    before = load(folder).fingerprint
    for name in ("cifar10", "cifar100"):
        (folder / name).mkdir()
        for split in ("train", "test"):
            (folder / name / f"{split}.parquet").write_bytes((folder / f"{split}.parquet").read_bytes())
    assert load(folder).fingerprint == before  # the files in the folder itself come first
    for split in ("train", "test"):
        (folder / f"{split}.parquet").unlink()
    assert "several of its folders hold Parquet files (cifar10, cifar100)" in refused(folder)
    assert load(folder / "cifar10").fingerprint == before


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("image", pa.array([{"bytes": image, "path": "1.png"} for image in IMAGES], IMG)),
        ("img", pa.array(IMAGES)),
        ("image", pa.array(IMAGES, pa.large_binary())),
        ("img.bytes", pa.array(IMAGES)),
        ("img", pa.array(IMAGES).dictionary_encode()),
        ("img", pa.array([encode(image, "BMP") for image in pixels(10, seed=1)], pa.binary(32 * 32 * 3 + 54))),
    ],
)
def test_images_in_columns_of_any_usual_form(folder: Path, name: str, images: Any) -> None:
    before = load(folder).fingerprint
    write_table(folder / "test.parquet", images, LABELS, image=name)
    assert load(folder).fingerprint == before


def make_labels(labels: list[Any], kind: Any) -> Any:
    """As a column of `kind`; Arrow makes dictionaries only of arrays."""
    is_dictionary = pa.types.is_dictionary(kind)
    column = pa.array(labels, kind.value_type if is_dictionary else kind)
    return column.dictionary_encode() if is_dictionary else column


@pytest.mark.parametrize("name", ["label", "labels", "fine_label"])
@pytest.mark.parametrize("kind", [pa.int64(), pa.uint8(), pa.dictionary(pa.int8(), pa.int32())])
def test_labels_in_columns_of_any_usual_form(folder: Path, name: str, kind: Any) -> None:
    before = load(folder).fingerprint
    columns = {"img": IMAGES, "coarse_label": [9] * 10, name: make_labels(LABELS, kind)}
    pq.write_table(pa.table(columns), folder / "test.parquet")
    assert load(folder).fingerprint == before


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_labels_that_are_text_number_the_classes_by_name(folder: Path, kind: Any) -> None:
    before = load(folder).fingerprint
    names = ["ant", "bee", "cat", "dog"]

    def write(split: str, count: int, seed: int, texts: list[str]) -> None:
        images = [encode(image) for image in pixels(count, seed)]
        write_table(folder / f"{split}.parquet", images, make_labels(texts, kind))

    write("train", 40, 0, [names[number % 4] for number in range(40)])
    write("test", 10, 1, [names[number % 4] for number in range(10)])
    assert load(folder).fingerprint == before
    assert load(folder).class_names == tuple(names)
    write("test", 2, 1, ["dog", "cat"])
    assert load(folder).test.labels.tolist() == [3, 2]  # as in train, although it has no others
    write("test", 3, 1, ["dog", "cat", "emu"])
    assert "but " + str(folder / "test.parquet") + " has label='emu' in row 2 (from 0)" in refused(folder)
    write_table(folder / "test.parquet", IMAGES, LABELS)
    assert refused(folder).startswith("all files must have labels of one kind, but they are ")


def test_a_column_that_is_there_twice_is_refused(folder: Path) -> None:
    path = folder / "test.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(IMAGES), *[pa.array(LABELS)] * 2], ["img", "label", "label"]), path)
    assert refused(folder) == f"{path} must have one column label, but has 2"
    pq.write_table(pa.Table.from_arrays([*[pa.array(IMAGES)] * 2, pa.array(LABELS)], ["img", "img", "label"]), path)
    assert refused(folder) == f"{path} must have one column img, but has 2"


def with_names(table: Any, names: list[str], label: str = "label") -> Any:
    features = {"info": {"features": {label: {"names": names, "_type": "ClassLabel"}}}}
    return table.replace_schema_metadata({"huggingface": json.dumps(features)})


def test_the_class_names_of_all_files_must_agree(folder: Path) -> None:
    before = load(folder).fingerprint
    assert load(folder).class_names == ()
    tables = {split: pq.read_table(folder / f"{split}.parquet") for split in ("train", "test")}
    names = ["ant", "bee", "cat", "dog"]
    pq.write_table(with_names(tables["train"], names), folder / "train.parquet")
    assert load(folder).fingerprint == before  # test has no names
    assert load(folder).class_names == ("ant", "bee", "cat", "dog")
    pq.write_table(with_names(tables["train"], [*names, "emu"]), folder / "train.parquet")
    assert (load(folder).classes, load(folder).class_names) == (4, ("ant", "bee", "cat", "dog"))  # there is no emu
    pq.write_table(with_names(tables["train"], names), folder / "train.parquet")
    pq.write_table(with_names(tables["test"], names), folder / "test.parquet")
    assert load(folder).fingerprint == before
    pq.write_table(with_names(tables["test"], names[::-1]), folder / "test.parquet")
    files = f"{folder / 'train.parquet'} and {folder / 'test.parquet'}"
    assert refused(folder) == f"all files must name the same classes, but {files} name different ones"
    for split, table in tables.items():
        pq.write_table(with_names(table, names[:3]), folder / f"{split}.parquet")
    assert "names 3 classes, so labels must be at most 2, but row 3 (from 0) has label=3" in refused(folder)


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"info": null}',
        '{"info": {"features": {"label": {"names": 4}}}}',
        '{"info": {"features": {"label": {"names": "abcd"}}}}',
        '{"info": {"features": {"label": {"names": [1, 2, 3, 4]}}}}',
    ],
)
def test_metadata_without_class_names_is_ignored(folder: Path, metadata: str) -> None:
    before = load(folder).fingerprint
    table = pq.read_table(folder / "test.parquet")
    pq.write_table(table.replace_schema_metadata({"huggingface": metadata}), folder / "test.parquet")
    assert load(folder).fingerprint == before


def test_a_label_that_is_no_index_is_refused(folder: Path) -> None:
    write_parquet(folder / "test.parquet", IMAGES[:1], [2**63], label=pa.uint64())
    assert refused(folder).startswith(f"labels of {folder / 'test.parquet'} must be integers from 0 to classes - 1: ")


@pytest.mark.parametrize("name", ["train.parquet", "train-00000-of-00001.parquet"])
@pytest.mark.parametrize("kind", ["fifo", "device", "broken link"])
def test_what_is_no_regular_file_is_not_opened(folder: Path, name: str, kind: str) -> None:
    """It would hang, or be read for ever."""
    (folder / "train.parquet").unlink()
    path = folder / name
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "/nowhere")
    assert refused(folder) == f"{path} must be a Parquet file, but cannot be read as one: it is not a regular file"


def test_files_may_be_links(folder: Path) -> None:
    before = load(folder).fingerprint
    blobs = folder.parent / "blobs"  # as in the hub's cache
    blobs.mkdir()
    for split in ("train", "test"):
        (folder / f"{split}.parquet").rename(blobs / split)
        (folder / f"{split}.parquet").symlink_to(blobs / split)
    assert load(folder).fingerprint == before


def test_a_copy_of_a_hubs_cifar100(tmp_path: Path, folder: Path) -> None:
    """Its folder, its columns, its names of classes, and more parts than one."""
    before = load(folder).fingerprint
    for split, count in (("train", 3), ("test", 1)):
        rows = pq.read_table(folder / f"{split}.parquet")
        coarse = pa.array([0] * len(rows))
        table = pa.table({"img": rows["img"], "fine_label": rows["label"], "coarse_label": coarse})
        table = with_names(table, ["apple", "aquarium_fish", "baby", "bear"], "fine_label")
        for part in range(count):
            path = tmp_path / "cifar100" / f"{split}-{part:05}-of-{count:05}.parquet"
            path.parent.mkdir(exist_ok=True)
            start, end = len(rows) * part // count, len(rows) * (part + 1) // count
            pq.write_table(table.slice(start, end - start), path)
    data = load(tmp_path / "cifar100")
    assert (data.fingerprint, data.class_names) == (before, ("apple", "aquarium_fish", "baby", "bear"))


def test_rows_are_counted_through_the_whole_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are read at a time."""
    before, path = load(folder).fingerprint, folder / "test.parquet"
    monkeypatch.setattr(parquet, "_BATCH_ROWS", 4)
    assert load(folder).fingerprint == before
    write_parquet(path, [*IMAGES[:9], None], LABELS)
    assert refused(folder) == f"{path} must have no null values, but img.bytes is null in row 9 (from 0)"
    write_parquet(path, [*IMAGES[:9], b"GIF"], LABELS)
    assert refused(folder).startswith(f"row 9 (from 0) of {path} must be an image, but cannot be read: ")


@pytest.mark.parametrize("name", ["val.parquet", "validation-00000-of-00001.parquet", "validation"])
def test_a_validation_split_is_not_used_and_that_is_said_once(
    folder: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "alphaprune")
    before = load(folder).fingerprint
    (folder / name).mkdir()
    assert load(folder).fingerprint == before
    rule = "validation images are held out from train (data.validation_fraction)"
    assert caplog.messages == [f"{folder} does not use {name}: {rule}"]
    (folder / "test.parquet").unlink()
    assert refused(folder).endswith(f"test.parquet is missing; rename {name} if it is to be the test split: {rule}")


def test_all_parts_of_a_validation_split_are_to_be_renamed(folder: Path) -> None:
    for part in range(3):
        (folder / f"val-{part:05}-of-00003.parquet").mkdir()
    (folder / "test.parquet").unlink()
    names = "val-00000-of-00003.parquet, val-00001-of-00003.parquet …"
    assert f"; rename {names} if they are to be the test split: " in refused(folder)
