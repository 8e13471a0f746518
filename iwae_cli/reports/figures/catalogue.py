"""Which figures a report has: their names, titles and order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from iwae_cli.reports import objective_comparison
from iwae_cli.reports.figures import curves, images
from iwae_cli.reports.figures.objectives import comparison_figure
from iwae_cli.reports.formatting import slug
from iwae_cli.reports.labels import model_label
from iwae_cli.reports.published import objective_order
from iwae_cli.reports.run_record import RunRecord

TRAINED_ALIKE = ["data", "protocol", "architecture"]
SAME_BUT_SEED = [*TRAINED_ALIKE, "objective", "k", "first_objective", "first_k"]
HEAT_MAP = {"posterior_x", "posterior_axes", "true_posterior", "recognition"}


@dataclass(frozen=True)
class Drawing:
    """A figure with its file name, without ending, its section in the page, and its title."""

    name: str
    section: str
    title: str
    figure: Figure


def drawings(
    records: Sequence[RunRecord],
    scores: pd.DataFrame,
    cells: pd.DataFrame,
    compared: pd.DataFrame,
) -> Iterator[Drawing]:
    """Yield every figure of a report.

    Args:
        records: Those read from a runs.csv have no curves and no pictures of their own.
        scores: `run_tables.scores_table` of them; of several seeds the first is shown.
        cells: `results.result_cells`.
        compared: `objective_comparison.comparison_table` of them.
    """
    yield from against_k(cells)
    for place, own in compared.groupby(objective_comparison.PLACE):
        data, protocol, architecture, k, split, images, by_k, _ = place
        where = f"{data}, {architecture}, k={k} ({protocol})"
        title = f"Objectives: {where}; {images} {split} images, L_{by_k}"
        name = slug("objectives", *place)
        yield Drawing(name, "Objectives", title, comparison_figure(own))
    runs = {str(run.folder.path): run for run in records if run.source is None}
    own = scores[scores["folder"].isin(runs)]
    order = own["objective"].map(objective_order)
    shown = own.assign(order=order).sort_values([*TRAINED_ALIKE, "k", "order", "seed"])
    shown = shown.drop_duplicates(SAME_BUT_SEED)
    for place, group in shown.groupby(TRAINED_ALIKE):
        yield from of_models_together(place, group, runs)
    for score in shown.to_dict("records"):
        yield from of_one_run(score, runs[score["folder"]])


def against_k(cells: pd.DataFrame) -> Iterator[Drawing]:
    """Yield NLL and active units against k for each data set and protocol."""
    kinds: tuple[tuple[str, str, Callable[[pd.DataFrame], Figure]], ...] = (
        ("nll", "Test NLL", curves.nll_against_k),
        ("active", "Active units", curves.active_against_k),
    )
    for (data, protocol), own in cells.groupby(["data", "protocol"]):
        for column, title, draw in kinds:
            known = own[column].notna() & (own[column] != "")
            if known.any():
                name = slug(column, "against-k", data, protocol)
                title = f"{title} against k: {data} ({protocol})"
                yield Drawing(name, "Against k", title, draw(own))


def of_models_together(
    place: tuple[str, ...], scores: pd.DataFrame, runs: Mapping[str, RunRecord]
) -> Iterator[Drawing]:
    """Yield training curves and samples of the models of one data set, protocol, architecture."""
    where = f"{place[0]}, {place[2]} ({place[1]})"
    own = {model_label(s): runs[s["folder"]] for s in scores.to_dict("records")}
    metrics = {name: run.metrics for name, run in own.items() if len(run.metrics)}
    if metrics:
        figure = curves.training_curves(metrics)
        yield Drawing(slug("training", *place), "Training", f"Training: {where}", figure)
    for k, alike in scores.groupby("k"):
        names = [model_label(score) for score in alike.to_dict("records")]
        samples = {name: own[name].pictures.get("samples") for name in names}
        drawn = {name: array for name, array in samples.items() if array is not None}
        if drawn:
            figure = images.samples_side_by_side(drawn)
            title = f"Samples, as Bernoulli means, k={k}: {where}"
            yield Drawing(slug("samples", f"k{k}", *place), "Samples", title, figure)


def of_one_run(score: Mapping[str, Any], run: RunRecord) -> Iterator[Drawing]:
    """Yield the figures that show one run alone."""
    where = f"{model_label(score)}: {score['data']}, {score['architecture']} ({score['protocol']})"
    held = set(run.pictures)
    if held >= HEAT_MAP:
        title = f"True posterior and recognition density, {where}"
        figure = images.posteriors(run.pictures)
        yield Drawing(slug("posteriors", run.name), "Two latent units", title, figure)
    if len(run.active_units):
        title = f"Activity of the latent units, {where}"
        figure = curves.activity_histogram(run.active_units)
        yield Drawing(slug("activity", run.name), "Activity", title, figure)
    if held >= {"originals", "reconstructions"}:
        figure = images.reconstructions(run.pictures)
        title = f"Reconstructions, {where}"
        yield Drawing(slug("reconstructions", run.name), "Reconstructions", title, figure)
    if held >= {"first_layer_weights", "last_layer_weights"}:
        figure = images.weights(run.pictures)
        yield Drawing(slug("weights", run.name), "Weights", f"Weights, {where}", figure)
