"""The commands that draw from a trained model: parse, call, print."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from iwae_cli import terminal
from iwae_cli.core.errors import UsageError
from iwae_cli.options import as_json, checkpoint, checkpoints, counts, device, seed, split

LARGEST_GRID = 10_000


def file_ending(suffix: str) -> Callable[[click.Context, click.Parameter, Path | None], Any]:
    """Return the check of an option that names a file with this ending."""

    def check(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
        if value is not None and value.suffix != suffix:
            raise click.BadParameter(f"'{value}' does not end in {suffix}")
        return value

    return check


def output(suffix: str, default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option --output for files with this ending."""
    return click.option(
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar=f"FILE{suffix}",
        callback=file_ending(suffix),
        help=f"Where to write it.  [default: {default} in the run's folder]",
    )


def chosen(paths: Sequence[Path], output: Path | None) -> Sequence[Path]:
    """Return the checkpoints asked for, or the newest run's; one alone with --output."""
    if output and len(paths) > 1:
        raise UsageError(f"--output names one file, but there are {len(paths)} checkpoints")
    return checkpoints(paths)


def print_results(results: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print what was written for each run."""
    if as_json:
        terminal.print_json(results)
        return
    for result in results:
        terminal.print_fields(result)


@click.command()
@checkpoint
@click.option(
    "--count", type=click.IntRange(min=1, max=LARGEST_GRID), default=100, help="Images to draw."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the latents.")
@output(".png", "plots/samples.png")
@device
@as_json
def sample(
    paths: tuple[Path, ...],
    count: int,
    seed: int,
    output: Path | None,
    device: str,
    as_json: bool,
) -> None:
    r"""Draw images from the model's prior as a PNG grid.

    The latents are drawn through all stochastic layers; shown are the Bernoulli
    means of the pixels, black at 0 and white at 1.

    \b
    Examples:
      iwae sample
      iwae sample --count 25 --seed 1 --output samples.png
      iwae sample --checkpoint RUN_A --checkpoint RUN_B
    """
    from iwae_cli.core.atomic_write import writing
    from iwae_cli.evaluation.visualisation import sample as draw
    from iwae_cli.reports.figures.images import image_grid
    from iwae_cli.reports.figures.style import save_png
    from iwae_cli.runs.folder import run_folder_of

    results = []
    for path in chosen(paths, output):
        images = draw(path, count=count, seed=seed, device=device)
        folder, _ = run_folder_of(path)
        file = output or folder.plots / "samples.png"
        with writing(file):
            save_png(image_grid(images), file)
        run = folder.path.resolve().name
        results.append({"run": run, "count": count, "seed": seed, "file": str(file)})
    print_results(results, as_json=as_json)


@click.command()
@checkpoint
@click.option(
    "--objective",
    multiple=True,
    metavar="NAME[,KEY=VALUE]",
    default=("iwae", "dreg"),
    help="Estimators; may be repeated, iwae is always there.",
)
@click.option("--k", metavar="K[,K...]", default="1,4,16,64", callback=counts, help="Samples.")
@click.option("--draws", type=click.IntRange(min=2), default=200, help="Repetitions.")
@click.option("--images", type=click.IntRange(min=1), default=32, help="Size of the minibatch.")
@split(default="train")
@seed
@device
@as_json
def gradients(paths: tuple[Path, ...], as_json: bool, **options: Any) -> None:  # noqa: ANN401  (as click parses them)
    r"""Measure noise and bias of gradient estimators.

    One minibatch is binarised once; the trained model's gradient on it is drawn
    again and again with other noise, for each estimator and k. Writes
    gradients.csv and plots/gradients.png into the run's folder, a row for each
    k, estimator and network.

    
    |mean|    length of the expected gradient
    variance  of one draw, summed over the parameters
    SNR       |mean| / standard deviation, the median over parameters
    bias      length of the expected difference to the gradient of iwae
    t, p      largest of 8 paired t-statistics of that difference, and the
              probability of one as large if there were no bias

    
    Examples:
      iwae gradients
      iwae gradients --objective dreg --objective stl --k 1,8,64 --draws 500
      iwae gradients --objective vr,alpha=0.5 --images 100 --json
    """
    from iwae_cli.evaluation.gradients import gradients as measure
    from iwae_cli.reports.figures.gradients import write_gradient_plot
    from iwae_cli.runs.folder import run_folder_of

    rows: list[terminal.Row] = []
    for path in checkpoints(paths):
        new = measure(path, **options)
        folder, _ = run_folder_of(path)
        plot = write_gradient_plot(folder.gradients)
        rows += new
        if not as_json:
            terminal.print_table(new, terminal.GRADIENTS, title=str(new[0]["run"]))
            terminal.print_fields({"csv": str(folder.gradients), "plot": str(plot)})
    if as_json:
        terminal.print_json(rows)


@click.command()
@checkpoint
@split(default="test")
@click.option(
    "--k", type=click.IntRange(min=1), default=50, help="Draws per image that are weighted."
)
@click.option(
    "--samples", type=click.IntRange(min=1), default=1, help="Samples per image to keep of them."
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many images.")
@seed
@output(".npz", "encoding_SPLIT.npz")
@device
@as_json
def encode(
    paths: tuple[Path, ...],
    output: Path | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401  (as click parses them)
) -> None:
    r"""Write posterior means and samples of a split to npz.

    Of --k draws of the recognition network, --samples are chosen with replacement
    by their importance weights: samples of the true posterior as k grows.

    \b
    Arrays, one row an image, for each stochastic layer 1, 2, ...:
      mean_1, ...    [N, H]           mean of the recognition network: exact in
                                      layer 1, above it over k draws, unweighted
      sample_1, ...  [N, SAMPLES, H]  the chosen draws; layers belong together
      ess            [N]              effective sample size of the k draws
      settings                        JSON: run, data, split, k, samples, seed

    \b
    Examples:
      iwae encode
      iwae encode --split train --k 500 --samples 10 --output latents.npz
      iwae encode --checkpoint RUN --limit 1000 --json
    """
    from iwae_cli.evaluation.encoding import encode as write_encoding

    results = [write_encoding(path, output=output, **options) for path in chosen(paths, output)]
    print_results(results, as_json=as_json)
