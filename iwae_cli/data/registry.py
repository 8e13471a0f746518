"""The data sets by name, and what one says of itself."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from iwae_cli import data
from iwae_cli.core.building import build
from iwae_cli.core.by_name import ByName
from iwae_cli.core.errors import ConfigError, unknown
from iwae_cli.data.arrays import Arrays
from iwae_cli.data.dataset import SPLITS, Dataset, Source
from iwae_cli.data.download import File, place_of

# Files that hold no data set
SHARED = (
    "array_files",
    "array_names",
    "binarisation",
    "dataset",
    "download",
    "download_progress",
    "pixels",
    "registry",
)
SOURCES: Mapping[str, type[Source]] = ByName[Source](data.__name__, data.__path__, shared=SHARED)


def names() -> list[str]:
    """Return the names of all data sets, sorted."""
    return sorted(SOURCES)


def find(values: Mapping[str, Any]) -> Source:
    """Return the source of a config node, `name` and that source's options; nothing is loaded.

    Example:
        >>> find({"name": "digits", "valid": 0}).load().train.shape
        (1397, 64)

    Raises:
        ConfigError: An unknown name or option, a wrong type, a value out of range.
    """
    name = str(values.get("name"))
    if name not in SOURCES:
        raise ConfigError(unknown("dataset", name, SOURCES))
    return build(SOURCES[name], values, where="dataset")


@lru_cache(maxsize=2)
def loaded(source: Source, *, real: bool = False) -> Dataset:
    """Return a source's data set; what reads it again in this process shares it.

    Args:
        source: Of the images.
        real: Whether pixels may be any real numbers; else they lie in [0, 1].
    """
    return source.load_real() if real and isinstance(source, Arrays) else source.load()


def files_of(source: Source) -> list[dict[str, str | None]]:
    """Return where the files of a source lie, in plain types; `path` is None for what is missing.

    A data set inside a package has none.
    """
    own = [getattr(source, key, None) for key in ("train", "test", "valid")]
    names = [Path(text) for text in own if isinstance(text, str)]
    published: tuple[File, ...] = getattr(source, "files", ())
    found: list[dict[str, str | None]] = [
        {"file": path.name, "path": str(path)} for path in names if path.exists()
    ]
    for file in published:
        place = place_of(file)
        found.append({"file": file.name, "path": str(place) if place else None})
    return found


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return what `iwae data` prints, in plain types; pixel figures are None for an empty split."""
    described: dict[str, Any] = {
        "name": dataset.name,
        "label": dataset.label,
        "binarization": dataset.binarisation.name,
        "content_hash": dataset.content_hash,
        "image_shape": list(dataset.image_shape) if dataset.image_shape else None,
        "splits": {},
    }
    for name in SPLITS:
        images = dataset.split(name)
        described["splits"][name] = {
            "images": len(images),
            "pixels": images.shape[1],
            "mean": float(images.mean(dtype="float64")) if images.size else None,
            "min": float(images.min()) if images.size else None,
            "max": float(images.max()) if images.size else None,
        }
    return described
