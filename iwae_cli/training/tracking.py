"""What trackers are told of a run: metrics of each pass, results, pictures."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from iwae_cli.core import trackers
from iwae_cli.core.atomic_write import read_json, write_json
from iwae_cli.core.flattening import flattened
from iwae_cli.core.trackers import TrackedRun, Tracker
from iwae_cli.runs.metrics import Metrics
from iwae_cli.training.resolve import ResolvedRun

SHOWN = 36  # images of a picture, at most
NOTE = ".tracked.json"  # what trackers were told last, by their names


def trackers_of(
    run: ResolvedRun, *, passes: int, names: Sequence[str] | None = None
) -> AbstractContextManager[Sequence[Tracker]]:
    """Open the trackers that a run's config names, or those of `names`."""
    nodes = run.settings.log
    chosen = {name: node for name, node in nodes.items() if names is None or name in names}
    return trackers.tracking(
        chosen, TrackedRun(run.folder.path, flattened(run.plain)), passes=passes
    )


def tell_pass(told: Sequence[Tracker], row: Metrics) -> None:
    """Tell trackers the metrics of a pass, those that were measured."""
    values = {name: float(value) for name, value in row._asdict().items() if name != "pass_number"}
    for tracker in told:
        tracker.on_pass(row.pass_number, {k: v for k, v in values.items() if not math.isnan(v)})


def tell_results(run: ResolvedRun) -> None:
    """Tell trackers the results and pictures of a finished run, unless they know them."""
    if not run.settings.log:
        return
    note = run.folder.path / NOTE
    before = read_json(note) if note.exists() else {}
    values, passes = results_of(run), run.components.recipe.total_passes
    news = [name for name in run.settings.log if before.get(name) != values]
    if not news:
        return
    pictures = pictures_of(run)
    with trackers_of(run, passes=passes, names=news) as told:
        for tracker in told:
            tracker.results(passes, values)
            for name, image in pictures.items():
                tracker.picture(passes, name, image)
    write_json(note, before | {name: values for name in news})


def results_of(run: ResolvedRun) -> dict[str, float]:
    """Return the test NLL of each k, and the active units of each layer, as far as known."""
    table = run.folder.read_evaluations()
    table = table[(table["split"] == "test") & (table["estimator"] == "L_k")]
    values = {f"test_nll_k{int(row.k)}": float(row.nll) for row in table.itertuples()}
    if run.folder.active_units.exists():
        counts = pd.read_csv(run.folder.active_units).groupby("layer")["active"].sum()
        values |= {f"active_units_layer{layer}": float(count) for layer, count in counts.items()}
    return values


def pictures_of(run: ResolvedRun) -> dict[str, NDArray[np.float32]]:
    """Return the pictures of a run, each a square of images side by side, in [0, 1], [H, W]."""
    if not run.folder.pictures.exists():
        return {}
    with np.load(run.folder.pictures, allow_pickle=False) as stored:
        names = [name for name in ("samples", "originals", "reconstructions") if name in stored]
        return {name: square(stored[name][:SHOWN]) for name in names}


def square(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return images [N, H, W] in rows of equal length, [rows * H, columns * W]."""
    count, height, width = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = np.zeros((rows * columns, height, width), images.dtype)
    grid[:count] = images
    tiles = grid.reshape(rows, columns, height, width).swapaxes(1, 2)
    return np.ascontiguousarray(tiles.reshape(rows * height, columns * width))
