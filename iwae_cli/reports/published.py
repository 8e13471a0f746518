"""The numbers published in Burda, Grosse and Salakhutdinov 2015, arXiv 1509.00519, version 4."""

from typing import NamedTuple


class Published(NamedTuple):
    """A cell of the paper: test NLL by L_5000 in nats per image, and active units a layer."""

    nll: float
    active: str


class Swap(NamedTuple):
    """A row of Table 2: objective and k of two stages of training, and where each one ended."""

    first: tuple[str, int]
    first_result: Published
    second: tuple[str, int]
    second_result: Published


KS = (1, 5, 50)
OBJECTIVES = ("vae", "iwae")

# Latent and hidden sizes by number of stochastic layers
ARCHITECTURES = {
    1: ([50], [[200, 200]]),
    2: ([100, 50], [[200, 200], [100, 100]]),
}

# Datasets of each table by their name in a config, and what the paper calls them
DATASETS = {1: {"mnist": "MNIST", "omniglot": "OMNIGLOT"}, 3: {"mnist_fixed": "fixed MNIST"}}

Key = tuple[str, int, str]
Row = tuple[Published, Published, Published]


def _row(*cells: tuple[float, str]) -> Row:
    one, five, fifty = (Published(*cell) for cell in cells)
    return one, five, fifty


# Tables 1 and 3: (dataset, stochastic layers, objective) -> cells at k = 1, 5, 50
_CELLS: dict[Key, Row] = {
    ("mnist", 1, "vae"): _row((86.76, "19"), (86.47, "20"), (86.35, "20")),
    ("mnist", 1, "iwae"): _row((86.76, "19"), (85.54, "22"), (84.78, "25")),
    ("mnist", 2, "vae"): _row((85.33, "16+5"), (85.01, "17+5"), (84.78, "17+5")),
    ("mnist", 2, "iwae"): _row((85.33, "16+5"), (83.89, "21+5"), (82.90, "26+7")),
    ("omniglot", 1, "vae"): _row((108.11, "28"), (107.62, "28"), (107.80, "28")),
    ("omniglot", 1, "iwae"): _row((108.11, "28"), (106.12, "34"), (104.67, "41")),
    ("omniglot", 2, "vae"): _row((107.58, "28+4"), (106.31, "30+5"), (106.30, "30+5")),
    ("omniglot", 2, "iwae"): _row((107.56, "30+5"), (104.79, "38+6"), (103.38, "44+7")),
    ("mnist_fixed", 1, "vae"): _row((88.71, "19"), (88.83, "19"), (89.05, "20")),
    ("mnist_fixed", 1, "iwae"): _row((88.71, "19"), (87.63, "22"), (87.10, "24")),
    ("mnist_fixed", 2, "vae"): _row((88.08, "16+5"), (87.63, "17+5"), (87.86, "17+6")),
    ("mnist_fixed", 2, "iwae"): _row((88.08, "16+5"), (86.17, "21+5"), (85.32, "24+7")),
}

# Table 2: one stochastic layer, MNIST
SWAPS = (
    Swap(("vae", 1), Published(86.76, "19"), ("iwae", 50), Published(84.88, "22")),
    Swap(("iwae", 50), Published(84.78, "25"), ("vae", 1), Published(86.02, "23")),
)

# Section 5.3: by how much test NLL changes at most, in nats, when inactive units are removed
REMOVAL = 0.06
# By how much the bound of training images exceeds that of test images, in nats
GAPS = {"mnist": (0.62, 0.79), "omniglot": (2.39, 2.65)}


def published(dataset: str, layers: int, objective: str, k: int) -> Published | None:
    """Return the cell of Table 1 or 3 with this key, if the paper has it."""
    row = _CELLS.get((dataset, layers, objective))
    return row[KS.index(k)] if row and k in KS else None


def swap(dataset: str, layers: int, first: tuple[str, int], second: tuple[str, int]) -> Swap | None:
    """Return the row of Table 2 with these stages, if the paper has it."""
    if (dataset, layers) != ("mnist", 1):
        return None
    return next((row for row in SWAPS if (row.first, row.second) == (first, second)), None)


def latents_of(layers: int) -> str:
    """Return the paper's latent sizes, such as `100+50`."""
    return "+".join(map(str, ARCHITECTURES[layers][0]))


def objective_order(objective: str) -> tuple[int, str]:
    """Return the sorting key of an objective: VAE, IWAE, then the others by name."""
    known = objective in OBJECTIVES
    return OBJECTIVES.index(objective) if known else len(OBJECTIVES), objective
