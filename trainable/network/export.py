"""Exports a pruned network for use elsewhere, in PyTorch without this project or as ONNX, and checks the result."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from records.network import FILE_NAME, WEIGHTS_NAME
from trainable.network.weights import PrunedNetwork, load_pruned

TOLERANCE = 1e-4
# The batch sizes it is checked with; the exported network takes any.
CHECKED_BATCHES = (1, 5)


def export_network(model: Path, to: Path, form: Literal["torch", "onnx"]) -> float:
    """Writes the network in the folder `model` for use elsewhere.

    Args:
        model: has arch.json and model.safetensors.
        to: torch: a new folder, which gets both files and model.pt2 (torch.export); onnx: a new file.
            What is exported takes images [N, 3, H, W] in [0, 1], any N, and gives logits [N, classes].
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
    network = load_pruned(model)
    try:
        difference = _export_torch(network, model, to) if form == "torch" else _export_onnx(network, to)
        if not difference <= TOLERANCE:
            raise ArithmeticError(f"the export differs from the network by {difference:.2g} of the largest logit")
    except BaseException:
        _remove_export(to)
        raise
    return difference


def _export_torch(network: PrunedNetwork, model: Path, to: Path) -> float:
    to.mkdir()
    for name in (FILE_NAME, WEIGHTS_NAME):
        shutil.copyfile(model / name, to / name)
    batch = torch.export.Dim("batch", min=1)
    exported = torch.export.export(network, (_draw_images(network, 2),), dynamic_shapes=({0: batch},))
    torch.export.save(exported, to / "model.pt2")
    loaded = torch.export.load(to / "model.pt2").module()
    return _relative_difference(network, lambda images: loaded(images))


def _export_onnx(network: PrunedNetwork, to: Path) -> float:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch.onnx needs it
    except ModuleNotFoundError as error:
        raise ValueError(f"--format onnx needs the extra [onnx] (pip install 'alphaprune[onnx]'): {error}") from error
    torch.onnx.export(
        network,
        (_draw_images(network, 2),),
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
        network, lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
    )


def _draw_images(network: PrunedNetwork, count: int) -> Tensor:
    size = network.image_size
    return torch.from_numpy(np.random.default_rng(count).random((count, 3, size, size), np.float32))


def _relative_difference(network: PrunedNetwork, exported: Callable[[Tensor], Tensor]) -> float:
    """The largest difference of the logits in batches of CHECKED_BATCHES sizes, relative to the largest logit.

    NaN if there is a NaN in any of them, as torch's maximum has it and Python's does not.
    """
    differences = []
    with torch.inference_mode():
        for count in CHECKED_BATCHES:
            images = _draw_images(network, count)
            wanted = network(images)
            differences.append((exported(images) - wanted).abs().max() / wanted.abs().max())
    return torch.stack(differences).max().item()


def _remove_export(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
