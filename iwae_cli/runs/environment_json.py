"""environment.json: with what a run was trained, and what its other files are held to."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iwae_cli.core.atomic_write import write_atomically

CHECKSUM = "checksum"
LARGEST_BYTES = 1_000_000


def checksum(content: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hex, of all but the checksum itself."""
    rest = {key: value for key, value in content.items() if key != CHECKSUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def write_environment(path: Path, content: Mapping[str, Any]) -> None:
    """Write an environment.json with its checksum."""
    whole = {**content, CHECKSUM: checksum(content)}
    write_atomically(path, (json.dumps(whole, indent=2) + "\n").encode())


def read_environment(path: Path) -> dict[str, Any]:
    """Return the content of an environment.json; one of an earlier version has no checksum.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged.
    """
    with path.open("rb") as file:
        text = file.read(LARGEST_BYTES + 1)
    if len(text) > LARGEST_BYTES:
        raise ValueError("too large")
    try:
        content = json.loads(text.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, dict) or not {"label", "hash"} <= data.keys():
        raise ValueError("no key 'data' with label and hash")
    stored = content.pop(CHECKSUM, None)
    # of a version with checksums, the only ones that have this key
    if stored != checksum(content) and (stored is not None or "config" in content):
        raise ValueError("it was changed: its checksum is another")
    return dict(content)
