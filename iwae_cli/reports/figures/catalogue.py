"""Which figures a report has: their names, titles and order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from iwae_cli.reports import objective_comparison
from iwae_cli.reports.figures import images
from iwae_cli.reports.figures.activity import activity_histogram
from iwae_cli.reports.figures.against_k import active_against_k, nll_against_k
from iwae_cli.reports.figures.objectives import comparison_figure
from iwae_cli.reports.figures.style import Style
from iwae_cli.reports.figures.training import Curve, training_curves
from iwae_cli.reports.formatting import slug
from iwae_cli.reports.labels import model_label
from iwae_cli.reports.published import objective_order
from iwae_cli.reports.run_record import RunRecord

TRAINED_ALIKE = ["data", "protocol", "architecture"]
STAGE = ["first_objective", "first_k"]
SAME_BUT_SEED = [*TRAINED_ALIKE, *STAGE, "objective", "k"]
HEAT_MAP = {"posterior_x", "posterior_axes", "true_posterior", "recognition"}
ERRORS = "bars: standard deviation over seeds"


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn.

    Attributes:
        name: Of its file, without ending.
        section: Of the page.
        title: What it shows.
        draw: Returns the figure, or None where there is nothing to see.
        run: The run that it shows alone, or empty.
    """

    name: str
    section: str
    title: str
    draw: Callable[[Style], Figure | None]
    run: str = ""


def drawings(
    records: Sequence[RunRecord],
    scores: pd.DataFrame,
    cells: pd.DataFrame,
    compared: pd.DataFrame,
) -> list[Drawing]:
    """Return every figure of a report; nothing is drawn yet.

    Args:
        records: Those read from a runs.csv have no curves and no pictures of their own.
        scores: `run_tables.scores_table` of them; of several seeds the pictures of the first are
            shown.
        cells: `results.result_cells`.
        compared: `objective_comparison.comparison_table` of them.
    """
    found = [*against_k(cells), *of_objectives(compared)]
    runs = {str(run.folder.path): run for run in records if run.source is None}
    own = scores[scores["folder"].isin(runs)]
    order = own["objective"].map(objective_order)
    shown = own.assign(order=order).sort_values([*TRAINED_ALIKE, "k", "order", "seed"])
    for place, group in shown.groupby([*TRAINED_ALIKE, *STAGE], sort=False):
        found += of_models_together(place, group, runs)
    for score in shown.drop_duplicates(SAME_BUT_SEED).to_dict("records"):
        found += of_one_run(score, runs[score["folder"]])
    return found


def against_k(cells: pd.DataFrame) -> Iterator[Drawing]:
    """Yield NLL and active units against k for each data set and protocol with several k."""
    for (data, protocol), own in cells.groupby(["data", "protocol"]):
        known = own[own["nll"].notna()]
        if known["k"].nunique() < 2:
            continue
        bars = ERRORS
        if (known["seeds"] == 1).any():
            bars += " or, of one seed, standard error over images"
        where = f"{data} ({protocol})"
        yield Drawing(
            slug("nll-against-k", data, protocol),
            "Against k",
            f"Test NLL against k: {where}; {bars}",
            partial(nll_against_k, own),
        )
        if (known["active"] != "").any():
            yield Drawing(
                slug("active-against-k", data, protocol),
                "Against k",
                f"Active units against k: {where}; {ERRORS}",
                partial(active_against_k, own),
            )


def of_objectives(compared: pd.DataFrame) -> Iterator[Drawing]:
    """Yield the objectives of each group that was trained alike."""
    for place, own in compared.groupby(objective_comparison.PLACE):
        data, protocol, architecture, k, split, images, by_k, _ = place
        where = f"{data}, {architecture} latents, k={k} ({protocol})"
        title = f"Objectives: {where}; {images} {split} images, L_{by_k}"
        yield Drawing(
            slug("objectives", *place),
            "Objectives",
            title,
            partial(comparison_figure, own),
        )


def of_models_together(
    place: tuple[Any, ...], scores: pd.DataFrame, runs: Mapping[str, RunRecord]
) -> Iterator[Drawing]:
    """Yield training curves and samples of the models of one data set, protocol, architecture."""
    data, protocol, architecture, first, first_k = place
    where = f"{data}, {architecture} latents ({protocol})"
    where += f", after {model_label({'objective': first, 'k': first_k})}" if first else ""
    name = slug(*place[:3], *(place[3:] if first else ()))
    curves = curves_of(scores, runs)
    if curves:
        seeds = max(len(curve.metrics) for curve in curves)
        lines = f"mean and standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
        yield Drawing(
            slug("training", name),
            "Training",
            f"Training: {where}; {lines}",
            partial(training_curves, curves),
        )
    one_seed = scores.drop_duplicates(SAME_BUT_SEED)
    for k, alike in one_seed.groupby("k"):
        samples = {
            model_label(score): runs[score["folder"]].pictures["samples"]
            for score in alike.to_dict("records")
            if "samples" in runs[score["folder"]].pictures
        }
        if samples:
            yield Drawing(
                slug("samples", f"k{k}", name),
                "Samples",
                f"Samples, as means of p(x | h), k={k}: {where}",
                partial(images.samples_side_by_side, samples),
            )


def curves_of(scores: pd.DataFrame, runs: Mapping[str, RunRecord]) -> list[Curve]:
    """Return the curve of each model that made more than one pass, all its seeds together."""
    curves = []
    for (objective, k), own in scores.groupby(["objective", "k"], sort=False):
        tables = [runs[folder].metrics for folder in own.drop_duplicates("seed")["folder"]]
        tables = [table for table in tables if len(table) > 1]
        if tables:
            curves.append(Curve(str(objective), int(k), tables))
    return curves


def of_one_run(score: Mapping[str, Any], run: RunRecord) -> Iterator[Drawing]:
    """Yield the figures that show one run alone."""
    where = f"{model_label(score)}: {score['data']}, {score['architecture']} latents"
    where += f" ({score['protocol']}), seed {score['seed']}"
    kinds: list[tuple[str, str, bool, Callable[[Style], Figure | None]]] = [
        (
            "posteriors",
            "True posterior and recognition density",
            set(run.pictures) >= HEAT_MAP,
            partial(images.posteriors, run.pictures),
        ),
        (
            "activity",
            "Activity of the latent units",
            bool(run.active_units["variance"].notna().any()),
            partial(activity_histogram, run.active_units),
        ),
        (
            "reconstructions",
            "Reconstructions",
            {"originals", "reconstructions"} <= set(run.pictures),
            partial(images.reconstructions, run.pictures),
        ),
        (
            "weights",
            "Weights",
            {"first_layer_weights", "last_layer_weights"} <= set(run.pictures),
            partial(images.weights, run.pictures),
        ),
    ]
    for kind, title, there, draw in kinds:
        if there:
            yield Drawing(slug(kind, run.name), where, title, draw, run=run.name)
