"""Adam at one learning rate."""

from dataclasses import dataclass

from iwae_cli.training.recipes.adam import Adam
from iwae_cli.training.recipes.base import check_passes
from iwae_cli.training.schedules import LearningRate, Linear


@dataclass(frozen=True)
class Constant(Adam):
    """Adam at one learning rate; by default the second stage of the paper's Table 2.

    3^7 passes at 1e-4: Burda et al. 2015, arXiv 1509.00519, section 5.3.
    """

    name: str = "constant"
    passes: int = 3**7
    learning_rate: float = 1e-4
    eps: float = 5e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_passes(self.passes)

    @property
    def total_passes(self) -> int:
        """The option `passes`."""
        return self.passes

    @property
    def rates(self) -> LearningRate:
        """The learning rate, the same at every position."""
        return Linear(self.learning_rate, self.passes, end=1.0)
