"""With what and where a run was computed."""

import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from iwae_cli.core.identity import FORMAT_VERSION
from iwae_cli.core.version import __version__
from iwae_cli.data.dataset import SPLITS, Dataset

PACKAGES = ("torch", "numpy", "hydra-core", "omegaconf", "pandas", "scipy", "numba", "scikit-learn")


def numerics(device: torch.device, *, compiled: bool = False) -> dict[str, Any]:
    """Return all that must be equal for a resumed run to equal an uninterrupted one."""
    kernels = torch.backends.cpu.get_cpu_capability()
    return {
        "iwae": __version__,
        "torch": str(torch.__version__),  # torch has its own class of strings
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "kernels": f"{kernels}, compiled" if compiled else kernels,
    }


def describe_environment(dataset: Dataset, device: torch.device) -> dict[str, Any]:
    """Return the contents of environment.json."""
    return {
        **numerics(device),
        "commit": commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: version(name) for name in PACKAGES},
        "format": FORMAT_VERSION,
        "data": {
            "label": dataset.label,
            "hash": dataset.content_hash,
            "images": {name: len(dataset.split(name)) for name in SPLITS},
        },
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def device_name(device: torch.device) -> str:
    """Return the device with the model name of its hardware."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({processor_name()})"


def processor_name() -> str:
    """Return the processor's model name, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """Return the commit of the source tree, `-dirty` if it was changed; None outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or None
