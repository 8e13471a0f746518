"""What a run says as it starts: of its data's values, and of a run by a former default."""

import dataclasses
import logging

from iwae_cli.data.arrays import Arrays
from iwae_cli.runs.checkpoint import Checkpoint
from iwae_cli.training.recipes.kfac import Kfac
from iwae_cli.training.resolve import ResolvedRun, prepare

log = logging.getLogger("iwae")


def say_of_former_default(run: ResolvedRun) -> None:
    """Log how to go on with an unfinished run that the same command started in version 0.2."""
    if run.components.recipe != Kfac():
        return
    former = prepare(dataclasses.replace(run.settings, optimizer={"name": "paper"}))
    if not former.folder.checkpoint.exists():
        return
    done = Checkpoint.read(former.folder.checkpoint).training.pass_index
    if done < former.components.recipe.total_passes:
        log.info(
            "the unfinished run %s of the former default goes on with optimizer=paper",
            former.folder.path,
        )


def say_of_values(run: ResolvedRun) -> None:
    """Log what is done with the user's grey values, or what to do with real ones."""
    if not isinstance(run.components.source, Arrays):
        return
    if run.binarisation.random:
        log.info(
            "grey values are binarised anew at every use, as in the paper; "
            "likelihood=continuous_bernoulli takes them as they are"
        )
    if run.components.likelihood.real:
        widest = float(run.dataset.train.std(axis=0).max())
        if not 0.1 <= widest <= 10:
            log.warning(
                "warning: the values have standard deviations up to %.3g: training works best "
                "where columns have mean 0 and deviation 1",
                widest,
            )
