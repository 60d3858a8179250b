"""Where is computed, and in which data type the frozen weights are: chosen once, at the edge."""

import torch

from ..config import CHOICES
from ..errors import FedPromptError, check_choice


def choose_device(name: str = "auto") -> torch.device:
    """Give the device of model and batches; ``"auto"``: CUDA where there is a card, then MPS, then the processor."""
    check_choice("device", name, CHOICES["device"])
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    here = [device for device, is_here in found.items() if is_here]
    if name not in ("auto", *here):
        raise FedPromptError(
            f"the device {name!r} is not here: PyTorch {torch.__version__} finds {', '.join(here)}; leave --device "
            "out, or install a PyTorch build for your card"
        )
    return torch.device(here[0] if name == "auto" else name)


def compute_dtype(precision: str = "auto", method: str = "p-tuning", device: torch.device | None = None) -> torch.dtype:
    """Choose the data type of the frozen weights on a device (default: the processor).

    ``"auto"`` takes bfloat16 where that very device multiplies in it natively, and float32 elsewhere: emulated, it is
    many times slower. Full fine-tuning always takes float32, since small updates vanish in bfloat16 weights.
    """
    check_choice("precision", precision, CHOICES["precision"])
    kind = device.type if device else "cpu"
    if kind == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = torch.cpu.get_capabilities() if kind == "cpu" else {}
        native = any(able.get(flag) for flag in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))
    wanted = precision == "bfloat16" or (precision == "auto" and native)
    return torch.bfloat16 if wanted and method != "full" else torch.float32
