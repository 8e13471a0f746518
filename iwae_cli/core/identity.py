"""What makes a run the run that it is: the fields that join its identity, and their hash."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Of checkpoints and of what the hash is taken over
FORMAT_VERSION = 1
# Metadata of a field that cannot change a run's parameters
NOT_IDENTITY = {"identity": False}


def identity_fields(node: object) -> dict[str, Any]:
    """Return the fields of a dataclass that belong to a run's identity, by name.

    A field with `metadata={"identity": False}` never joins. One with `metadata={"identity":
    "if set"}` (a key added after runs already existed) joins only where it differs from its
    default, so that the identities of old runs stay valid.
    """
    joined = {}
    for f in dataclasses.fields(node):  # type: ignore[arg-type]  # any dataclass
        value, rule = getattr(node, f.name), f.metadata.get("identity", True)
        if rule is True or (rule == "if set" and value != f.default):
            joined[f.name] = value
    return joined


def identity(parts: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hex, of `parts` and the format version as sorted JSON."""
    text = json.dumps({"format": FORMAT_VERSION, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
