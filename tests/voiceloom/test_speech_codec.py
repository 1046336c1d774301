"""The codec as a product: whole against streamed, one against many, files and pipes."""

import io
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

import voiceloom
from codec.bitstream.entropy import EntropyModel
from codec.bitstream.token_file import Reader, TokenFileError
from data.audio import AudioError
from tests.codec.pretrained.reference import noise
from tests.codec.test_bitstream import made_tables
from tests.voiceloom.tiny import CODEC, speechlike
from voiceloom import cli, coding, weights

P = CODEC.frame_samples
PUBLISHED = Path(__file__).parents[1] / "codec" / "pretrained"


@pytest.fixture(scope="module")
def codec(release):
    return voiceloom.load_codec(release)


@pytest.fixture
def recording(tmp_path):
    """A file at another rate, in stereo."""
    samples = np.stack([speechlike(5.3, 16_000), speechlike(5.3, 16_000)], axis=1)
    soundfile.write(tmp_path / "speech.wav", samples, 16_000)
    return tmp_path / "speech.wav"


@pytest.fixture
def run(release, monkeypatch, tmp_path):
    """Runs a command in an empty folder with the tiny release; returns its exit status."""
    monkeypatch.chdir(tmp_path)
    return lambda *argv: cli.main([*map(str, argv), "--weights", str(release)])


def batch(*seconds):
    """Rows of different lengths, padded with silence, and their lengths."""
    rows = [(1 - 0.2 * i) * speechlike(s) for i, s in enumerate(seconds)]
    longest = max(map(len, rows))
    return np.stack([np.pad(r, (0, longest - len(r))) for r in rows]), [len(r) for r in rows]


# ---- in memory --------------------------------------------------------------------------------


def test_decoded_is_in_step_with_what_was_encoded(codec):
    samples = speechlike(1.0)[None]
    codes = codec.encode(samples)
    assert codes.dtype == np.int32 and codes.shape == (1, codec.frames(24_000), 4)
    decoded = codec.decode(codes)
    assert samples.shape[1] <= decoded.shape[1] < samples.shape[1] + P
    late = codec.decoder().push(codes)[0]
    np.testing.assert_allclose(decoded[0], late[codec.delay_samples :], atol=1e-5)


def test_rows_of_a_padded_batch_are_what_they_are_alone(codec):
    samples, lengths = batch(2.5, 0.7, 1.9)
    codes = codec.encode(samples)
    for row, length in enumerate(lengths):
        alone = codec.encode(samples[row : row + 1, :length])[0]
        assert len(alone) == codec.frames(length)
        assert (codes[row, : len(alone)] == alone).mean() > 0.99  # near-ties may tip
        decoded = codec.decode(codes[row : row + 1, : len(alone)])[0]
        together = codec.decode(codes)[row, : len(decoded)]
        np.testing.assert_allclose(together, decoded, atol=1e-5)


def test_streams_at_any_schedule_are_the_whole(codec):
    samples, _ = batch(2.0, 1.6)
    whole = codec.encode(samples)
    padded = np.pad(samples, ((0, 0), (0, whole.shape[1] * P - samples.shape[1])))
    results = []
    for sizes in ([1], [4, 2, 7], [whole.shape[1]]):
        hear, play, at, codes, sounds = codec.encoder(2), codec.decoder(2), 0, [], []
        while at < whole.shape[1]:
            size = min(sizes[len(codes) % len(sizes)], whole.shape[1] - at)
            codes.append(hear.push(padded[:, at * P : (at + size) * P]))
            sounds.append(play.push(codes[-1]))
            at += size
        results.append((np.concatenate(codes, axis=1), np.concatenate(sounds, axis=1)))
    for codes, sounds in results[1:]:
        np.testing.assert_array_equal(codes, results[0][0])
        np.testing.assert_array_equal(sounds, results[0][1])
    assert (results[0][0] == whole).mean() > 0.99
    decoded = codec.decode(results[0][0])
    np.testing.assert_allclose(decoded, results[0][1][:, codec.delay_samples :], atol=1e-5)


def test_idle_and_renewed_streams_do_not_disturb_the_others(codec):
    samples, _ = batch(1.6, 1.6, 1.6)
    frames = np.split(samples, samples.shape[1] // P, axis=1)
    alone = codec.encoder(3)
    expected = [alone.push(frame) for frame in frames]
    mixed = codec.encoder(3)
    got: list[list] = [[], [], []]
    turn = np.zeros(3, int)
    rng = np.random.default_rng(0)
    while (turn < len(frames)).any():
        active = (rng.random(3) < 0.6) & (turn < len(frames))
        block = np.stack([frames[min(t, len(frames) - 1)][i] for i, t in enumerate(turn)])
        codes = mixed.push(block, active)
        for row in np.flatnonzero(active):
            got[row].append(codes[row, 0])
            turn[row] += 1
    for row in range(3):
        np.testing.assert_array_equal(np.stack(got[row]), [e[row, 0] for e in expected])
    mixed.reset(np.array([False, True, False]))
    np.testing.assert_array_equal(mixed.push(frames[0])[1], expected[0][1])


def test_a_decoder_that_begins_in_the_middle_soon_says_the_same(codec):
    codes = np.random.default_rng(0).integers(0, 64, (1, 40, 4))
    late = codec.decoder().push(codes[:, 10:])[0, codec.memory_frames * P :]
    whole = codec.decoder().push(codes)[0, (10 + codec.memory_frames) * P :]
    np.testing.assert_array_equal(late, whole)


@pytest.mark.parametrize(
    ("call", "cause"),
    [
        (lambda c: c.encode(np.zeros((1, 0), "f")), "no samples"),
        (lambda c: c.encode(np.full((1, 9), np.nan, "f")), "finite"),
        (lambda c: c.encode(np.zeros((1, 9), "f"), books=5), "has 1 to 4"),
        (lambda c: c.encoder().push(np.zeros((1, 100), "f")), "not whole frames"),
        (lambda c: c.books_for(9.0), "from 0.07 to 0.30"),
    ],
)
def test_what_makes_no_sense_is_refused(codec, call, cause):
    with pytest.raises(ValueError, match=cause):
        call(codec)


def test_books_for_a_rate(codec):
    assert [codec.books_for(kbps) for kbps in (0.05, 0.15, 0.2, 0.3)] == [1, 2, 3, 4]


def test_few_books_have_longer_packets(codec):
    for books in (1, 2, 4):
        header = codec.header(books)
        assert header.packet_frames * books * 6 >= 512


# ---- files and pipes --------------------------------------------------------------------------


def test_encode_info_decode(run, codec, recording, tmp_path, capsys):
    assert run("encode", recording, "--books", "4") == 0
    assert run("info", "speech.vl") == 0
    told = capsys.readouterr()
    assert "5.300 s, 127200 samples at 24000 Hz" in told.out and "the one at hand" in told.out
    assert "kbit/s with its header" in told.err
    assert run("decode", "speech.vl", "again.flac") == 0
    decoded, rate = soundfile.read("again.flac", dtype="float32")
    assert rate == 24_000 and len(decoded) == 127_200
    samples = np.concatenate(list(coding.read_audio(recording, 24_000)))[None]
    expected = codec.decode(codec.encode(samples))[0, :127_200]
    # Not sample by sample: blocks of other sizes may tip a near-tie, and one code is one frame.
    assert np.corrcoef(decoded, np.clip(expected, -1, 1))[0, 1] > 0.99
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.flac", "speech.vl", "speech.wav"]


def test_a_stretch_is_what_it_is_in_the_whole(run, recording):
    run("encode", recording, "--books", "4", "--packet", "9")
    run("decode", "speech.vl", "whole.wav")
    whole = soundfile.read("whole.wav", dtype="int16")[0]
    for start, stop in ((0.0, 1.0), (2.345, 4.0), (3.0, 9.0), (5.29, 5.3)):
        assert run("decode", "speech.vl", "part.wav", "--from", start, "--to", stop) == 0
        part = soundfile.read("part.wav", dtype="int16")[0]
        expected = whole[round(start * 24_000) : round(stop * 24_000)]
        np.testing.assert_array_equal(part, expected)


def test_a_damaged_file_is_played_around_and_named(run, recording, capsys, tmp_path):
    run("encode", recording, "--books", "4", "--packet", "10")
    run("decode", "speech.vl", "whole.wav")
    data = bytearray((tmp_path / "speech.vl").read_bytes())
    size = 1 + 1 + 30 + 2
    data[14 + 2 * size + 9] ^= 4
    (tmp_path / "hurt.vl").write_bytes(data)
    capsys.readouterr()
    assert (
        run("info", "hurt.vl") == 1 and "1.60-2.40 s: 10 frames missing" in capsys.readouterr().out
    )
    assert run("decode", "hurt.vl") == 1
    assert "1.60-2.40 s: 10 frames missing" in capsys.readouterr().err
    hurt, whole = (soundfile.read(n, dtype="float32")[0] for n in ("hurt.wav", "whole.wav"))
    assert len(hurt) == len(whole)
    heard = 20 * P - 480
    np.testing.assert_array_equal(hurt[:heard], whole[:heard])
    assert not hurt[heard + 2 * P + 1 : heard + 10 * P].any()
    np.testing.assert_allclose(hurt[-8000:], whole[-8000:], atol=1e-4)
    (tmp_path / "short.vl").write_bytes(data[: 14 + 2 * size + 3])
    assert run("decode", "short.vl") == 1
    assert "the file ends early" in capsys.readouterr().err
    assert len(soundfile.read("short.wav")[0]) == heard


def test_folders_are_mirrored(run, tmp_path, capsys):
    for name in ("a.wav", "deep/b.flac"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / name, speechlike(0.5), 24_000)
    assert run("encode", "in", "tokens", "--kbps", "0.2") == 0
    assert run("decode", "tokens", "out") == 0
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert found == ["in/a.wav", "in/deep/b.flac", "out/a.wav", "out/deep/b.wav",
                     "tokens/a.vl", "tokens/deep/b.vl"]  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "cause"),
    [
        (["encode", "nowhere.wav", "--books", "4"], "no such file"),
        (["encode", "text.wav", "--books", "4"], "not audio"),
        (["encode", "empty.wav", "--books", "4"], "no samples"),
        (["encode", "nan.wav", "--books", "4"], "NaN"),
        (["encode", "hollow", "--books", "4"], "no file in it ends in"),
        (["encode", "speech.wav", "--kbps", "7"], "7 kbit/s"),
        (["encode", "speech.wav", "--books", "9"], "has 1 to 4"),
        (["encode", "speech.wav", "--raw", "8000"], "--raw is about stdin"),
        (["decode", "speech.wav", "x.wav"], "does not begin with VL"),
        (["decode", "foreign.vl"], "decode it with the release"),
        (["info", "nowhere.vl"], "nowhere.vl"),
    ],
)
def test_refusals_say_why_and_leave_nothing(run, codec, recording, tmp_path, capsys, argv, cause):
    (tmp_path / "text.wav").write_text("not audio at all")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 24_000)
    soundfile.write(tmp_path / "nan.wav", np.full(24_000, np.nan), 24_000, subtype="FLOAT")
    (tmp_path / "hollow").mkdir()
    foreign = io.BytesIO()
    coding.encode(iter([speechlike(0.5)]), foreign, codec, 4)
    header = codec.header(4)._replace(model_id=b"othr").to_bytes()
    (tmp_path / "foreign.vl").write_bytes(header + foreign.getvalue()[len(header) :])
    before = sorted(tmp_path.rglob("*"))
    assert run(*argv) == 2
    told = capsys.readouterr().err
    assert told.startswith("voiceloom: ") and cause in told
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_leaves_no_half_of_a_file(codec, tmp_path):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), coding.whole(tmp_path / "a.vl"):
        coding.encode(iter([speechlike(0.5)]), Full(), codec, 4)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_wav_of_any_width_comes_through_a_pipe(width):
    samples = speechlike(0.5)
    pipe = io.BytesIO()
    with wave.open(pipe, "wb") as file:
        file.setparams((2, width, 24_000, 0, "NONE", ""))
        whole = np.round(samples * (2 ** (8 * width - 1) - 1)).astype(np.int64)
        stereo = np.repeat(whole, 2) + (128 if width == 1 else 0)
        file.writeframes(
            b"".join(int(v).to_bytes(width, "little", signed=width > 1) for v in stereo)
        )
    pipe.seek(0)
    read = np.concatenate(list(coding.read_audio(pipe, 24_000)))
    np.testing.assert_allclose(read, samples, atol=2.0 ** (2 - 8 * width))


def test_what_is_no_wav_in_a_pipe_is_refused():
    with pytest.raises(AudioError, match="--raw RATE"):
        list(coding.read_audio(io.BytesIO(b"ID3 something"), 24_000))


def test_two_real_pipes_and_the_first_sound_before_the_last_word(release):
    """encode | decode in processes of their own: raw in, raw out, while it is still coming in."""
    command = [sys.executable, "-m", "voiceloom.cli"]
    options = ["--weights", str(release)]
    raw_in = ["encode", "-", "-", "--books", "4", "--packet", "3", "--raw", "24000", *options]
    encode = subprocess.Popen(
        [*command, *raw_in],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    decode = subprocess.Popen(
        [*command, "decode", "-", "-", "--raw", *options],
        stdin=encode.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    pcm = np.round(speechlike(2.0) * 32767).astype("<i2").tobytes()
    encode.stdin.write(pcm[: len(pcm) // 2])
    encode.stdin.flush()
    first = decode.stdout.read(2 * P)  # comes although the other half has not been written yet
    encode.stdin.write(pcm[len(pcm) // 2 :])
    encode.stdin.close()
    rest = decode.stdout.read()
    assert decode.wait() == 0 and encode.wait() == 0, decode.stderr.read() + encode.stderr.read()
    assert len(first + rest) == len(pcm)
    for process in (encode, decode):
        for pipe in (process.stdout, process.stderr):
            pipe.close()


# ---- the entropy model of a release -----------------------------------------------------------


def test_a_release_with_an_entropy_model_codes_with_it(release, tmp_path):
    hash_ = weights.load_codec(release).hash
    for name in ("codec.safetensors", "codec.json"):
        (tmp_path / name).write_bytes((release / name).read_bytes())
    weights.save_entropy(tmp_path, made_tables((64,) * 4), hash_)
    codec = voiceloom.load_codec(tmp_path)
    assert isinstance(codec.entropy, EntropyModel)
    assert codec.model_id != voiceloom.load_codec(release).model_id
    file = io.BytesIO()
    coding.encode(iter([speechlike(1.0)]), file, codec, 4)
    file.seek(0)
    samples = np.concatenate(list(coding.decode(Reader(file), codec)))
    assert len(samples) == 24_000
    file.seek(0)
    with pytest.raises(TokenFileError, match="decode it with the release"):
        list(coding.decode(Reader(file), voiceloom.load_codec(release)))


@pytest.mark.parametrize("damage", ["foreign", "cut", "fields"])
def test_an_entropy_model_that_does_not_belong_is_refused(release, tmp_path, damage):
    for name in ("codec.safetensors", "codec.json"):
        (tmp_path / name).write_bytes((release / name).read_bytes())
    weights.save_entropy(tmp_path, made_tables((64,) * 4), "0" * 64)
    path = tmp_path / "entropy.safetensors"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    if damage == "fields":
        path.write_bytes((release / "voices.safetensors").read_bytes())
    with pytest.raises(voiceloom.WeightsError, match="another codec|damaged"):
        voiceloom.load_codec(tmp_path)


@pytest.mark.parametrize("name", ["mimi", "encodec"])
def test_published_codecs_are_loaded_alike(name):
    codec = voiceloom.load_codec(PUBLISHED / name)
    samples = noise(24_001)[:, : 24_000 // codec.frame_samples * codec.frame_samples]
    codes = codec.encode(samples)
    assert codes.shape == (3, codec.frames(samples.shape[1]), len(codec.sizes))
    heard, said = codec.encoder(3), codec.decoder(3)
    first = 9 * codec.frame_samples
    parts = [heard.push(samples[:, :first]), heard.push(samples[:, first:])]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), codes)
    made = np.concatenate([said.push(codes[:, :9]), said.push(codes[:, 9:])], axis=1)
    np.testing.assert_allclose(made, codec.decode(codes), atol=1e-4, rtol=1e-4)
    if name == "encodec":
        with pytest.raises(ValueError, match="begins with 7 frames"):
            codec.encoder().push(samples[:1, : codec.frame_samples])


def test_a_codec_that_looks_ahead_streams_late_and_ends_with_nothing():
    codec = voiceloom.load_codec(PUBLISHED / "snac_windows")
    size, lag = codec.frame_samples, codec.lag_frames
    samples = noise(29 * size + 1)
    codes = codec.encode(samples)
    frames = codec.frames(samples.shape[1])
    assert frames == 32 and codes.shape == (3, frames, 3) and codes.min() >= 0  # whole windows
    decoded = codec.decode(codes)
    assert decoded.shape == (3, frames * size)
    heard, said = codec.encoder(3), codec.decoder(3)
    filled = np.pad(samples, ((0, 0), (0, frames * size - samples.shape[1])))
    nothing = np.full((3, lag * size), np.nan, np.float32)
    late = np.concatenate([heard.push(filled), heard.push(nothing)], axis=1)
    assert (late[:, :lag] == -1).all()
    np.testing.assert_array_equal(late[:, lag:], codes)
    nothing = np.full((3, codec.flush_frames, 3), -1)
    made = np.concatenate([said.push(late), said.push(nothing)], axis=1)
    begin = lag * size + codec.delay_samples
    assert not made[:, :begin].any()
    np.testing.assert_allclose(made[:, begin : begin + frames * size], decoded, atol=1e-5)


@pytest.mark.parametrize("name", ["mimi", "encodec", "dac", "snac_windows"])
@pytest.mark.parametrize("seconds", [0.01, 1.3])
def test_token_files_of_published_codecs_are_the_whole(name, seconds):
    codec = voiceloom.load_codec(PUBLISHED / name)
    samples, file = noise(round(seconds * codec.sample_rate))[0], io.BytesIO()
    coding.encode(iter(np.array_split(samples, 3)), file, codec, len(codec.sizes))
    file.seek(0)
    said = np.concatenate(list(coding.decode(Reader(file), codec)))
    least = max(len(samples), (codec.first_frames - 1) * codec.frame_samples + 1)
    whole = codec.decode(codec.encode(np.pad(samples, (0, least - len(samples)))[None]))[0]
    assert len(said) == len(samples)
    np.testing.assert_allclose(said, whole[: len(samples)], atol=1e-4)
