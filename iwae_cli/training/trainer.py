"""The training loop: batches, binarisation, recipe, progress, stop and resume."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from iwae_cli.core.errors import NonFiniteError, Stopped
from iwae_cli.core.progress import Forecast, ProgressReport
from iwae_cli.core.seeding import derived_seed, set_generator
from iwae_cli.core.signals import StopSignals, named
from iwae_cli.data.binarisation import Binarisation
from iwae_cli.models.iwae import IWAE
from iwae_cli.objectives.base import Objective
from iwae_cli.runs.metrics import Metrics
from iwae_cli.runs.training_state import TrainingState
from iwae_cli.training.cuda_graph import update_of
from iwae_cli.training.recipes.base import Recipe
from iwae_cli.training.step import Update, set_learning_rate
from iwae_cli.training.validation import validation_bound

# Steps between two looks at the bound on a GPU, which has to be waited for.
CHECK_STEPS = 100


class Trainer:
    """One run's training: all that changes while it trains, and how a step changes it.

    Args:
        model: On the device of `train`.
        objective: The estimator.
        recipe: Optimiser, batch size, passes, learning rate and growth of k.
        k: Samples an image at the end of training.
        seed: Of the order of images, the binarisation and the noise.
        train: Training images in [0, 1], [N, D].
        valid: Held-out images, [N', D]; may have no rows.
        binarisation: Of the images.
    """

    def __init__(
        self,
        model: IWAE,
        objective: Objective,
        recipe: Recipe,
        *,
        k: int,
        seed: int,
        train: Tensor,
        valid: Tensor,
        binarisation: Binarisation,
    ) -> None:
        self.model, self.objective, self.recipe = model, objective, recipe
        self.k, self.seed, self.binarisation = k, seed, binarisation
        self.train, self.valid = train, valid
        self.optimizer = recipe.build(model, train, binarisation=binarisation)
        self.generator = torch.Generator(train.device)
        self.generator.manual_seed(derived_seed(seed, "training"))
        self.batch_size = recipe.images_per_step(len(train))
        self.steps_per_pass = math.ceil(len(train) / self.batch_size)
        self.pass_index = self.step_in_pass = 0
        self.order = torch.arange(len(train), device=train.device)
        self._bounds = torch.zeros((), dtype=torch.float64, device=train.device)
        self.seconds = 0.0
        plain = Update(
            model,
            self.optimizer,
            self.generator,
            recipe.reduction,
            binarisation,
            recipe.all_rows,
            min(self.batch_size, len(train)),
        )
        self.update = update_of(plain, capturable=recipe.capturable, objective=objective)
        self.metrics: list[Metrics] = []

    @property
    def steps(self) -> int:
        """Steps taken so far."""
        return self.pass_index * self.steps_per_pass + self.step_in_pass

    @property
    def finished(self) -> bool:
        """Whether all passes are done."""
        return self.pass_index >= self.recipe.total_passes

    def state_dict(self) -> TrainingState:
        """Return all that `load_state_dict` needs but the model's and optimiser's own states.

        Raises:
            NonFiniteError: A parameter is NaN or infinite, so this state must not be saved.
        """
        if not all(bool(p.isfinite().all()) for p in self.model.parameters()):
            raise NonFiniteError(f"a parameter is NaN or infinite after step {self.steps}")
        return TrainingState(
            pass_index=self.pass_index,
            step_in_pass=self.step_in_pass,
            steps=self.steps,
            order=self.order.cpu().int(),
            bound_sum=self.bound_sum,
            seconds=self.seconds,
            generator=self.generator.get_state(),
            metrics=list(self.metrics),
        )

    def load_state_dict(self, state: TrainingState) -> None:
        """Continue from what `state_dict` returned.

        Raises:
            ValueError: It is of an exported model or of another device.
        """
        set_generator(self.generator, state.generator)
        self.pass_index, self.step_in_pass = state.pass_index, state.step_in_pass
        assert state.order is not None
        self.order = state.order.long().to(self.train.device)
        self._bounds.fill_(state.bound_sum)
        self.seconds = state.seconds
        self.metrics = list(state.metrics)

    def step(self) -> None:
        """Take one step of the optimiser on the next minibatch.

        Raises:
            NonFiniteError: The bound is NaN or infinite.
        """
        if self.step_in_pass == 0 and self.recipe.shuffle:
            self.order = torch.randperm(
                len(self.train), generator=self.generator, device=self.train.device
            )
        start = self.step_in_pass * self.batch_size
        chosen = self.order[start : start + self.batch_size]
        grey = self.train.index_select(0, chosen)
        position = self.pass_index + self.step_in_pass / self.steps_per_pass
        set_learning_rate(self.optimizer, self.recipe.rates.at(position))
        k = self.recipe.k_at(self.pass_index, self.k)
        objective = self.objective.at(position / self.recipe.total_passes)
        self._bounds += self.update(grey, k, objective)
        self.step_in_pass += 1
        on_host = self._bounds.device.type == "cpu"
        if on_host or self.step_in_pass % CHECK_STEPS == 0:
            self._check_bound()

    @property
    def bound_sum(self) -> float:
        """Sum of the bounds of this pass so far; waits for the device."""
        return float(self._bounds)

    def _check_bound(self) -> None:
        if not math.isfinite(self.bound_sum):
            raise NonFiniteError(
                f"the bound is {self.bound_sum} at step {self.steps} (pass {self.pass_index + 1})"
            )

    def run(
        self,
        *,
        save: Callable[[], None],
        on_pass: Callable[[Metrics], None],
        checkpoint_seconds: float,
        validate_passes: int,
        on_forecast: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Train to the end of the recipe.

        Args:
            save: Called every `checkpoint_seconds`, at the end, and when a signal stops training.
            on_pass: Called with the metrics of each finished pass.
            checkpoint_seconds: Time between two checkpoints.
            validate_passes: Passes between two validation bounds; 0 for none.
            on_forecast: Called once, after some seconds, with the seconds that are left.

        Raises:
            Stopped: A signal of `core.signals` arrived; the current step was ended and saved.
            NonFiniteError: The bound or a parameter became NaN or infinite.
        """
        last_save = last = time.monotonic()
        total = self.recipe.work(self.k, self.recipe.total_passes)
        forecast = Forecast(total)
        with (
            StopSignals() as signals,
            ProgressReport("train", total=total, done=self._work_done()) as report,
        ):
            while not self.finished:
                self.step()
                now = time.monotonic()
                self.seconds, last = self.seconds + now - last, now
                if report.due():
                    report.update(self._work_done(), self._describe())
                if (left := forecast.seconds_left(self._work_done)) is not None:
                    on_forecast(left)
                if self.step_in_pass == self.steps_per_pass:
                    on_pass(self._finish_pass(validate_passes))
                    last = time.monotonic()
                if signals.received is not None:
                    save()
                    where = f"pass {self.pass_index + 1} of {self.recipe.total_passes}"
                    how = f"stopped by {named(signals.received)} after step {self.steps}"
                    raise Stopped(
                        f"{where}: {how}, all saved",
                        signal_number=signals.received,
                    )
                if now - last_save >= checkpoint_seconds:
                    save()
                    last_save = last = time.monotonic()
            save()

    def _work_done(self) -> float:
        done = self.recipe.work(self.k, self.pass_index)
        if self.finished:
            return done
        now = self.recipe.work(self.k, self.pass_index + 1) - done
        return done + now * self.step_in_pass / self.steps_per_pass

    def _images_in_pass(self) -> int:
        return min(self.step_in_pass * self.batch_size, len(self.train))

    def _describe(self) -> str:
        images = self._images_in_pass()
        return (
            f"pass {self.pass_index + 1}/{self.recipe.total_passes}  "
            f"k {self.recipe.k_at(self.pass_index, self.k)}  "
            f"bound {self.bound_sum / images:.2f}  {images / self.seconds:,.0f} images/s"
        )

    def _finish_pass(self, validate_passes: int) -> Metrics:
        self._check_bound()
        number, last = self.pass_index + 1, self.pass_index + 1 == self.recipe.total_passes
        due = validate_passes > 0 and (number % validate_passes == 0 or last)
        row = Metrics(
            pass_number=number,
            k=self.recipe.k_at(self.pass_index, self.k),
            learning_rate=self.recipe.rates.at(self.pass_index),
            train_bound=self.bound_sum / len(self.train),
            valid_bound=self._validation_bound(number) if due and len(self.valid) else math.nan,
            seconds=self.seconds,
            images_per_second=len(self.train) / self.seconds,
        )
        self.metrics.append(row)
        self.pass_index, self.step_in_pass = number, 0
        self._bounds.zero_()
        self.seconds = 0.0
        return row

    def _validation_bound(self, passes: int) -> float:
        objective = self.objective.at(passes / self.recipe.total_passes)
        return validation_bound(
            self.model, objective, self.valid, self.binarisation, k=self.k, seed=self.seed
        )
