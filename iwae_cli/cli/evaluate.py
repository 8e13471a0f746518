"""`iwae eval`: estimate the test NLL."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from iwae_cli.cli.completion import estimators_completed
from iwae_cli.cli.options import (
    as_json,
    counts,
    data_file,
    device,
    results,
    seed,
    split,
    trained_runs,
)
from iwae_cli.cli.output import Row, line_width, print_json, print_results, print_table
from iwae_cli.core.errors import UsageError

EVALUATED = {"split": "split", "images": "images", "estimator": "estimator", "k": "k"}
EVALUATED |= {"nll": "NLL", "bound_kind": "bound", "bias_jackknife": "bias"}
EVALUATED |= {"se_images": "se (images)", "se_mc": "se (MC)", "share_khat_above_0.7": "k-hat > 0.7"}
EVALUATED |= {"negative_elbo": "-ELBO", "images_per_second": "images/s"}
BOUNDED = {"images": "images", "estimator": "estimator", "k": "k", "lower": "log p >="}
BOUNDED |= {"upper": "log p <=", "gap": "gap", "se_gap": "se (gap)"}
SIMULATED = "Mean log p(x) of images drawn from the model itself, nats per image"
SIMULATED_IMAGES = 100
# Below a table that has both
ERRORS = (
    "se (images): what other images would change; se (MC): what other samples of the latents "
    "would, to first order. Neither covers the binarisation of grey images: compare --seed."
)
# What a narrow terminal does without, in this order
SPARE = (
    "images_per_second",
    "negative_elbo",
    "bound_kind",
    "bias_jackknife",
    "share_khat_above_0.7",
    "split",
)


@click.command("eval")
@trained_runs
@click.option("--k", metavar="K[,K...]", default="5000", callback=counts, help="Samples.")
@split(default="test")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many images.")
@click.option(
    "--estimator",
    metavar="NAME[,KEY=VALUE]",
    default="L_k",
    shell_complete=estimators_completed,
    help="L_k, jvi (order=1), vr (alpha=0.5) or ais of log p(x).",
)
@click.option(
    "--proposal",
    type=click.Choice(["q", "laplace"]),
    default="q",
    help="What L_k draws from.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "auto"]),
    default="float32",
    help="Of matrix products.",
)
@click.option("--sandwich", is_flag=True, help="Bounds from both sides, on simulated images.")
@data_file
@results
@seed
@device
@as_json
def evaluate(
    paths: tuple[Path, ...],
    as_json: bool,
    data: Path | None,
    output: Path | None,
    sandwich: bool,
    **options: Any,  # noqa: ANN401  (as click parses them)
) -> None:
    r"""Estimate the test NLL by L_k, in nats per image.

    Rows that eval.csv of the run already has are not computed again. The column
    'bound' says what the estimate of log p(x) is in expectation: a lower or an
    upper bound, or neither. 'se (images)' is the standard error over images; 'se (MC)'
    that of the samples of the latents alone, to first order: too small for heavy-tailed
    weights, and without the binarisation of the images, which another --seed changes.
    A checkpoint outside a run folder, as `iwae export`
    makes it, leaves no file unless --output says where.

    \b
    Examples:
      iwae eval
      iwae eval --k 1,5,50,5000 --split valid
      iwae eval --estimator jvi,order=1 --k 50
      iwae eval --estimator ais,temperatures=100,chains=16,leapfrogs=10 --limit 1000
      iwae eval RUN_A RUN_B --limit 1000 --json
      iwae eval --proposal laplace --k 500
      iwae eval --sandwich --limit 100 --k 500
      iwae eval RUN --data new.npy

    ais is annealed importance sampling by Hamiltonian chains from q(h | x) to p(h | x):
    nearer to log p(x) than L_k, slower, and a lower bound too. Its step sizes are
    found on training images and kept in the run's folder; stopped, it goes on later.

    --proposal laplace draws from a Laplace approximation of each image's posterior,
    mixed with q: a lower bound that needs far fewer samples than those of q.

    --sandwich draws 100 images (or --limit) from the model with their latents, for
    which there is an upper bound too: the gap says how near L_k, or ais from both
    ends, comes to log p(x) of simulated images, not of the data.

    With --data, log p(x) of each image of FILE goes to a CSV of its own, with its
    standard error and effective sample size: for outlier detection, say. Where FILE
    holds the very data that the run was trained on, wherever it lies now, it stands
    for them, and the run is evaluated as ever.
    """
    if data and sandwich:
        raise UsageError("--sandwich draws its images from the model: leave out --data")
    if data and not are_own(paths, data):
        print_results([scored(path, data, output, options) for path in paths], as_json=as_json)
        return
    if options["estimator"].split(",")[0] == "ais" and given("k"):
        raise UsageError("--k is not for ais: say how many chains, as in ais,chains=16")
    if sandwich:
        bounds = [bounded(path, output, options) for path in paths]
        if as_json:
            print_json(bounds)
        else:
            print_table(bounds, {"run": "run", **BOUNDED}, title=SIMULATED, spare=("run",))
        return
    from iwae_cli.evaluation.evaluate import evaluate as estimate

    rows: list[Row] = []
    for path in paths:
        new = estimate(path, output=output, data=data, **options)
        rows += new
        if not as_json:
            print_table(new, EVALUATED, title=titled(new[0]), spare=SPARE)
    if as_json:
        print_json(rows)
    else:
        click.echo(click.wrap_text(ERRORS, min(line_width(), 100)))


def are_own(paths: tuple[Path, ...], data: Path) -> bool:
    """Whether a file holds the data that the runs were trained on, which may have moved.

    Raises:
        UsageError: It does so for some of them.
    """
    from iwae_cli.evaluation.trained_run import is_own

    own = [path for path in paths if is_own(path, data)]
    if own and len(own) < len(paths):
        raise UsageError(f"{data} holds the data of {own[0]} and not of the others: name one run")
    return bool(own)


def titled(row: Row) -> str:
    """Return the name of a run, and its likelihood unless that is Bernoulli."""
    name, likelihood = str(row["run"]), str(row["likelihood"])
    return name if likelihood == "bernoulli" else f"{name}, likelihood {likelihood}"


def bounded(path: Path, output: Path | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return lower and upper bounds on simulated images.

    Raises:
        UsageError: An option that has no meaning for them, or several --k.
    """
    from iwae_cli.evaluation.sandwich import sandwich

    for name in ("split", "precision"):
        if given(name):
            raise UsageError(f"--{name} is for the images of a data set, not for --sandwich")
    if len(options["k"]) > 1:
        raise UsageError("--sandwich takes one --k")
    shared = {name: options[name] for name in ("estimator", "proposal", "seed", "device")}
    images = options["limit"] or SIMULATED_IMAGES
    return sandwich(path, images=images, k=options["k"][0], output=output, **shared)


def given(name: str) -> bool:
    """Return whether an option was typed."""
    source = click.get_current_context().get_parameter_source(name)
    return source is not click.core.ParameterSource.DEFAULT


def scored(
    path: Path, data: Path, output: Path | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Score the images of a file; refuse the options that have no meaning then.

    Raises:
        UsageError: One of them is given.
    """
    from iwae_cli.evaluation.scores import score

    for name in ("split", "estimator", "proposal", "precision"):
        if given(name):
            raise UsageError(f"--{name} is for the images of a data set, not for --data")
    if len(options["k"]) > 1:
        raise UsageError("--data takes one --k")
    shared = {name: options[name] for name in ("limit", "seed", "device")}
    return score(path, data, k=options["k"][0], output=output, **shared)
