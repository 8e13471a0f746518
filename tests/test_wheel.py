"""The installed wheel, run from another folder, with nothing of the checkout in reach."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, tiny_run


@pytest.mark.long
def test_a_wheel_carries_the_configuration_and_trains_from_another_folder(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", tmp_path, ROOT], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("iwae_cli-*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(installed)
    shipped = {name.removeprefix("iwae_cli/") for name in names if "/conf/" in name}
    assert shipped == {str(path.relative_to(ROOT)) for path in (ROOT / "conf").rglob("*.yaml")}
    work = tmp_path / "work"
    work.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    where = "import iwae_cli; print(iwae_cli.__file__)"
    for command in (["-c", where], ["-m", "iwae_cli", *tiny_run()]):
        done = subprocess.run(
            [sys.executable, "-P", *command],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "-c" not in command or done.stdout.startswith(str(installed))
    assert len(list(work.glob("outputs/runs/*/checkpoint.pt"))) == 1
