"""What memory a training step needs, and a word before it starts where there is not enough."""

from torch import nn

from iwae_cli.core.errors import OutOfMemory
from iwae_cli.core.memory import available_bytes
from iwae_cli.models.iwae import IWAE

# Bytes of a sample for each unit of the networks, and for each latent: measured, see
# benchmarks/LOG.md. Without all rows the first are those of the few samples that are kept.
UNIT_BYTES, LATENT_BYTES = 4.4, 12


def least_bytes(model: IWAE, *, k: int, images: int, all_rows: bool) -> float:
    """Return how many bytes a step needs at least.

    Args:
        model: The model.
        k: Samples an image.
        images: Of a minibatch.
        all_rows: Whether every sample takes part in the backward pass.
    """
    units = sum(m.out_features for m in model.modules() if isinstance(m, nn.Linear))
    a_sample = LATENT_BYTES * sum(model.latents) + (UNIT_BYTES * units if all_rows else 0)
    return k * images * a_sample


def check_memory(model: IWAE, *, k: int, images: int, all_rows: bool) -> None:
    """Refuse a step for which there is surely not enough memory.

    Raises:
        OutOfMemory: There is not.
    """
    needed = least_bytes(model, k=k, images=images, all_rows=all_rows)
    free = available_bytes()
    if needed > free:
        raise OutOfMemory(
            f"not enough memory for {advice(k, images)}; a step needs {needed / 1e9:.1f} GB at "
            f"least, {free / 1e9:.1f} GB are free"
        )


def advice(k: int, images: int) -> str:
    """Return what to change where memory runs out."""
    return f"k={k} with batch_size={images}: lower k or optimizer.batch_size"
