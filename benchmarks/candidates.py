"""What is timed: a training step and an evaluation of each program, on the same random images."""

import dataclasses
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from plain import PlainIWAE
from torch import Tensor

from iwae_cli import objectives
from iwae_cli.components import precision_of, products_of
from iwae_cli.config import Arch
from iwae_cli.evaluation.likelihood import log_likelihoods
from iwae_cli.models.iwae import IWAE
from iwae_cli.recipes import Paper
from iwae_cli.training import Trainer
from iwae_cli.update import Update

Step = Callable[[], object]
ROWS = 2500  # samples that the others decode at once in an evaluation
MANY = 10**9


def grey_images(count: int, device: torch.device) -> Tensor:
    """Return images as sparse as MNIST's, in [0, 1], [count, 784]."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(2, count, 784, generator=generator)
    return (drawn[0] * (drawn[1] < 0.2)).to(device)


def new_model(images: Tensor, precision: str) -> IWAE:
    """Return our model on the images' device."""
    model = IWAE(784, Arch())
    generator = torch.Generator().manual_seed(0)
    model.initialise("glorot", generator=generator, mean_image=images.mean(0).cpu())
    return model.to(images.device).multiply_in(products_of(precision))


def our_step(
    k: int,
    batch: int,
    device: torch.device,
    *,
    precision: str,
    objective: str = "iwae",
    all_rows: bool = True,
) -> Step:
    """Return our training step: minibatch, binarisation, noise, gradient, optimiser."""
    images = grey_images(20 * batch, device)
    trainer = Trainer(
        new_model(images, precision),
        objectives.find(objective)(),
        Paper(batch_size=batch),
        k=k,
        seed=0,
        train=images,
        valid=images[:0],
        dynamic=True,
    )
    if isinstance(trainer.update, Update):
        trainer.update = dataclasses.replace(trainer.update, all_rows=all_rows)

    def step() -> None:
        trainer.step_in_pass %= trainer.steps_per_pass
        trainer.step()

    return step


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
    from rival import pythae_iwae

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
    found["plain"] = plain_step(k, batch, device)
    if has_pythae():
        found["pythae"] = pythae_step(k, batch, device)
    return found


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
        from rival import pythae_iwae

        rival = pythae_iwae(k).to(device).eval()
        found["pythae"] = lambda: rival.get_nll(binary, n_samples=k, batch_size=ROWS)
    return found
