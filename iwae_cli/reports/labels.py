"""How names and numbers are shown: objectives as the field writes them, numbers without -0.00."""

import math
from collections.abc import Mapping
from typing import Any

NOTHING = "–"
# Objectives whose usual name is not their key in capitals
USUAL = {
    "dreg": "DReG",
    "rws_dreg": "RWS-DReG",
    "dreg_alpha": "DReG",
    "vr_dreg": "VR-DReG",
    "iwae_one_sample": "IWAE, one sample",
}


def objective_label(name: str) -> str:
    """Return an objective as the field writes it: `DReG`, `CIWAE(beta=0.5)`."""
    key, bracket, options = name.partition("(")
    return USUAL.get(key, key.upper().replace("_", "-")) + bracket + options


def model_label(model: Mapping[str, Any]) -> str:
    """Return objective and k of a model, of both stages if it has two."""
    own = f"{objective_label(model['objective'])} k={model['k']}"
    first = model.get("first_objective")
    return f"{objective_label(first)} k={model['first_k']}, then {own}" if first else own


def number_text(number: float, form: str = "z.2f") -> str:
    """Return a number, or a dash for NaN; a form with `z` never shows -0.00."""
    return NOTHING if math.isnan(number) else format(number, form)


def whole_text(number: float) -> str:
    """Return a count, with one decimal where it is the mean of several."""
    return number_text(number, "z.1f").removesuffix(".0")
