"""`iwae gradients`: measure noise and bias of gradient estimators."""

from pathlib import Path
from typing import Any

import click

from iwae_cli.cli.completion import choice_of
from iwae_cli.cli.options import as_json, counts, device, seed, split, trained_runs
from iwae_cli.cli.output import Row, print_fields, print_json, print_table

GRADIENTS = {"k": "k", "objective": "objective", "network": "network", "mean_norm": "|mean|"}
GRADIENTS |= {"variance": "variance", "snr": "SNR", "bias_norm": "bias", "bias_t": "t"}
GRADIENTS |= {"bias_p": "p"}


@click.command()
@trained_runs
@click.option(
    "--objective",
    multiple=True,
    metavar="NAME[,KEY=VALUE]",
    default=("iwae", "dreg"),
    shell_complete=choice_of("objective"),
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
    gradients.csv and plots/gradients.png into the run's folder, if there is one, a
    row for each k, estimator and network.

    \b
    |mean|    length of the expected gradient
    variance  of one draw, summed over the parameters
    SNR       |mean| / standard deviation, the median over parameters
    bias      length of the expected difference to the gradient of iwae
    t, p      largest of 8 paired t-statistics of that difference, and the
              probability of one as large if there were no bias

    \b
    Examples:
      iwae gradients
      iwae gradients --objective dreg --objective stl --k 1,8,64 --draws 500
      iwae gradients --objective vr,alpha=0.5 --images 100 --json
    """
    from iwae_cli.evaluation.gradients import gradients as measure
    from iwae_cli.reports.figures.gradients import write_gradient_plot
    from iwae_cli.runs.unsaved import run_folder_of

    rows: list[Row] = []
    for path in paths:
        new = measure(path, **options)
        folder, _ = run_folder_of(path)
        rows += new
        if not as_json:
            print_table(new, GRADIENTS, title=str(new[0]["run"]))
        if folder.saved:
            plot = write_gradient_plot(folder.gradients)
            if not as_json:
                print_fields({"csv": str(folder.gradients), "plot": str(plot)})
    if as_json:
        print_json(rows)
