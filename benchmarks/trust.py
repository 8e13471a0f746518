"""What estimates of log p(x) give and cost, image by image, on committed models.

    python benchmarks/trust.py outputs/paper/models/mnist-50-iwae-k50.pt

writes a row for each model and estimator to `outputs/paper/trust/trust.csv`, and each image's
estimates beside it. All estimators meet the same images with the same binarisation, one block of
images after another, so that seconds of processor time compare on a busy machine too. Stopped, the
rows hold what is done; the same command goes on.
"""

import argparse
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from iwae_cli.core.atomic_write import write_arrays
from iwae_cli.core.runtime import tune
from iwae_cli.core.version import __version__
from iwae_cli.evaluation.ais import Annealing, anneal
from iwae_cli.evaluation.chains import chance_of, frozen_steps
from iwae_cli.evaluation.laplace import laplace_log_weights
from iwae_cli.evaluation.likelihood import share_above
from iwae_cli.evaluation.noise import EvaluationNoise
from iwae_cli.evaluation.sampling import log_weights
from iwae_cli.evaluation.tails import TOO_HEAVY, jackknife_bias, pareto_k_hat
from iwae_cli.evaluation.trained_run import TrainedRun
from iwae_cli.objectives.importance import effective_sample_size, log_mean_exp

BLOCK = 32  # images
AT_ONCE = 14_000  # samples decoded
OUT = Path("outputs/paper/trust")
SEED = 0
SAMPLES = {"q": (500, 5000), "laplace": (100, 500, 5000)}
MANY = (50_000, 100_000)
# What is estimated first, for so many images of each model: the cheap ones of more images last
# What is estimated first, for so many images of each model
STAGES = (
    *((what, 32) for what in ("q", "laplace", "AIS", "many", "T=1000")),
    *((what, 128) for what in ("q", "laplace", "AIS", "many", "T=1000")),
    *((what, 1024) for what in ("q", "laplace", "AIS", "many")),
)
WEIGHTS = {"q": log_weights, "laplace": laplace_log_weights}
Array = NDArray[np.float64]


class Estimates:
    """Columns of each image by estimator, kept in a file that a later call goes on from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: dict[str, Array] = {}
        if path.exists():
            with np.load(path) as found:
                self.columns = {name: found[name] for name in found.files}

    def done(self, name: str) -> int:
        """Return for how many images an estimate is there."""
        return len(self.columns.get(f"{name}|log_p", ()))

    def add(self, name: str, log_w: torch.Tensor, seconds: float) -> None:
        """Add what weights [k, B] say of the next images, and their processor time."""
        found = {
            "log_p": log_mean_exp(log_w),
            "ess": effective_sample_size(log_w),
            "khat": pareto_k_hat(log_w),
            "jackknife": jackknife_bias(log_w),
            "cpu": torch.full((log_w.shape[1],), seconds / log_w.shape[1], dtype=torch.float64),
        }
        for column, values in found.items():
            key = f"{name}|{column}"
            known = self.columns.get(key, np.empty(0))
            self.columns[key] = np.hstack([known, values.numpy()])

    def save(self) -> None:
        """Write the file."""
        write_arrays(self.path, self.columns)


def clocked(work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
    """Return what `work` does and the processor time it took, s."""
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


def sampled(run: TrainedRun, first: int, ks: tuple[int, ...], proposal: str, to: Estimates) -> None:
    """Add L_k for all k; samples of the larger hold those of the smaller, which cost their share.

    What is left of the share is the cost of fitting the proposal, which every k bears.
    """
    noise = EvaluationNoise(SEED, run.model.latents)
    grey = run.images("test")[first : first + BLOCK]
    x = noise.binarise(grey, first, run.binarisation)

    def weights(k: int) -> torch.Tensor:
        step = max(1, min(BLOCK, AT_ONCE // k))
        parts = [
            WEIGHTS[proposal](
                run.model, x[i : i + step], noise, first_image=first + i, k=k, rows=AT_ONCE
            )
            for i in range(0, len(x), step)
        ]
        return torch.cat(parts, dim=1)

    fit = clocked(lambda: weights(1))[1] if proposal == "laplace" else 0.0
    log_w, seconds = clocked(lambda: weights(ks[-1]))
    for k in ks:
        share = fit + max(0.0, seconds - fit) * k / ks[-1]
        to.add(f"L_{k}" + (" laplace" if proposal == "laplace" else ""), log_w[:k], share)


def annealed(run: TrainedRun, first: int, temperatures: int, to: Estimates) -> None:
    """Add AIS with 16 chains and 10 leapfrogs; adapting the steps is not in its cost."""
    work = Annealing(temperatures=temperatures, chains=16, leapfrogs=10)
    steps = frozen_steps(run, work)
    noise = EvaluationNoise(SEED, run.model.latents)
    grey = run.images("test")[first : first + BLOCK]
    x = torch.from_numpy(noise.binarise(grey, first, run.binarisation))
    chance = chance_of(run, SEED, first, len(x))
    log_w, seconds = clocked(lambda: anneal(run.model, x, work, chance, steps=steps))
    to.add(f"AIS T={temperatures}", log_w, seconds)


def rows(model: str, found: Estimates) -> list[dict[str, object]]:
    """Return the table of one model: of each estimator on all its images, nats per image."""
    names = [key.partition("|")[0] for key in found.columns if key.endswith("|log_p")]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    table = []
    for name in names:
        column = {
            key: found.columns[f"{name}|{key}"] for key in ("log_p", "ess", "khat", "jackknife")
        }
        n = len(column["log_p"])
        reference = found.columns["L_5000|log_p"][:n]
        gain = column["log_p"] - reference
        table.append(
            {
                "model": model,
                "estimator": name,
                "images": n,
                "nll": -column["log_p"].mean(),
                "se_images": column["log_p"].std(ddof=1) / np.sqrt(n),
                "gain_over_L_5000": gain.mean(),
                "se_gain": gain.std(ddof=1) / np.sqrt(n),
                "median_ess": np.median(column["ess"]),
                "share_khat_above_0.7": share_above(column["khat"], TOO_HEAVY),
                "bias_jackknife": column["jackknife"].mean(),
                "cpu_seconds_per_image": found.columns[f"{name}|cpu"].mean(),
                "seed": SEED,
                "version": __version__,
                "torch": torch.__version__,
                "commit": commit,
            }
        )
    return table


def estimate(what: str, run: TrainedRun, first: int, to: Estimates) -> None:
    """Add what belongs to a stage for one block of images, unless it is there."""
    if what == "q" and to.done("L_5000") <= first:
        sampled(run, first, SAMPLES["q"], "q", to)
    elif what == "laplace" and to.done("L_5000 laplace") <= first:
        sampled(run, first, SAMPLES["laplace"], "laplace", to)
    elif what == "many" and to.done(f"L_{MANY[-1]}") <= first:
        sampled(run, first, MANY, "q", to)
    for temperatures in {"AIS": (10, 100), "T=1000": (1000,)}.get(what, ()):
        if to.done(f"AIS T={temperatures}") <= first:
            annealed(run, first, temperatures, to)


def main() -> None:
    """Estimate stage by stage and block by block, all models in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--work", type=Path, default=OUT, help="Where single images' go.")
    options = parser.parse_args()
    tune()
    torch.set_num_threads(1)
    runs = {path.stem: TrainedRun(path, output=options.work) for path in options.models}
    stores = {name: Estimates(options.work / f"{name}.npz") for name in runs}
    OUT.mkdir(parents=True, exist_ok=True)
    warm = Estimates(options.work / "none.npz")
    for run in runs.values():  # first calls compile
        for proposal in WEIGHTS:
            sampled(run, 0, (250,), proposal, warm)
    for what, images in STAGES:
        for first in range(0, images, BLOCK):
            for name, run in runs.items():
                estimate(what, run, first, stores[name])
                stores[name].save()
                table = [row for one in runs for row in rows(one, stores[one])]
                pd.DataFrame(table).to_csv(OUT / "trust.csv", index=False, float_format="%.5g")
                print(time.strftime("%H:%M:%S"), what, name, first, flush=True)


if __name__ == "__main__":
    main()
