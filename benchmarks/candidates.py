"""What is timed: a training step and an evaluation of each program, on the same random images."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional
from torch_baseline import PlainIWAE

from iwae_cli import objectives
from iwae_cli.core.config import Arch
from iwae_cli.core.device import precision_of, products_of
from iwae_cli.data.binarisation import DYNAMIC
from iwae_cli.evaluation.likelihood import log_likelihoods
from iwae_cli.models.initialisation import initialise
from iwae_cli.models.iwae import IWAE
from iwae_cli.models.row_lottery import keep_probabilities
from iwae_cli.training.recipes.base import Recipe
from iwae_cli.training.recipes.fast import Fast
from iwae_cli.training.recipes.kfac import Kfac
from iwae_cli.training.trainer import Trainer

Step = Callable[[], object]
ROWS = 2500  # samples that the others decode at once in an evaluation
FIRST_STEPS, FIRST_K = 300, 5


def grey_images(count: int, device: torch.device) -> Tensor:
    """Return images of MNIST's size in [0, 1], [count, 784]: scikit-learn's digits, enlarged."""
    digits = torch.from_numpy(load_digits().images).float().unsqueeze(1) / 16
    large = functional.interpolate(digits, size=(28, 28), mode="bilinear").flatten(1)
    return large[torch.arange(count) % len(large)].to(device)


def new_model(images: Tensor, precision: str) -> IWAE:
    """Return our model on the images' device."""
    model = IWAE(784, Arch())
    generator = torch.Generator().manual_seed(0)
    initialise(model, "glorot", generator=generator, mean_image=images.mean(0).cpu())
    return model.to(images.device).multiply_in(products_of(precision))


def new_trainer(
    k: int, batch: int, device: torch.device, *, precision: str, objective: str, recipe: Recipe
) -> Trainer:
    """Return a training that has made its first steps: weights of samples differ by then."""
    images = grey_images(20 * batch, device)
    trainer = Trainer(
        new_model(images, precision),
        objectives.find(objective)(),
        recipe,
        k=min(k, FIRST_K),
        seed=0,
        train=images,
        valid=images[:0],
        binarisation=DYNAMIC,
    )
    for _ in range(FIRST_STEPS):
        one_step(trainer)
    trainer.k = k
    return trainer


def one_step(trainer: Trainer) -> None:
    """Take a training step: minibatch, binarisation, noise, gradient, optimiser."""
    trainer.step_in_pass %= trainer.steps_per_pass
    trainer.step()


def our_step(
    k: int,
    batch: int,
    device: torch.device,
    *,
    precision: str,
    objective: str = "iwae",
    recipe: Recipe | None = None,
) -> Step:
    """Return our training step, by default Adam's with the row lottery."""
    recipe = recipe or Fast(batch_size=batch, k_growth=[], all_rows=False)
    trainer = new_trainer(k, batch, device, precision=precision, objective=objective, recipe=recipe)
    return lambda: one_step(trainer)


def kept_share(k: int, batch: int, device: torch.device) -> float:
    """Return the share of samples that the lottery keeps in the steps that are timed."""
    recipe = Fast(batch_size=batch, k_growth=[], all_rows=False)
    trainer = new_trainer(k, batch, device, precision="float32", objective="iwae", recipe=recipe)
    x = torch.bernoulli(trainer.train[:batch])
    noise = trainer.model.draw_noise(k, batch, trainer.generator)
    with torch.inference_mode():
        weights = trainer.objective.weights(trainer.model.importance_sample(x, noise).log_w)
    return float(keep_probabilities(weights).mean())


def plain_step(k: int, batch: int, device: torch.device) -> Step:
    """Return the training step of the plain program."""
    images = grey_images(20 * batch, device)
    model = PlainIWAE().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-4)

    def step() -> None:
        x = torch.bernoulli(images[torch.randint(len(images), (batch,))])
        optimizer.zero_grad()
        loss = model.loss(x, k)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def pythae_step(k: int, batch: int, device: torch.device) -> Step:
    """Return the training step of pythae's model."""
    from pythae_baseline import pythae_iwae

    images = grey_images(20 * batch, device)
    model = pythae_iwae(k).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-4)

    def step() -> None:
        x = torch.bernoulli(images[torch.randint(len(images), (batch,))])
        optimizer.zero_grad()
        loss = model({"data": x}).loss
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def has_pythae() -> bool:
    """Whether the extra `bench` is installed."""
    return find_spec("pythae") is not None


def training_steps(k: int, batch: int, device: torch.device) -> dict[str, Step]:
    """Return the training step of each program by name."""
    found = {"float32": our_step(k, batch, device, precision="float32")}
    if precision_of("auto", device) == "bfloat16":
        found["bfloat16"] = our_step(k, batch, device, precision="bfloat16")
    all_rows = Fast(batch_size=batch, k_growth=[])
    found["all rows"] = our_step(
        k, batch, device, precision=precision_of("auto", device), recipe=all_rows
    )
    found["plain"] = plain_step(k, batch, device)
    if has_pythae():
        found["pythae"] = pythae_step(k, batch, device)
    return found


def kfac_steps(k: int, batch: int, device: torch.device) -> dict[str, Step]:
    """Return a step of K-FAC and one of Adam, both with the row lottery."""
    precision = precision_of("auto", device)
    growth: dict[str, Any] = {"k_growth": [], "k_shares": []}
    recipe = Kfac(batch_size=batch, **growth)
    return {
        "kfac": our_step(k, batch, device, precision=precision, recipe=recipe),
        "adam": our_step(k, batch, device, precision=precision),
    }


def evaluations(k: int, images: int, device: torch.device) -> dict[str, Step]:
    """Return the evaluation of some images by L_k of each program by name."""
    grey = grey_images(images, device)
    array = np.ascontiguousarray(grey.cpu().numpy())

    def ours(precision: str) -> Step:
        model = new_model(grey, precision).eval().requires_grad_(False)
        return lambda: log_likelihoods(model, array, ks=[k])

    found = {"float32": ours("float32")}
    if precision_of("auto", device) == "bfloat16":
        found["bfloat16"] = ours("bfloat16")
    plain = PlainIWAE().to(device)
    binary = torch.bernoulli(grey)
    found["plain"] = lambda: [plain.log_likelihood(x[None], k, ROWS) for x in binary]
    if has_pythae():
        from pythae_baseline import pythae_iwae

        rival = pythae_iwae(k).to(device).eval()
        found["pythae"] = lambda: rival.get_nll(binary, n_samples=k, batch_size=ROWS)
    return found
