"""The comparison of codecs: real bytes, fair distances, and a table and picture of them."""

import dataclasses
import json
import shutil
import subprocess

import numpy as np
import pytest

import voiceloom
from experiments import coders
from experiments.codec_quality import (
    METRICS,
    Row,
    bd_rate,
    draw,
    f0_distance,
    markdown,
    mel_distance,
    read_record,
    summarise,
    with_babble,
)
from tests.voiceloom.tiny import write_release
from voiceloom import judges

RATE = 16_000


def speechlike(seconds: float = 1.5, f0_hz: float = 140.0) -> np.ndarray:
    """Harmonics in syllables [S] at 16 kHz."""
    time = np.arange(int(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * k * f0_hz * time) / k for k in range(1, 20))
    return (0.1 * tones * np.abs(np.sin(2 * np.pi * 2 * time))).astype(np.float32)


def test_our_bytes_are_those_of_the_codes_and_time_is_kept(tmp_path):
    codec = voiceloom.load_codec(write_release(tmp_path / "release"))
    samples = speechlike()
    coder = coders.voiceloom(codec, 2)
    coded = coder.code(samples, RATE)
    frames = codec.frames(round(1.5 * codec.sample_rate))
    assert coded.payload_bytes == -(-frames * 2 * 6 // 8)
    header, end, sequence, length, crc = 14, 3, 1, 2, 2
    assert coded.file_bytes == coded.payload_bytes + header + end + sequence + length + crc
    assert coded.samples.shape == samples.shape
    assert abs(judges.align(samples, coded.samples, RATE).delay_s) < 0.1
    assert (coder.latency_ms, coder.tokens_per_s) == (100.0, 25.0)


@pytest.mark.parametrize("coder", coders.classical(), ids=lambda coder: coder.name)
def test_a_classical_codec_gives_back_the_clip_for_about_its_rate(coder):
    samples = speechlike(3.0)
    coded = coder.code(samples, RATE)
    assert coded.samples.shape == samples.shape
    assert abs(judges.align(samples, coded.samples, RATE).delay_s) < 0.05
    loud = [np.sqrt(np.mean(x**2)) for x in (samples, coded.samples)]
    assert 0.3 < loud[1] / loud[0] < 3
    assert 0.5 < 8 * coded.payload_bytes / 3.0 / 1000 < 20


def test_ogg_pages_and_headers_are_not_counted(tmp_path):
    if not shutil.which("opusenc"):
        pytest.skip("needs opus-tools")
    import soundfile

    soundfile.write(tmp_path / "in.wav", speechlike(2.0), RATE)
    command = "opusenc --quiet --hard-cbr --bitrate 16 --framesize 20 in.wav coded.ogg".split()
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    data = (tmp_path / "coded.ogg").read_bytes()
    packets, odd = divmod(coders._payload(data), 40)  # 16 kbit/s for 20 ms are 40 bytes
    assert odd == 0 and 100 <= packets <= 103
    assert coders._payload(b"headerless") == 10


def test_other_weights_keep_the_rows_of_the_classical_codecs(tmp_path):
    def row(coder, pesq):
        return Row("crowd", "a", coder, 1.0, 20.0, None, 9, 9, 0, 9, 0.9, 0.9, pesq, 0.0, 0.0, 0.0)

    lines = [
        ({"voiceloom": "old"}, [row("voiceloom 8 books", 1.0), row("opus 6 kbit/s", 2.0)]),
        ({"voiceloom": "new"}, [row("voiceloom 8 books", 3.0)]),
        ({"voiceloom": "new", "wide": "w"}, [row("wide 4 books", 4.0)]),
    ]
    entries = [
        {"set": "crowd", "clip": "a", "coded_by": by, "rows": [dataclasses.asdict(r) for r in rows]}
        for by, rows in lines
    ]
    record = tmp_path / "rows.jsonl"
    record.write_text("".join(json.dumps(entry) + "\n" for entry in entries))

    def known(**coded_by):
        rows = read_record(record, coded_by).get(("crowd", "a"), {})
        return {name: row.pesq for name, row in rows.items()}

    opus = {"opus 6 kbit/s": 2.0}
    assert known(voiceloom="old") == opus | {"voiceloom 8 books": 1.0}
    assert known(voiceloom="new") == opus | {"voiceloom 8 books": 3.0}
    assert known(voiceloom="other") == opus
    assert known(voiceloom="other", wide="w") == opus | {"wide 4 books": 4.0}
    assert read_record(tmp_path / "none.jsonl", {}) == {}


def point(coder: str, kbps: float, quality: float):
    rows = [
        Row("crowd", str(i), coder, 1.0, 100.0, 12.5 if "voice" in coder else None,
            round(kbps * 125), round(kbps * 150), 10 - round(quality), 10, quality / 10,
            quality / 10, quality / 2, 1 / quality, 10 - quality, quality - 10)
        for i in range(4)
    ]  # fmt: skip
    return summarise(rows)[0]


def test_half_the_bits_for_the_same_quality_is_minus_a_half():
    theirs = [point("opus", 2.0 * k, q) for k, q in ((1, 2), (2, 4), (4, 6))]
    ours = [point("voiceloom", 1.0 * k, q) for k, q in ((1, 2), (2, 4), (4, 6))]
    for name in METRICS:
        assert bd_rate(ours, theirs, name) == pytest.approx(-0.5, abs=0.01)
    better = [point("voiceloom", 1.0, 8), point("voiceloom", 2.0, 9)]
    assert bd_rate(better, theirs, "pesq") is None


def test_the_table_and_the_picture_show_every_coder(tmp_path):
    points = [point("opus 6", 6.0, 5), point("voiceloom 8 books", 1.0, 4)]
    table = markdown(points)
    assert (
        "| crowd | voiceloom 8 books | 4 | 1.00 | 1.20 | 12.5 | 100 | 60.0 [60.0, 60.0] | 0.400 "
        in table
    )
    assert table.count("\n") == 4
    draw(points, tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 10_000


def test_a_melody_a_semitone_off_is_a_semitone_off_at_any_lag():
    hz = np.repeat([0.0, 120, 150, 0, 100], 20)
    track = lambda hz: judges.Pitch(np.arange(len(hz)) / 100, hz, hz > 0)  # noqa: E731
    raised = np.concatenate([np.zeros(3), hz * 2 ** (1 / 12)])
    assert f0_distance(track(hz), 0.03, track(raised)) == pytest.approx(1.0)
    assert f0_distance(track(hz), 0.0, track(0 * hz)) is None


def test_mel_distance_is_that_of_the_level():
    sound = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert mel_distance(sound, sound) == 0
    assert mel_distance(sound, sound * 0.5) == pytest.approx(6.02, abs=0.01)


def test_babble_is_ten_decibels_below():
    clips = [(str(i), speechlike(1.0 + i / 10, 90 + 7 * i)) for i in range(30)]
    mixed = with_babble(clips[3][1] * 0.1, clips, "3")
    noise = mixed - clips[3][1] * 0.1
    ratio = np.mean((0.1 * clips[3][1]) ** 2) / np.mean(noise**2)
    assert 10 * np.log10(ratio) == pytest.approx(10.0, abs=0.1)
