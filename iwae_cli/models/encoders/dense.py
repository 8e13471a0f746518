"""q(h_1 | x) with dense hidden layers, the paper's."""

from typing import ClassVar

from iwae_cli.models.layers import GaussianLayer


class Dense(GaussianLayer):
    """Hidden layers of the widths `arch.hidden[0]`."""

    name: ClassVar[str] = "dense"
