"""Digits and CIFAR-10, which is downloaded once; no test needs a network."""

import hashlib
import io
import pickle
import socket
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from image_data import keys, load, pixels, refused

from trainable.config import DataConfig
from trainable.data import builtin
from trainable.data.dataset import load_data

CIFAR = Path(__file__).parents[4] / "shared" / "data" / "cifar10"


def test_digits() -> None:
    data = load("digits")
    assert (data.name, data.classes, data.flip) == ("digits", 10, False)
    assert [len(split.labels) for split in (data.train, data.validation, data.test)] == [1293, 144, 360]
    assert np.bincount(data.test.labels).min() >= 34  # stratified: 34.8 of the rarest
    assert data.train.images.max() == 255
    assert data.train.images.min() == 0
    assert np.array_equal(data.train.images[..., 0], data.train.images[..., 2])
    assert not keys(data.test) & (keys(data.train) | keys(data.validation))
    assert data.mean == pytest.approx((0.305,) * 3, abs=0.005)
    assert load("digits").fingerprint == data.fingerprint
    assert load("digits", flip=True).flip


@pytest.fixture
def cifar10(monkeypatch: pytest.MonkeyPatch) -> Any:
    """torchvision's class, whose download goes to a closed port. Importing it takes seconds: its tests are slow."""
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    monkeypatch.setattr(builtin, "DOWNLOAD_TIMEOUT_SECONDS", 0.2)
    return CIFAR10


def refused_cifar10(cache: Path) -> str:
    with pytest.raises(ValueError, match="CIFAR-10 could not be downloaded") as caught:
        load_data(DataConfig(source="cifar10"), cache=cache)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.slow
def test_cifar10_without_a_network(tmp_path: Path, cifar10: Any, capfd: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "cache"
    message = refused_cifar10(cache)
    assert message.startswith(f"CIFAR-10 could not be downloaded into {str(cache)!r}: <urlopen error ")
    assert message.endswith(
        "; put the official cifar-10-python.tar.gz there, or pass `--data FOLDER` with train.parquet and test.parquet"
    )
    cache.mkdir(exist_ok=True)
    (cache / "cifar-10-python.tar.gz").write_bytes(b"half")
    assert "there (the one there is incomplete or not the official one), or" in refused_cifar10(cache)
    assert not capfd.readouterr().out
    assert socket.getdefaulttimeout() is None


@pytest.mark.slow
def test_cifar10_from_a_silent_server(tmp_path: Path, cifar10: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(cifar10, "url", f"http://127.0.0.1:{server.getsockname()[1]}/")
        assert "timed out" in refused_cifar10(tmp_path)


@pytest.mark.slow
def test_cifar10_is_cached_in_the_home_folder(tmp_path: Path, cifar10: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert str(tmp_path / ".cache" / "alphaprune") in refused("cifar10")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert str(tmp_path / "xdg" / "alphaprune") in refused("cifar10")


@pytest.mark.slow
def test_cifar10(
    tmp_path: Path, cifar10: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    images = pixels(60)

    def batch(first: int) -> bytes:
        data = images[first : first + 10].transpose(0, 3, 1, 2).reshape(10, -1)
        return pickle.dumps({"data": data, "labels": [*range(10)]})

    names = [name for name, _ in (*cifar10.train_list, *cifar10.test_list)]
    files = {name: batch(10 * number) for number, name in enumerate(names)}
    files["batches.meta"] = pickle.dumps({"label_names": [*"abcdefghij"]})
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    # The official checksums, replaced by those of the files above.
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(cifar10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    monkeypatch.setattr(cifar10, "train_list", [[name, md5[name]] for name in names[:5]])
    monkeypatch.setattr(cifar10, "test_list", [[name, md5[name]] for name in names[5:]])
    monkeypatch.setattr(cifar10, "meta", {**cifar10.meta, "md5": md5["batches.meta"]})

    data = load_data(DataConfig(source="cifar10"), cache=tmp_path)  # put there by hand
    assert (data.name, data.classes, data.flip) == ("cifar10", 10, True)
    assert np.array_equal(data.test.images, images[50:])
    assert data.train.images.flags.c_contiguous
    assert len(keys(data.train) | keys(data.validation)) == 50

    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / archive.name).write_bytes(archive.read_bytes()[:1000])  # left by an interrupted download
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(cifar10, "url", f"http://127.0.0.1:{server.server_port}/{archive.name}")
        assert load_data(DataConfig(source="cifar10"), cache=cache).fingerprint == data.fingerprint
        server.shutdown()
    (cache / "cifar-10-batches-py" / "test_batch").write_bytes(b"half extracted")
    assert load_data(DataConfig(source="cifar10"), cache=cache).fingerprint == data.fingerprint
    assert not capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not CIFAR.is_dir(), reason="../shared/data/cifar10 is not there")
def test_real_cifar10() -> None:
    data = load(CIFAR)
    assert data.classes == 10
    assert [len(split.labels) for split in (data.train, data.validation, data.test)] == [45000, 5000, 10000]
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    assert data.mean == pytest.approx((0.491, 0.482, 0.447), abs=0.003)  # the published values
    assert data.std == pytest.approx((0.247, 0.243, 0.262), abs=0.003)
