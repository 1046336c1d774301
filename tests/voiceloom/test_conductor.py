"""Many sessions on one thread: the same speech as alone, nobody beyond the mark, all cleaned up."""

import threading
import time

import numpy as np
import pytest

import voiceloom
from voiceloom import spoken
from voiceloom.conductor import Busy, Conductor, Costs, measure_costs
from voiceloom.scheduler import Policy
from voiceloom.waveform import Chunk, Onset

FAST = Costs({4: 0.004}, {4: 0.001}, 0.005)
TEXTS = ("One two three.", "Blue birds sing! And then?", "It is far.", "Nine ships left the bay.")


@pytest.fixture
def conductor(synth):
    """Four rows, always, so that every run is the same executable."""
    made = Conductor(synth, sizes=(4,), costs=FAST)
    yield made
    made.close()
    assert not made.sessions and not made._batch.slots


def say(conductor, i, pieces=None, **how):
    session = conductor.open(("anna", "bert")[i % 2], seed=i, **how)
    for piece in pieces or [TEXTS[i % 4]]:
        session.feed(piece)
    session.flush()
    return Chunk.join(list(session))


def test_a_session_is_the_same_alone_and_in_company(conductor):
    alone = [say(conductor, i) for i in range(4)]
    together = [None] * 4

    def client(i):
        time.sleep(0.01 * i)
        together[i] = say(conductor, i, pieces=list(TEXTS[i]))

    threads = [threading.Thread(target=client, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.codes, b.codes)
        np.testing.assert_array_equal(a.samples, b.samples)
        assert a.onsets == b.onsets


def test_nothing_is_made_beyond_the_mark_while_nobody_listens(synth):
    conductor = Conductor(synth, Policy(high_s=1.2, low_s=0.4), sizes=(4,), costs=FAST)
    session = conductor.open("anna", seed=0)
    session.feed("A long, long sentence, which nobody hears, goes on and on and on and on. " * 4)
    session.flush()
    begun = time.perf_counter()
    while not session.given_s and time.perf_counter() - begun < 60:
        time.sleep(0.01)
    for _ in range(20):
        time.sleep(0.05)
        assert session.lead_s(time.perf_counter()) <= 1.2
    session.cancel()
    list(session)
    conductor.close()


def test_who_would_be_one_too_many_is_told_when_to_come_back(synth):
    slow = Costs({4: 0.0}, {4: 0.07}, 0.005)
    conductor = Conductor(synth, Policy(headroom=0.1, delay_s=0.0), sizes=(4,), costs=slow)
    held = [conductor.open("anna", seed=i) for i in range(4)]
    with pytest.raises(Busy, match="4 streams") as refused:
        conductor.open("anna", seed=9)
    assert refused.value.retry_after_s > 0
    held[0].cancel()
    assert list(held[0]) == []
    conductor.open("anna", seed=9).cancel()
    conductor.close()
    with pytest.raises(Busy):
        conductor.open("anna", seed=1)


def test_what_cannot_be_said_reaches_the_client_and_nobody_else(conductor):
    good, bad = conductor.open("anna", seed=0), conductor.open("anna", seed=1)
    bad.feed("🎉")
    bad.flush()
    good.feed(TEXTS[0])
    good.flush()
    with pytest.raises(voiceloom.TextError):
        list(bad)
    assert len(list(good)) > 0
    with pytest.raises(voiceloom.VoiceError):
        conductor.open("nobody", seed=0)
    empty = conductor.open("anna", seed=0)
    empty.flush()
    with pytest.raises(voiceloom.TextError):
        list(empty)


def test_a_dispatch_that_fails_is_told_to_all_and_the_next_are_served(conductor, monkeypatch):
    def broken(*_):
        raise RuntimeError("the device is out of memory")

    sessions = [conductor.open("anna", seed=i) for i in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(conductor._synth.engine, "generate", broken)
        for session in sessions:
            session.feed(TEXTS[0])
            session.flush()
        for session in sessions:
            with pytest.raises(RuntimeError, match="out of memory"):
                list(session)
    assert say(conductor, 1).duration_s > 0


def test_an_interruption_stops_and_divides_the_text(conductor):
    session = conductor.open("anna", seed=3)
    text = "One two three four five six seven eight nine ten. " * 6
    session.feed(text)
    chunks = iter(session)
    for _ in range(4):
        next(chunks)
    said = session.interrupt(session.given_s / 2)
    made = session.given_s
    rest = list(chunks)
    assert said.text_spoken + said.text_remaining == text and said.text_remaining
    assert session.given_s == made, "what was being made came after all"
    assert session.closed and all(chunk.duration_s > 0 for chunk in rest)


def test_a_session_that_waits_for_text_keeps_nobody_waiting(conductor):
    idle = conductor.open("anna", seed=0)
    idle.feed("Not yet a sentence")
    assert say(conductor, 1).duration_s > 0
    assert not idle.closed
    idle.feed(".")
    idle.flush()
    assert Chunk.join(list(idle)).duration_s > 0


def test_draining_waits_for_the_streams_and_takes_nobody_in(conductor):
    session = conductor.open("anna", seed=0)
    session.feed(TEXTS[0])
    session.flush()
    assert conductor.drain(60.0) and session.closed
    with pytest.raises(Busy):
        conductor.open("anna", seed=0)


def test_costs_are_bounds_per_size_of_batch(synth):
    costs = measure_costs(synth, sizes=(1, 4), times=2)
    assert 0 < costs(1, 1) <= costs(1, 8) and costs(3, 2) == costs(4, 2)
    assert costs(5, 1) == float("inf")


def onset(symbol, span, time_s):
    return Onset(symbol, 0, 0, span, time_s)


@pytest.mark.parametrize(
    "offset_s, said",
    [
        (0.0, ""),
        (0.44, ""),
        (0.46, "Two "),
        (1.2, "Two "),
        (1.6, "Two $3, "),
        (2.9, "Two $3, now."),
        (9.0, "Two $3, now."),
    ],
)
def test_a_word_counts_when_more_than_half_of_it_was_heard(offset_s, said):
    """ "Two" from .2 to .7, "$3" from .7 to 1.9, its comma, "now" from 2.2 to 2.8."""
    onsets = [
        onset("t", (0, 3), 0.2), onset("u", (0, 3), 0.4), onset("θ", (4, 6), 0.7),
        onset("d", (4, 6), 1.0), onset(",", (6, 7), 1.9), onset("n", (8, 11), 2.2),
        onset(".", (11, 12), 2.8),
    ]  # fmt: skip
    found = spoken.at("Two $3, now.", onsets, 3.0, offset_s)
    assert found.text_spoken == said and "".join(found) == "Two $3, now."


@pytest.mark.parametrize("to_come, half_s", [(0, 0.38), (1, 0.5), (2, 0.6)])
def test_of_a_word_that_breaks_off_what_is_to_come_counts(to_come, half_s):
    """From .2 on, phones of .2 s; what has been made ends at .56."""
    onsets = [onset("θ", (0, 5), 0.2), onset("ɹ", (0, 5), 0.4)]
    before, after = (
        spoken.at("three ships", onsets, 0.56, half_s + by_s, to_come) for by_s in (-0.01, 0.01)
    )
    assert before.text_spoken == "" and after.text_spoken == "three "


def test_what_is_to_come_of_a_word_is_what_comes(conductor):
    session, chunks = conductor.open("anna", seed=0), []
    done = threading.Event()

    def deliver(chunk):
        chunks.append((chunk, session.to_come))
        if chunk is None:
            done.set()
        else:
            session.taken(chunk)

    session.listen(deliver)
    session.feed("Remarkable conversations, interrupted unexpectedly.")
    session.flush()
    assert done.wait(60)
    onsets = [[o.span for o in chunk.onsets] for chunk, _ in chunks[:-1]]
    for i, (_, to_come) in enumerate(chunks[:-1]):
        begun, after = sum(onsets[: i + 1], []), sum(onsets[i + 1 :], [])
        assert to_come == sum(span == begun[-1] for span in after) if begun else to_come == 0
    assert any(to_come for _, to_come in chunks), "no word broke off: the test shows nothing"


def test_an_end_that_cannot_be_spoken_is_an_end(conductor):
    assert say(conductor, 0, pieces=["One two three. ", "🎉"]).duration_s > 0
