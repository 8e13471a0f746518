"""`iwae sample`: draw images from the model's prior."""

from pathlib import Path

import click

from iwae_cli.cli.options import as_json, device, output, trained_runs
from iwae_cli.cli.output import print_results

LARGEST_GRID = 10_000


@click.command()
@trained_runs
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

    The latents are drawn through all stochastic layers; shown are the means of the
    pixels given them, black at 0 and white at 1, or at the lowest and highest 2 % of
    them where the likelihood is gaussian.

    \b
    Examples:
      iwae sample
      iwae sample --count 25 --seed 1 --output samples.png
      iwae sample RUN_A RUN_B
    """
    from iwae_cli.core.atomic_write import writing
    from iwae_cli.evaluation.visualisation import sample as draw
    from iwae_cli.reports.figures.images import image_grid
    from iwae_cli.reports.figures.style import save_png
    from iwae_cli.runs.unsaved import run_folder_of

    results = []
    for path in paths:
        folder, _ = run_folder_of(path)
        file = output or folder.file("plots/samples.png")
        images = draw(path, count=count, seed=seed, device=device)
        with writing(file):
            save_png(image_grid(images), file)
        run = folder.path.resolve().name
        results.append({"run": run, "count": count, "seed": seed, "file": str(file)})
    print_results(results, as_json=as_json)
