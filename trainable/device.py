"""The device that networks are trained and measured on."""

import torch


def default_device() -> torch.device:
    """CUDA if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare_device(device: torch.device, threads: int) -> None:
    """Sets up the process to be fast on CUDA and repeatable on the CPU, whose numbers depend on its threads."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = device.type == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True


def device_name(device: torch.device) -> str:
    """The device as records name it: `cpu`, or the GPU's product name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
