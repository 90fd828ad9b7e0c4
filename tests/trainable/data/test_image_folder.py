"""What torchvision's ImageFolder reads is read; what it skips is skipped."""

import os
from pathlib import Path

import numpy as np
import pytest
from image_data import encode, load, pixels, refused
from PIL import Image

from trainable.data.image_folder import IMAGE_ENDINGS


def test_image_folder(tmp_path: Path) -> None:
    images = iter(pixels(18))
    for split, count in (("train", 4), ("test", 2)):
        for name in ("b", "a", "C"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                (tmp_path / split / name / f"{number}.png").write_bytes(encode(next(images)))
    (tmp_path / "train" / "a" / ".DS_Store").write_bytes(b"no image")
    (tmp_path / "train" / "README").write_text("no class")
    data = load(tmp_path, validation_fraction=0.25)
    assert (data.classes, len(data.train.labels), len(data.validation.labels)) == (3, 9, 3)
    assert data.class_names == ("C", "a", "b")
    assert data.test.labels.tolist() == [0, 0, 1, 1, 2, 2]  # C, a, b
    assert np.array_equal(data.test.images, pixels(18)[[16, 17, 14, 15, 12, 13]])

    broken = tmp_path / "test" / "b" / "1.png"
    broken.write_bytes(broken.read_bytes()[:100])
    assert refused(tmp_path).startswith(f"{broken} must be an image, but cannot be read: ")
    broken.unlink()
    (broken.parent / "0.png").unlink()
    assert refused(tmp_path).startswith(f"every class folder must hold images, but {broken.parent} holds none (")
    broken.parent.rename(tmp_path / "test" / "d")
    assert "must hold the same class folders, but only train holds b and only test holds d" in refused(tmp_path)


def write_classes(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 4) -> None:
    images = iter(pixels(2 * len(classes) * count))
    for split in ("train", "test"):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                (folder / split / name / f"{number}.png").write_bytes(encode(next(images)))


def fill_with_oddities(folder: Path) -> None:
    """What people's folders hold: files that are no images, folders, links, other endings."""
    cat, dog = folder / "test" / "cat", folder / "test" / "dog"
    for junk in ("Thumbs.db", "desktop.ini", "notes.txt", "animation.gif", "no_ending", "raw.png.bak"):
        (cat / junk).write_bytes(b"\xd0\xcf\x11\xe0")
    (cat / "2024" / "may").mkdir(parents=True)
    (cat / "folder.png").mkdir()
    more = iter(pixels(9, seed=5))
    for name in ("2024/a.png", "2024/may/b.PNG", "Z.JPG", "z.jpeg", "x.bmp", "y.Tiff", "w.webp", "v.ppm"):
        kind = {"jpg": "JPEG", "tif": "TIFF"}.get(name.rpartition(".")[2].lower()[:3], name.rpartition(".")[2].upper())
        (cat / name).write_bytes(encode(next(more), kind))
    (dog / "link.png").symlink_to(cat / "0.png")
    (dog / "linked").symlink_to(cat / "2024")
    (dog / "ümlaut und leer.png").write_bytes(encode(next(more)))
    (folder / "test" / "README").write_text("no class")


def test_whatever_else_is_there_is_read_or_skipped_as_torchvision_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "alphaprune")
    write_classes(tmp_path)
    fill_with_oddities(tmp_path)
    data = load(tmp_path, validation_fraction=0.25)
    # In torchvision's order: cat, cat/2024, cat/2024/may, each with capitals first.
    names = ["0", "1", "2", "3", "Z", "v", "w", "x", "y", "z", "2024/a", "2024/may/b"]
    assert data.test.labels.tolist() == [0] * len(names) + [1] * (4 + 1 + 1 + 2)
    assert np.array_equal(data.test.images[10:12], pixels(9, seed=5)[:2])
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        f"skipped files in {tmp_path} that are not named like images: 1 without ending, 1 .bak, 1 .db, 1 .gif, 1 .ini, "
        "1 .txt"
    )


@pytest.mark.slow
def test_the_files_are_those_of_torchvision(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder
    from torchvision.datasets.folder import IMG_EXTENSIONS

    assert IMAGE_ENDINGS == IMG_EXTENSIONS
    write_classes(tmp_path)
    fill_with_oddities(tmp_path)
    data, theirs = load(tmp_path, validation_fraction=0.25), ImageFolder(tmp_path / "test")
    assert data.test.labels.tolist() == theirs.targets
    assert np.array_equal(data.test.images, np.stack([np.asarray(image) for image, _ in theirs]))


def test_hidden_files_and_folders_are_skipped(tmp_path: Path) -> None:
    write_classes(tmp_path)
    before = load(tmp_path, validation_fraction=0.25).fingerprint
    for split in ("train", "test"):
        (tmp_path / split / ".ipynb_checkpoints").mkdir()
        (tmp_path / split / "cat" / "._0.png").write_bytes(b"Mac OS X")
        (tmp_path / split / "cat" / ".thumbnails").mkdir()
        (tmp_path / split / "cat" / ".thumbnails" / "0.png").write_bytes(encode(pixels(1)[0]))
    assert load(tmp_path, validation_fraction=0.25).fingerprint == before


def test_a_link_to_a_folder_around_it_ends(tmp_path: Path) -> None:
    write_classes(tmp_path)
    before = load(tmp_path, validation_fraction=0.25).fingerprint
    (tmp_path / "train" / "cat" / "self").symlink_to(".")
    (tmp_path / "test" / "dog" / "up").symlink_to(tmp_path)
    assert load(tmp_path, validation_fraction=0.25).fingerprint == before


def test_an_image_in_an_inner_folder_that_is_damaged_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path)
    path = tmp_path / "train" / "dog" / "more" / "a.JPG"
    path.parent.mkdir()
    path.write_bytes(b"")
    assert refused(tmp_path).startswith(f"{path} must be an image, but cannot be read: ")


@pytest.mark.parametrize("kind", ["fifo", "device", "broken link"])
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    """It would hang, or be read for ever."""
    write_classes(tmp_path)
    path = tmp_path / "test" / "dog" / "a.png"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "/nowhere")
    assert refused(tmp_path) == f"{path} must be an image, but is not a regular file; remove it"


def test_a_class_without_images_is_refused(tmp_path: Path) -> None:
    write_classes(tmp_path)
    for split in ("train", "test"):
        (tmp_path / split / "emu").mkdir()
        (tmp_path / split / "emu" / "Thumbs.db").write_bytes(b"")
    text = refused(tmp_path)
    assert text.startswith(f"every class folder must hold images, but {tmp_path / 'train' / 'emu'} holds none (")
    assert ".jpg, " in text


def test_classes_that_only_one_split_has_are_named(tmp_path: Path) -> None:
    write_classes(tmp_path)
    for number in range(12):
        (tmp_path / "train" / f"more{number:02}").mkdir()
    few = ", ".join(f"more{number:02}" for number in range(10))
    rule = f"train and test of {str(tmp_path)!r} must hold the same class folders, but "
    assert refused(tmp_path) == f"{rule}only train holds {few} and 2 more"
    for number in range(12):
        (tmp_path / "train" / f"more{number:02}").rmdir()
    (tmp_path / "test" / "emu").mkdir()
    assert refused(tmp_path) == f"{rule}only test holds emu"


def test_folders_may_be_links(tmp_path: Path) -> None:
    write_classes(tmp_path / "real")
    before = load(tmp_path / "real", validation_fraction=0.25)
    (tmp_path / "linked" / "train").mkdir(parents=True)
    (tmp_path / "linked" / "test").symlink_to(tmp_path / "real" / "test")
    for name in ("cat", "dog"):
        (tmp_path / "linked" / "train" / name).symlink_to(tmp_path / "real" / "train" / name)
    (tmp_path / "link").symlink_to(tmp_path / "linked")
    found = load(tmp_path / "link", validation_fraction=0.25)
    assert (found.fingerprint, found.class_names) == (before.fingerprint, ("cat", "dog"))


def test_larger_images(tmp_path: Path) -> None:
    write_classes(tmp_path)
    photo = Image.fromarray(pixels(1, size=300)[0]).resize((300, 200))
    photo.save(tmp_path / "test" / "cat" / "photo.JPG", "PNG")
    data = load(tmp_path, validation_fraction=0.25, image_size=64)
    assert data.image_size == 64
    assert data.test.images.shape == (9, 64, 64, 3)
    assert data.test.images.flags.c_contiguous
    assert np.array_equal(data.test.images[4], np.asarray(photo.resize((64, 64), Image.Resampling.BILINEAR)))


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_validation_split_is_not_used_and_that_is_said_once(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "alphaprune")
    write_classes(tmp_path)
    before = load(tmp_path, validation_fraction=0.25).fingerprint
    assert not caplog.messages
    (tmp_path / "test").rename(tmp_path / name)
    assert refused(tmp_path) == (
        f"{str(tmp_path)!r} must hold both train and test, but test is missing; rename {name} if it is to be the test "
        "split: validation images are held out from train (data.validation_fraction)"
    )
    (tmp_path / name).rename(tmp_path / "test")
    (tmp_path / name / "cat").mkdir(parents=True)
    assert load(tmp_path, validation_fraction=0.25).fingerprint == before
    assert caplog.messages == [
        f"{tmp_path} does not use {name}: validation images are held out from train (data.validation_fraction)"
    ]
