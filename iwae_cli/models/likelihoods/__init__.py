"""Likelihoods p(x | h), one a file."""

from collections.abc import Mapping
from typing import Any

from iwae_cli.core.building import build
from iwae_cli.core.by_name import ByName
from iwae_cli.core.errors import ConfigError, unknown
from iwae_cli.models.likelihoods.base import Likelihood
from iwae_cli.models.likelihoods.bernoulli import BernoulliPixels

LIKELIHOODS = ByName[Likelihood](__name__, __path__, shared=("base", "dense"))
DEFAULT = BernoulliPixels()


def find(values: Mapping[str, Any]) -> Likelihood:
    """Return the likelihood of a config node, `name` and its options.

    Example:
        >>> find({"name": "gaussian", "std": 0.1}).real
        True

    Raises:
        ConfigError: An unknown name or option, a wrong type, a value out of range.
    """
    if values["name"] not in LIKELIHOODS:
        raise ConfigError(unknown("likelihood", values["name"], LIKELIHOODS))
    return build(LIKELIHOODS[values["name"]], values, where="likelihood")
