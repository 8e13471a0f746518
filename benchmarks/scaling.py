"""Time and peak memory of one training step and of one evaluation at a single k, as JSON.

`bench.py` starts this once for each k, for peak memory belongs to a whole process.
"""

import json
import resource
import sys
from pathlib import Path

from iwae_cli.core import runtime

BATCH = 20


def peak_bytes() -> int:
    """Return the largest resident memory of this process so far, in bytes.

    Where the system has no /proc, what getrusage says, which can be that of the parent process.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def main() -> None:
    what, k, precision = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    runtime.tune()
    import torch
    from candidates import grey_images, new_model, our_step
    from timing import median_seconds

    from iwae_cli.evaluation.likelihood import log_likelihoods

    device = torch.device("cpu")
    images = grey_images(32, device)
    before = peak_bytes()
    if what == "step":
        call = our_step(k, BATCH, device, precision=precision)
        seconds = median_seconds(call, device=device, calls=3 if k >= 500 else 15)
    else:
        model = new_model(images, precision).eval().requires_grad_(False)
        seconds = median_seconds(
            lambda: log_likelihoods(model, images.numpy(), ks=[k]), device=device, calls=3
        ) / len(images)
    found = {"what": what, "k": k, "precision": precision, "seconds": seconds}
    print(json.dumps({**found, "bytes": peak_bytes() - before}))


if __name__ == "__main__":
    main()
