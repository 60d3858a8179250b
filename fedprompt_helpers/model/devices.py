"""Where is computed, and in which data type the frozen weights are: chosen once, at the edge."""

import torch

from ..config import DEVICES, PRECISIONS
from ..errors import FedPromptError, check_choice


def choose_device(name: str = "auto") -> torch.device:
    """Choose the device that model and batches are moved to.

    Parameters
    ----------
    name : str
        ``"auto"``: CUDA where there is a card, then MPS (Apple silicon), then the processor. Or one of them by name.

    Returns
    -------
    torch.device

    Raises
    ------
    FedPromptError
        If that device is not here.
    """
    check_choice("device", name, DEVICES)
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, found in here.items() if found))
    if not here[name]:
        others = ", ".join(device for device, found in here.items() if found)
        raise FedPromptError(
            f"the device {name!r} is not here: PyTorch {torch.__version__} finds {others}; leave --device out, or "
            "install a PyTorch build for your card"
        )
    return torch.device(name)


def compute_dtype(precision: str = "auto", method: str = "p-tuning", device: torch.device | None = None) -> torch.dtype:
    """Choose the data type of the frozen weights.

    ``"auto"`` takes bfloat16 where that very device multiplies in it natively, and float32 elsewhere: emulated, it is
    many times slower. Full fine-tuning always takes float32, since small updates vanish in bfloat16 weights.

    Parameters
    ----------
    precision : str
        ``"auto"``, ``"float32"`` or ``"bfloat16"``.
    method : str
        What is trained.
    device : torch.device, optional
        Where it is computed; default: the processor.

    Returns
    -------
    torch.dtype
    """
    check_choice("precision", precision, PRECISIONS)
    if method == "full" or precision == "float32":
        return torch.float32
    return torch.bfloat16 if precision == "bfloat16" or _multiplies_bfloat16(device) else torch.float32


def _multiplies_bfloat16(device: torch.device | None) -> bool:
    kind = device.type if device else "cpu"
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "mps":
        return False
    able = torch.cpu.get_capabilities()
    return any(able.get(flag) for flag in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))
