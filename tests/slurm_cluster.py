"""A SLURM of one machine for the tests, whose node has a temporary folder of its own."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

from conftest import ROOT, limit

PID = Path("/run/slurmd.pid")


def shell(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def bring_up() -> None:
    """Start SLURM by the script that IWAE_SLURM_UP names, unless it runs; isolate its node."""
    if shutil.which("sinfo") is None or subprocess.run(["sinfo"], capture_output=True).returncode:
        shell("bash", os.environ["IWAE_SLURM_UP"])
    if (
        Path(f"/proc/{PID.read_text().strip()}/ns/mnt").readlink()
        == Path("/proc/self/ns/mnt").readlink()
    ):
        node = int(PID.read_text())
        os.kill(node, signal.SIGTERM)
        while Path(f"/proc/{node}").exists():
            time.sleep(0.1)
        # jobs see an empty /tmp, as on the nodes of a cluster, but for this checkout
        steps = ["mount -t tmpfs tmpfs /tmp", "exec slurmd"]
        if ROOT.is_relative_to("/tmp"):
            there = shlex.quote(str(ROOT))
            steps.insert(0, f"mount --bind {there} /mnt")
            steps.insert(2, f"mkdir -p {there} && mount --bind /mnt {there}")
        shell("unshare", "-m", "sh", "-c", " && ".join(steps))
    deadline = time.monotonic() + limit(60)
    while shell("sinfo", "-h", "-o", "%T").strip() not in ("idle", "mixed", "allocated"):
        assert time.monotonic() < deadline, "the node of the cluster does not come up"
        time.sleep(0.2)
