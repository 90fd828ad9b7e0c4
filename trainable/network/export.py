"""Exports a pruned network for use elsewhere, in PyTorch without this project or as ONNX, and checks the result."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from records.files import read_json
from trainable.network.vgg16 import IMAGE_SIZE, VGG16
from trainable.network.weights import load_pruned

TOLERANCE = 1e-4
# The batch sizes it is checked with; the exported network takes any.
CHECKED_BATCHES = (1, 5)


class Classifier(nn.Module):
    """Logits [N, classes] of images [N, 3, 32, 32] in [0, 1], which are normalised as they were in training."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: VGG16, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


def export_network(model: Path, to: Path, form: Literal["torch", "onnx"]) -> float:
    """Writes the network in the folder `model` for use elsewhere.

    Args:
        model: has arch.json and model.safetensors.
        to: torch: a new folder, which gets both files and model.pt2 (torch.export); onnx: a new file.
            What is exported takes images [N, 3, 32, 32] in [0, 1], any N, and gives logits [N, classes].
        form: the format of the export.

    Returns:
        The largest difference of its logits from those of the network, relative to the largest logit.

    Raises:
        ValueError: if there is no complete network, `to` already exists, or a package that it needs is missing.
        ArithmeticError: if the difference is more than TOLERANCE; what was written is removed again.
    """
    if to.exists():
        raise ValueError(f"--to must be a path that does not exist yet, but got {str(to)!r}")
    if not to.absolute().parent.is_dir():
        raise ValueError(f"--to must be in a folder that exists, but got {str(to)!r}")
    network, arch = load_pruned(model), read_json(model / "arch.json")
    classifier = Classifier(network, arch["mean"], arch["std"]).eval()
    try:
        difference = _export_torch(classifier, model, to) if form == "torch" else _export_onnx(classifier, to)
        if not difference <= TOLERANCE:
            raise ArithmeticError(f"the export differs from the network by {difference:.2g} of the largest logit")
    except BaseException:
        _remove_export(to)
        raise
    return difference


def _export_torch(classifier: Classifier, model: Path, to: Path) -> float:
    to.mkdir()
    for name in ("arch.json", "model.safetensors"):
        shutil.copyfile(model / name, to / name)
    batch = torch.export.Dim("batch", min=1)
    exported = torch.export.export(classifier, (_draw_images(2),), dynamic_shapes=({0: batch},))
    torch.export.save(exported, to / "model.pt2")
    loaded = torch.export.load(to / "model.pt2").module()
    return _relative_difference(classifier, lambda images: loaded(images))


def _export_onnx(classifier: Classifier, to: Path) -> float:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch.onnx needs it
    except ModuleNotFoundError as error:
        raise ValueError(f"--format onnx needs the extra [onnx] (pip install 'alphaprune[onnx]'): {error}") from error
    torch.onnx.export(
        classifier,
        (_draw_images(2),),
        to,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(to, providers=["CPUExecutionProvider"])
    return _relative_difference(
        classifier, lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
    )


def _draw_images(count: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(count).random((count, 3, IMAGE_SIZE, IMAGE_SIZE), np.float32))


def _relative_difference(classifier: Classifier, exported: Callable[[Tensor], Tensor]) -> float:
    """The largest difference of the logits in batches of CHECKED_BATCHES sizes, relative to the largest logit."""
    worst = 0.0
    with torch.inference_mode():
        for count in CHECKED_BATCHES:
            images = _draw_images(count)
            wanted = classifier(images)
            worst = max(worst, ((exported(images) - wanted).abs().max() / wanted.abs().max()).item())
    return worst


def _remove_export(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
