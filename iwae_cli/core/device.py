"""The device and the precision that a run computes in."""

import os
import shutil
from typing import Any

import torch

from iwae_cli.core.errors import ConfigError


def device_of(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda` or `mps` stands for on this machine.

    Raises:
        ConfigError: The device was named and is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((device for device, there in available.items() if there), "cpu")
    elif not available.get(name, name == "cpu"):
        raise ConfigError(f"device={name}: there is none on this machine; use device=cpu or auto")
    return torch.device(name)


def check_compiler(device: torch.device) -> None:
    """Raise ConfigError if `compile=true` cannot work on a device here."""
    compilers = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++"]
    if device.type == "cpu" and not any(map(shutil.which, compilers)):
        raise ConfigError(
            f"compile=true needs a C++ compiler ({' or '.join(compilers)}) on the PATH; install "
            "one, or leave compile=true out"
        )


def precision_of(name: str, device: torch.device) -> str:
    """Return the precision that `auto` stands for on a device: bfloat16 where it has units for it.

    Any other name is returned as it is.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        there: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        units = any(there.get(name) for name in ("avx512_bf16", "amx_bf16"))
        fast = device.type == "cpu" and units
    return "bfloat16" if fast else "float32"


def products_of(precision: str) -> torch.dtype | None:
    """Return what `IWAE.multiply_in` takes for a resolved precision."""
    return torch.bfloat16 if precision == "bfloat16" else None
