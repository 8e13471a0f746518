"""The paper's schedule, with Adam."""

from dataclasses import dataclass

from iwae_cli.core.config import require
from iwae_cli.training.recipes.adam import Adam
from iwae_cli.training.schedules import LearningRate, Stages


@dataclass(frozen=True)
class Paper(Adam):
    """Stage i = 0, 1, ... makes 3^i passes at learning rate lr * 10^(-i/7), with Adam.

    Burda et al. 2015, arXiv 1509.00519, section 5. The authors' eps of 1e-4 belongs to the
    gradient summed over 20 images; on the mean it is 5e-6.
    """

    name: str = "paper"
    stages: int = 8
    learning_rate: float = 1e-3
    eps: float = 5e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.stages <= 12, f"stages must be in 1..12, got {self.stages}")

    @property
    def total_passes(self) -> int:
        """(3^stages - 1) / 2; 3,280 with eight stages."""
        return int((3**self.stages - 1) // 2)

    @property
    def rates(self) -> LearningRate:
        """Lr * 10^(-i/7) in stage i."""
        return Stages([self.learning_rate * 10 ** (-i / 7) for i in range(self.stages)])
