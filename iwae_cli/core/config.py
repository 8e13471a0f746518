"""Plain dataclasses for a run: types, ranges and defaults.

Nothing here knows of Hydra. The nodes `dataset`, `objective` and `optimizer` of a `Config` name
one component of a registry with its keyword arguments; the component's own frozen dataclass says
which arguments exist and which values are allowed.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from iwae_cli.core.building import build
from iwae_cli.core.errors import ConfigError, unknown
from iwae_cli.core.identity import NOT_IDENTITY

Component = dict[str, Any]

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16")
INITIALISATIONS = ("glorot", "original_code")
ACTIVATIONS = ("tanh", "relu", "leaky_relu", "elu", "softplus")
LEAK = 0.01  # slope of a leaky ReLU below 0
LONGEST = 60  # characters of sizes in the name of a folder
COMPONENTS = ("dataset", "objective", "optimizer", "likelihood")
BERNOULLI = {"name": "bernoulli"}


def require(condition: bool, message: str) -> None:
    """Raise ValueError with `message` unless `condition` holds."""
    if not condition:
        raise ValueError(message)


def check_name(key: str, name: str) -> None:
    """Raise ValueError unless a name can be part of the name of a folder on every system."""
    require(
        re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name) is not None,
        f"{key} may have letters, digits and ._- only, 100 at most, got {name!r}",
    )


@dataclass(frozen=True)
class Arch:
    """The network's shape, from the image upwards.

    `latents[l]` is the size of stochastic layer l + 1; `hidden[l]` the widths of the hidden layers
    between it and the layer below, each followed by `activation`. The generative network mirrors
    the recognition network, whose first layer is the one that `encoder` names.
    """

    name: str = field(default="custom", metadata=NOT_IDENTITY)
    latents: list[int] = field(default_factory=lambda: [50])
    hidden: list[list[int]] = field(default_factory=lambda: [[200, 200]])
    init: str = "glorot"
    output_bias: bool = True
    activation: str = field(default="tanh", metadata={"identity": "if set"})
    encoder: str = field(default="dense", metadata={"identity": "if set"})

    def __post_init__(self) -> None:
        check_name("name", self.name)
        require(len(self.latents) > 0, "latents must name at least one stochastic layer")
        require(
            len(self.hidden) == len(self.latents),
            f"hidden needs one list of widths for each of the {len(self.latents)} stochastic "
            f"layers, got {len(self.hidden)}",
        )
        sizes = [*self.latents, *(width for widths in self.hidden for width in widths)]
        whole = all(isinstance(size, int) and not isinstance(size, bool) for size in sizes)
        require(
            whole, f"hidden must be lists of whole numbers such as [[200,200]], got {self.hidden}"
        )
        require(all(size >= 1 for size in sizes), f"all sizes must be at least 1, got {sizes}")
        require(self.init in INITIALISATIONS, unknown("init", self.init, INITIALISATIONS))
        known = self.activation in ACTIVATIONS
        require(known, unknown("activation", self.activation, ACTIVATIONS))

    @property
    def sizes(self) -> str:
        """Sizes of the stochastic layers, as a run's folder is named by: `50`, `100_50`."""
        sizes = "_".join(map(str, self.latents))
        return sizes if len(sizes) <= LONGEST else f"{len(self.latents)}_layers"


@dataclass(frozen=True)
class Then:
    """What follows a finished training; see `training.run.follow_up`.

    Attributes:
        eval: Numbers of samples k of the test NLLs; none if empty.
        active_units: Whether active units are counted.
        check_active_units: Whether the test NLL without the inactive ones is estimated too.
        pictures: Whether samples, reconstructions and weights are kept as pictures.npz.
    """

    eval: list[int] = field(default_factory=list)
    active_units: bool = False
    check_active_units: bool = False
    pictures: bool = True

    def __post_init__(self) -> None:
        require(all(k >= 1 for k in self.eval), f"eval must list k of at least 1, got {self.eval}")


@dataclass(frozen=True)
class Config:
    """One training run, resolved: everything that `iwae train` needs to know."""

    arch: Arch = field(default_factory=Arch)
    dataset: Component = field(default_factory=lambda: {"name": "mnist"})
    objective: Component = field(default_factory=lambda: {"name": "iwae"})
    optimizer: Component = field(default_factory=lambda: {"name": "kfac"})
    likelihood: Component = field(default_factory=lambda: {**BERNOULLI}, metadata=NOT_IDENTITY)
    k: int = 50
    seed: int = 0
    precision: str = "auto"
    device: str = field(default="auto", metadata=NOT_IDENTITY)
    threads: int | None = field(default=None, metadata=NOT_IDENTITY)
    compile: bool = field(default=False, metadata=NOT_IDENTITY)
    outputs: str = field(default="outputs", metadata=NOT_IDENTITY)
    checkpoint_seconds: float = field(default=60.0, metadata=NOT_IDENTITY)
    validate_passes: int = field(default=10, metadata=NOT_IDENTITY)
    then: Then = field(default_factory=Then, metadata=NOT_IDENTITY)
    init_from: Component | None = field(default=None, metadata=NOT_IDENTITY)
    log: Component = field(default_factory=dict, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        require(self.k >= 1, f"k must be at least 1, got {self.k}")
        require(0 <= self.seed < 2**63, f"seed must be in [0, 2^63), got {self.seed}")
        require(self.precision in PRECISIONS, unknown("precision", self.precision, PRECISIONS))
        require(self.device in DEVICES, unknown("device", self.device, DEVICES))
        require(
            self.threads is None or self.threads >= 1,
            f"threads must be at least 1 or null for all cores, got {self.threads}",
        )
        require(
            self.checkpoint_seconds >= 0,
            f"checkpoint_seconds must be 0 or more, got {self.checkpoint_seconds}",
        )
        require(
            self.validate_passes >= 0,
            f"validate_passes must be 0 (never) or more, got {self.validate_passes}",
        )

    def parent(self) -> "Config | None":
        """Return the config of the run to start from, where `init_from` names one.

        Keys that `init_from` leaves out are those of this run.
        """
        if self.init_from is None:
            return None
        own = dataclasses.asdict(self)
        return parse({**own, **self.init_from, "init_from": self.init_from.get("init_from")})


def parse(values: Mapping[str, Any]) -> Config:
    """Return the `Config` of a nested mapping of plain types, such as a composed YAML.

    Raises:
        ConfigError: One line that names every fault of the top level, of `arch` and of `then`.
    """
    faults: list[str] = []
    nodes: dict[str, Any] = {}
    for node, cls in (("arch", Arch), ("then", Then)):
        try:
            given = values.get(node, {})
            if not isinstance(given, Mapping):
                keys = ", ".join(f.name for f in dataclasses.fields(cls))
                raise ConfigError(f"{node}: has the keys {keys}; got {given!r}")
            nodes[node] = build(cls, given, where=node)
        except ConfigError as error:
            faults.append(str(error))
    for node in COMPONENTS:
        component = values.get(node, BERNOULLI if node == "likelihood" else {})
        if isinstance(component, Mapping) and "name" in component:
            nodes[node] = dict(component)
        else:
            faults.append(f"{node}: needs a name, as in '{node}=...'; got {component!r}")
    special = ("arch", "then", *COMPONENTS)
    rest = {key: value for key, value in values.items() if key not in special}
    try:
        config = build(Config, rest)
    except ConfigError as error:
        faults.append(str(error))
    if faults:
        raise ConfigError("; ".join(faults))
    return dataclasses.replace(config, **nodes)
