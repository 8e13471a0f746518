"""Adam with a learning rate that falls to zero while k grows."""

from dataclasses import dataclass, field

from iwae_cli.training.recipes.adam import Adam
from iwae_cli.training.recipes.base import check_growth, check_passes
from iwae_cli.training.schedules import Cosine, KGrowth, LearningRate


@dataclass(frozen=True)
class Fast(Adam):
    """Adam with a learning rate that falls to zero along a cosine, while k grows.

    Training is cut into equal parts: each entry of `k_growth` below the run's k names the k of
    one part, and the last part uses the run's k itself.
    """

    name: str = "fast"
    batch_size: int = 100
    passes: int = 120
    learning_rate: float = 3e-3
    k_growth: list[int] = field(default_factory=lambda: [5, 10])

    def __post_init__(self) -> None:
        super().__post_init__()
        check_passes(self.passes)
        check_growth(self.k_growth)

    @property
    def total_passes(self) -> int:
        """The option `passes`."""
        return self.passes

    @property
    def rates(self) -> LearningRate:
        """Half a cosine."""
        return Cosine(self.learning_rate, self.passes)

    @property
    def growth(self) -> KGrowth:
        """Equal parts."""
        return KGrowth(self.k_growth)
