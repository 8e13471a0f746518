"""How long a run will take."""

import time
from functools import partial

import pytest

from iwae_cli.core import progress


def test_a_forecast_leaves_out_the_slow_start_and_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    forecast, done, told = progress.Forecast(total=1000), 0.0, []
    while now < 30:
        now += 0.5
        done += 0.5 if now <= progress.SLOW_SECONDS else 5.0  # 10 a second after the start
        if (left := forecast.seconds_left(partial(float, done))) is not None:
            told.append((now, done, left))
    ((when, then, left),) = told
    assert when == progress.SLOW_SECONDS + progress.MEASURED_SECONDS
    assert left == pytest.approx((1000 - then) / 10)


def test_work_that_is_over_soon_has_no_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    forecast = progress.Forecast(total=10)
    for now in (1.0, 2.0, 4.0, 6.0):
        assert forecast.seconds_left(partial(float, now)) is None
