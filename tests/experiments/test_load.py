"""The load generator against a real server of tiny models, and what the report makes of it."""

import asyncio

import numpy as np
import pytest

from experiments import load, replay, server_process, serving
from experiments.load import Ask
from tests.voiceloom.test_server import running
from voiceloom.scheduler import Policy
from voiceloom.waveform import pcm16

TEXT = "One two three four five six seven eight nine ten."


def test_a_client_hears_all_of_it_in_real_time(synth):
    with running(synth) as (url, _):
        asks = [Ask(TEXT, "anna"), Ask(TEXT, "bert", word_s=0.02)]
        heard = asyncio.run(load.in_turn(url, asks))
    assert all(turn.spoken is None and turn.heard_s == turn.audio_s > 1.0 for turn in heard)
    assert all(0 < turn.first_s and turn.report["busy_s"] > 0 for turn in heard)


def test_a_client_that_has_heard_enough_stops_the_stream(synth):
    with running(synth) as (url, _):
        (turn,) = asyncio.run(load.in_turn(url, [Ask(TEXT * 3, "anna", enough_s=0.6)]))
    assert turn.heard_s == 0.6 and TEXT.startswith(turn.spoken)
    assert turn.audio_s - 0.6 <= Policy().high_s + load.BUFFER_S  # and nothing beyond the mark


def test_who_finds_no_room_comes_again(synth):
    clients = [[Ask("It is late.", "anna")]] * 6
    with running(synth) as (url, _):
        heard = asyncio.run(load.at_once(url, clients, 0.0, [[0.0]] * 6))
        assert heard == [[]] * 6, "no time, no turn"
        heard = asyncio.run(load.at_once(url, clients, 0.5, [[0.0]] * 6))
    told = load.told([turn for turns in heard for turn in turns])
    assert told["turns"] >= 6 and told["refused"] >= 2  # four rows


def test_silence_is_not_audible():
    sound = np.zeros(2400, np.float32)
    assert load.first_audible(pcm16(sound)) is None
    sound[1000:] = 0.1
    assert load.first_audible(pcm16(sound)) == pytest.approx(0.04)


def test_the_servers_bounds_and_dispatches_are_read_back(synth):
    with running(synth) as (url, conductor):
        asyncio.run(load.in_turn(url, [Ask(TEXT, "anna")]))
        metrics = serving.Server(url, None, 0.0).metrics()
        costs = server_process.costs(metrics)
        for streams, frames in ((1, 1), (4, 8), (3, 5)):
            assert costs(streams, frames) == pytest.approx(conductor.costs(streams, frames))
    spread = server_process.spread(metrics)
    assert 1 in spread and set(spread) <= set(range(1, 9))
    for parts in spread.values():
        assert len(parts) == 100 and parts == sorted(parts) and parts[0] >= 0


def test_dispatches_are_told_apart_by_their_frames_however_slow():
    bucket = 'voiceloom_dispatch_of_bound_bucket{{frames="{}",le="{}"}}'.format
    within = {(1, "0.5"): 2, (1, "1.0"): 4, (1, "+Inf"): 4, (8, "0.5"): 0, (8, "1.0"): 0}
    metrics = {bucket(*key): count for key, count in (within | {(8, "+Inf"): 4}).items()}
    assert server_process.above_bound(metrics) == 0.5
    spread = server_process.spread(metrics)
    assert spread[8] == [1.0] * 100, "beyond the last edge: as slow as can be told"
    assert np.mean(np.array(spread[1]) <= 0.5) == 0.5 and max(spread[1]) <= 1.0


def test_the_simulator_is_given_the_turns_that_were_heard(synth):
    asks, thinks = [[Ask(TEXT, "anna"), Ask(TEXT, "bert", enough_s=0.5)]], [[0.1, 0.2]]
    with running(synth) as (url, _):
        turns = asyncio.run(load.at_once(url, asks, 3.0, thinks))
        metrics = serving.Server(url, None, 0.0).metrics()
    bounds, world = replay.of_server(turns, metrics)
    found = replay.simulate(asks, thinks, turns, bounds, world, 30.0)
    assert found.agents == 1 and found.turns >= 2 and found.underrun_ms_per_min == 0.0


def test_the_report_shows_every_part():
    told = {
        "turns": 3, "audio_s": 9.0, "first_ms": [12.0, 20.0], "audible_ms": [40.0, 60.0],
        "dry_ms_per_min": 0.0, "dry_turns": 0, "refused": 1, "wasted": 0.1,
    }  # fmt: skip
    crowd = told | {
        "streams": 16,
        "took_s": 60.0,
        "above_bound": 0.01,
        "server_cores": 1.2,
        "clients_cores": 0.1,
    }
    outcome = {"first_audio_s": [0.03, 0.04], "underrun_ms_per_min": 0.0, "wasted": 0.1}
    found = {
        "machine": "here",
        "one": {"start_s": 8.0, "whole": told, "words": told, "real_time_factor": 0.04},
        "many": [crowd],
        "overload": crowd | {"streams": 48},
        "interrupt": {
            "interruptions": 4, "right": {"pointer": 4, "aligner": 3}, "wasted_s": [1.0, 2.0],
            "after_s": 0.0,
        },
        "simulator": [{"agents": 6, "measured": told, "simulated": outcome}],
        "peers": [{"who": "Voiceloom, 4 streams", "speed": 50.0},
                  {"who": "piper", "speed": 20.0, "first_ms": [100.0, 200.0]}],
    }  # fmt: skip
    table = serving.markdown(found)
    for part in ("| all text at once | 12 / 20 |", "| 48 |", "in 3 by the aligner", "simulated",
                 "| piper | 20.0 | 100 / 200 |", "8.0 s"):  # fmt: skip
        assert part in table
    assert len(serving.picture(found).axes) == 2
