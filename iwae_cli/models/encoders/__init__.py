"""First recognition layers q(h_1 | x), one a file."""

from collections.abc import Callable
from typing import Any, cast

from iwae_cli.core.by_name import ByName
from iwae_cli.core.config import Arch
from iwae_cli.core.errors import ConfigError, unknown
from iwae_cli.models.conditional import ConditionalLayer
from iwae_cli.models.distributions import Gaussian

ENCODERS = ByName[ConditionalLayer[Gaussian]](__name__, __path__, shared=())


def encoder(arch: Arch, pixels: int) -> ConditionalLayer[Gaussian]:
    """Return the layer that `arch.encoder` names.

    Raises:
        ConfigError: There is none of that name, or it cannot take images of so many pixels.
    """
    if arch.encoder not in ENCODERS:
        raise ConfigError(unknown("encoder", arch.encoder, ENCODERS))
    build = cast(Callable[..., Any], ENCODERS[arch.encoder])
    try:
        made: ConditionalLayer[Gaussian] = build(
            pixels, arch.hidden[0], arch.latents[0], arch.activation
        )
    except ValueError as error:
        raise ConfigError(f"arch.encoder={arch.encoder}: {error}") from None
    return made
