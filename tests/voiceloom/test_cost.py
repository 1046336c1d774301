"""Costs add up, and are measured on an engine that runs."""

import pytest
from matplotlib.figure import Figure

from voiceloom import cost, weights
from voiceloom.engine import Engine


def test_an_interaction_is_its_turns_and_what_nobody_heard():
    assert cost.Turns(10, 6.0, 0.0).made_s() == 60.0
    assert cost.Turns(10, 6.0, 1.0).made_s(unheard_s=2.0) == 50.0  # half a turn and the lead
    assert cost.Turns(10, 1.0, 1.0).made_s(unheard_s=2.0) == 10.0  # no more than there is to say


def test_the_price_is_that_of_the_time():
    load = cost.Load(streams=4, tokens_per_s=100.0, first_s=0.02, work_s=0.01)
    assert load.price(0.36, 3600.0) == pytest.approx(0.0036 / (1 - cost.HEADROOM))


def test_every_row_of_a_batch_is_measured_and_told(release):
    loaded = weights.load(release)
    loads = [
        cost.measure(Engine(cost.with_books(loaded, books)), streams, 0.01)
        for books in (3, 4)
        for streams in (1, 2)
    ]
    assert [load.tokens_per_s for load in loads] == [37.5, 37.5, 50.0, 50.0]
    assert all(0 < load.first_s and 0 < load.work_s for load in loads)
    told = cost.table(loads, 0.1)
    assert told.count("\n| 37.5 |") == 2 and told.count("\n| 50 |") == 2
    axes = Figure().subplots(1, 2)
    cost.picture(axes, loads)
    assert [len(axis.lines) for axis in axes] == [2, 2]
