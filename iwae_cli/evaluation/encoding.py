"""Images turned into latents: means of the recognition network, and samples of the posterior."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from iwae_cli.core.atomic_write import write_arrays, writing
from iwae_cli.core.device import device_of
from iwae_cli.core.errors import ConfigError
from iwae_cli.core.progress import ProgressReport
from iwae_cli.data import pixels
from iwae_cli.data.arrays import read_images
from iwae_cli.data.binarisation import DYNAMIC, Binarisation
from iwae_cli.data.dataset import Split
from iwae_cli.evaluation.noise import BLOCK, EvaluationNoise
from iwae_cli.evaluation.sampling import COPIES, MEMORY_BYTES, Images, importance_samples
from iwae_cli.evaluation.trained_run import TrainedRun, is_own, say_if_all
from iwae_cli.models.iwae import IWAE
from iwae_cli.objectives.importance import effective_sample_size, normalised_weights
from iwae_cli.runs.folder import RunFolder
from iwae_cli.runs.opening import opened

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Encoding:
    """Latents of N images, in the precision of the model; a tuple has an array for each layer.

    Attributes:
        means: E_q[h_l | x], [N, H]: exact in the first stochastic layer, above it the mean over
            the k draws of the layer below, without importance weights.
        samples: Of the posterior p(h | x) as k grows, [N, S, H]; the layers of one sample belong
            together.
        ess: Effective sample size of the k draws, in [1, k], float64, [N].
    """

    means: tuple[Array, ...]
    samples: tuple[Array, ...]
    ess: NDArray[np.float64]


def encode_images(
    model: IWAE,
    images: Images,
    *,
    k: int,
    samples: int,
    noise: EvaluationNoise,
    binarisation: Binarisation,
    memory_bytes: int = MEMORY_BYTES,
) -> Encoding:
    """Return posterior means and samples resampled by importance weights for each image.

    Sampling-importance-resampling (Rubin 1988): of k draws from q(h | x), `samples` are chosen
    with replacement, draw i with probability w_i / sum_j w_j; at k = 1 they are samples of q.
    The result depends on the noise alone; `memory_bytes` changes it by rounding.

    Args:
        model: On any device.
        images: In [0, 1], or real, [N, D].
        k: Draws of q an image.
        samples: Samples to keep of an image, S.
        noise: Source of binarisation, noise and choice.
        binarisation: Of the images.
        memory_bytes: Budget for the largest activations.
    """
    widest = max(p.shape[0] for p in model.parameters())
    rows = max(1, memory_bytes // (COPIES * 4 * widest))
    held = 4 * COPIES * sum(model.latents) * max(k, samples)
    batch = max(1, min(rows // BLOCK, memory_bytes // held, len(images)))
    parts = []
    with ProgressReport("encode_images", total=len(images)) as report:
        for first in range(0, len(images), batch):
            x = images[first : first + batch]
            x = noise.binarise(x, first, binarisation)
            parts.append(encode_batch(model, x, noise, first, k=k, samples=samples, rows=rows))
            if report.due():
                done = first + len(x)
                report.update(done, f"image {done:,}/{len(images):,}")
    layers = range(len(model.latents))
    return Encoding(
        tuple(np.concatenate([part.means[level] for part in parts]) for level in layers),
        tuple(np.concatenate([part.samples[level] for part in parts]) for level in layers),
        np.concatenate([part.ess for part in parts]),
    )


@torch.inference_mode()
def encode_batch(
    model: IWAE,
    x: Images,
    noise: EvaluationNoise,
    first_image: int,
    *,
    k: int,
    samples: int,
    rows: int,
) -> Encoding:
    """Return the encoding of binary images `x` [B, D], the first of which is `first_image`."""
    inputs = torch.from_numpy(x).to(next(model.parameters()))
    log_w, latents = [], []
    means = [model.posterior_means(inputs).cpu().double()]
    means += [means[0].new_zeros(len(x), H) for H in model.latents[1:]]
    for drawn in importance_samples(model, x, noise, first_image=first_image, k=k, rows=rows):
        log_w.append(drawn.log_w.cpu().double())
        latents.append([h.cpu() for h in drawn.latents])
        for level, below in enumerate(drawn.latents[:-1], start=1):
            means[level] += model.recognition[level](below).mean.cpu().double().sum(0) / k
    weights = torch.cat(log_w)
    chosen = resampled(weights, noise.uniform(first_image, len(x), samples))
    image = torch.arange(len(x)).unsqueeze(1)
    return Encoding(
        tuple(mean.to(inputs.dtype).numpy() for mean in means),
        tuple(torch.cat(layer)[chosen, image].numpy() for layer in zip(*latents, strict=True)),
        effective_sample_size(weights).numpy(),
    )


def resampled(log_w: torch.Tensor, uniform: NDArray[np.float64]) -> torch.Tensor:
    """Return the indices of draws chosen with probability w_i / sum_j w_j, [B, S].

    Index i is chosen by a number u with sum_{j<i} w_j <= u sum_j w_j < sum_{j<=i} w_j.

    Args:
        log_w: Unnormalised log weights, float64, [k, B].
        uniform: In [0, 1), [B, S].
    """
    cumulative = normalised_weights(log_w).cumsum(0).T.contiguous()
    cumulative = cumulative / cumulative[:, -1:]
    return torch.searchsorted(cumulative, torch.from_numpy(uniform), right=True)


def encode(
    path: str | Path,
    *,
    split: Split = "test",
    k: int = 50,
    samples: int = 1,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    data: Path | None = None,
    output: Path | None = None,
) -> dict[str, Any]:
    """Write posterior means and resampled latents of a split; return what was written.

    The npz holds, in the order of the images, for each stochastic layer l = 1, 2, ...: `mean_l`
    [N, H] and `sample_l` [N, samples, H]; and `ess` [N] and, as JSON, `settings`. See
    `Encoding`.

    Args:
        path: A run folder or a checkpoint file.
        split: `train`, `valid` or `test`.
        k: Draws of the recognition network an image.
        samples: Samples to keep of an image, chosen by importance weight.
        limit: Use the first so many images alone.
        seed: Of binarisation, noise and choice.
        device: `auto`, `cpu`, `cuda` or `mps`.
        data: A file of images in place of a split, see `data.array_files`.
        output: The file; None for `encoding_<split>.npz` in the run's folder, where there is one,
            with the stem of `data` in place of the split.

    Example:
        >>> encode(run.folder, limit=5)["arrays"]["mean_1"]
        [5, 50]

    Raises:
        ConfigError: A number below 1, an unknown split or device.
        CheckpointError: The checkpoint is missing, damaged or foreign.
        DataError: The data set is missing, damaged, or not the one trained on.
        IwaeError: The file cannot be written.
    """
    for name, value in (("k", k), ("samples", samples)):
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}")
    run = ModelWithImages.of(path, split=split, data=data, device=device)
    say_if_all(limit, run.images, str(data or split))
    images = run.images[:limit]
    file = output or run.folder.file(f"encoding_{Path(data).stem if data else split}.npz")
    with writing(file):  # before the work, not after it
        file.parent.mkdir(parents=True, exist_ok=True)
    encoded = encode_images(
        run.model,
        images,
        k=k,
        samples=samples,
        noise=EvaluationNoise(seed, run.model.latents),
        binarisation=run.binarisation,
    )
    settings = {**run.about, "images": len(images), "k": k, "samples": samples, "seed": seed}
    arrays: dict[str, NDArray[Any]] = {}
    for level, (mean, drawn) in enumerate(zip(encoded.means, encoded.samples, strict=True), 1):
        arrays |= {f"mean_{level}": mean, f"sample_{level}": drawn}
    arrays |= {"ess": encoded.ess, "settings": np.array(json.dumps(settings))}
    with writing(file):
        write_arrays(file, arrays)
    shapes = {name: list(array.shape) for name, array in arrays.items() if array.ndim}
    median = float(np.median(encoded.ess))
    return {**settings, "median_ess": median, "file": str(file), "arrays": shapes}


@dataclass(frozen=True)
class ModelWithImages:
    """A trained model, and images of its data set or of a file.

    Attributes:
        model: On its device.
        images: In [0, 1], [N, D].
        binarisation: Of the images.
        folder: Of the run, or what stands for one.
        about: Which model and images they are.
    """

    model: IWAE
    images: Images
    binarisation: Binarisation
    folder: RunFolder
    about: dict[str, Any]

    @classmethod
    def of(
        cls, path: str | Path, *, split: Split, data: Path | None, device: str
    ) -> "ModelWithImages":
        """Return the model of a run with a split of its data, or with the images of a file.

        A file of the data that the run was trained on stands for them.
        """
        if data is None or is_own(path, data):
            run = TrainedRun(path, device=device, data=data)
            about = {**run.provenance(), "split": split}
            return cls(run.model, run.images(split), run.binarisation, run.folder, about)
        folder, stored = opened(path)
        model = stored.network().to(device_of(device))
        real = model.likelihood.real
        images = pixels.rows(read_images(str(data)), model.data_dim, str(data), real=real)
        about = {"run": folder.path.stem, "passes": stored.training.pass_index}
        binarisation = DYNAMIC.if_wanted(model.likelihood.binarises)
        return cls(model, images, binarisation, folder, {**about, "data": str(data)})
