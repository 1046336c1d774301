"""Codes as bytes: exact, short, and robust against everything that can happen to a file."""

import hashlib
import io
import os
import subprocess
import sys

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from codec.bitstream import packing
from codec.bitstream.entropy import EntropyModel, Tables
from codec.bitstream.token_file import Header, Reader, TokenFileError, Writer
from experiments import entropy

SIZES = (16, 16, 16, 16)


def made_tables(sizes=SIZES, width=4, seed=0):
    """Tables as training would leave them, with preferences."""
    rng = np.random.default_rng(seed)
    books, entries, dim = len(sizes), max(sizes), 3
    matrix = lambda *shape: rng.integers(-900, 900, shape).astype(np.int16)  # noqa: E731
    sums = lambda *shape: rng.integers(-(2**15), 2**16, shape).astype(np.int32)  # noqa: E731
    return Tables(
        vectors=rng.integers(-64, 65, (books, entries, dim)).astype(np.int8),
        before=matrix(books, dim, width),
        earlier=matrix(books, dim, width),
        history=matrix(books, dim, width),
        below=matrix(books, dim, width),
        bias=sums(books, width),
        middle=matrix(books, width, width),
        middle_bias=sums(books, width),
        out=matrix(books, width, dim),
        prior=sums(books, entries),
    )


MODEL = EntropyModel(made_tables(), SIZES)


def likely_codes(frames, model=MODEL, seed=0):
    """Codes drawn from the model itself, so that it can save bits on them."""
    rng = np.random.default_rng(seed)
    number = int.from_bytes(rng.bytes(10 * frames), "little")
    codes = np.zeros((frames, 4), np.int64)
    contexts = model.contexts(codes)
    for t in range(frames):
        own = next(contexts)
        for book in range(4):
            below = sum(
                model._tables.vectors[b, codes[t, b]].astype(int) @ model._tables.below[b]
                for b in range(book)
            )
            ends = np.cumsum(model.shares(book, own[book] + below))
            number, slot = divmod(number, int(ends[-1]))
            codes[t, book] = np.searchsorted(ends, slot, side="right")
    return codes


def written(codes, packet_frames=5, model=MODEL, spare=7):
    """A token file."""
    file = io.BytesIO()
    header = Header(b"abcd", 24_000, 1920, packet_frames, SIZES[: codes.shape[1]])
    writer = Writer(file, header, model)
    for part in np.array_split(codes, 3):
        writer.write(part)
    writer.close(spare)
    return file.getvalue()


def read(data, model=MODEL):
    """Packets' codes and where they begin, and the reader."""
    reader = Reader(io.BytesIO(data))
    return [(p, reader.codes(p, model)) for p in reader], reader


# ---- packing and entropy coding ---------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 10**6)), max_size=60))
def test_mixed_radix_is_exact_and_as_short_as_can_be(pairs):
    sizes, codes = [size for size, _ in pairs], [code % size for size, code in pairs]
    data = packing.pack(codes, sizes)
    assert packing.unpack(data, sizes) == codes
    assert len(data) == packing.packed_bytes(sizes)
    assert 8 * len(data) < sum(np.log2(sizes)) + 8


def test_36_numbers_of_21_levels_take_159_bits_not_180():
    assert packing.packed_bytes([21] * 36 * 8) == -(-8 * 1582 // 80)


def test_bytes_that_were_not_packed_are_refused():
    with pytest.raises(ValueError, match="do not hold"):
        packing.unpack(b"\xff", [3, 3])
    with pytest.raises(ValueError, match="do not hold"):
        packing.unpack(b"\0\0", [3, 3])


@given(st.integers(1, 4), st.integers(1, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_entropy_coding_loses_nothing(books, frames, seed):
    codes = np.random.default_rng(seed).integers(0, 16, (frames, books))
    np.testing.assert_array_equal(MODEL.decode(MODEL.encode(codes), frames, books), codes)


def test_bytes_are_the_same_everywhere():
    """A golden hash: it may change only with the format's version."""
    codes = np.random.default_rng(1).integers(0, 16, (40, 4))
    digest = hashlib.sha256(MODEL.encode(codes)).hexdigest()
    assert digest[:16] == "05b3d91a86ba55a1"


def test_likely_codes_get_shorter_by_what_the_trained_form_says():
    codes = likely_codes(60)
    whole = made_tables()._asdict().items()
    params = {k: jnp.asarray(v, jnp.float32) * entropy.step_of(k) for k, v in whole}
    for table, again in zip(made_tables(), entropy.to_tables(params), strict=True):
        np.testing.assert_array_equal(table, again)
    expected = float(entropy.bits(params, jnp.asarray(codes[None], jnp.int32)).sum())
    size = 8 * len(MODEL.encode(codes))
    assert size == pytest.approx(expected, abs=16)
    assert size < 0.95 * 60 * 4 * 4


def test_few_books_are_coded_as_the_start_of_many():
    """What a book costs does not depend on the books above it."""
    codes = likely_codes(20)
    changed = codes.copy()
    changed[:, 2:] = (changed[:, 2:] + 5) % 16
    for own, again in zip(MODEL.contexts(codes), MODEL.contexts(changed), strict=True):
        np.testing.assert_array_equal(own[:2], again[:2])
    for frame, other in zip(codes, changed, strict=True):
        np.testing.assert_array_equal(MODEL._below(frame)[:3], MODEL._below(other)[:3])


def test_books_of_unlike_sizes():
    sizes = (16, 5, 5, 5)
    model = EntropyModel(made_tables(sizes), sizes)
    codes = np.random.default_rng(0).integers(0, sizes, (12, 4))
    np.testing.assert_array_equal(model.decode(model.encode(codes), 12, 4), codes)


def test_bytes_of_another_model_are_refused_or_other_codes_never_a_crash():
    other = EntropyModel(made_tables(seed=1), SIZES)
    data = MODEL.encode(likely_codes(20))
    try:
        assert other.decode(data, 20, 4).shape == (20, 4)
    except ValueError as error:
        assert "do not hold" in str(error)


# ---- the file ---------------------------------------------------------------------------------


@given(st.integers(0, 40), st.integers(1, 20), st.integers(1, 4), st.booleans(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read(frames, packet_frames, books, coded, seed):
    codes = np.random.default_rng(seed).integers(0, 16, (frames, books))
    data = written(codes, packet_frames, MODEL if coded else None, spare=1234)
    packets, reader = read(data)
    found = np.concatenate([c for _, c in packets])
    np.testing.assert_array_equal(found, codes)
    assert reader.ended and not reader.problems
    assert [p.spare_samples for p, _ in packets] == [None] * (len(packets) - 1) + [1234]
    assert sum(p.size for p, _ in packets) + 15 - (books == 0) >= len(data) - 3


def test_the_header_of_the_default_codec_takes_15_bytes():
    header = Header(b"abcd", 24_000, 1920, 25, (1024,) * 16)
    assert len(header.to_bytes()) == 15
    assert Reader(io.BytesIO(header.to_bytes())).header == header


def test_a_header_of_two_kinds_of_books():
    header = Header(b"abcd", 16_000, 1280, 25, (8192,) + (21,) * 36)
    assert Reader(io.BytesIO(header.to_bytes())).header == header


def test_entropy_coding_never_makes_a_file_longer():
    rng = np.random.default_rng(2)
    unlikely = rng.integers(0, 16, (60, 4))
    assert len(written(unlikely)) <= len(written(unlikely, model=None))
    likely = likely_codes(60)
    assert len(written(likely, 30)) < 0.95 * len(written(likely, 30, model=None))


def test_a_reader_takes_no_more_than_the_packet_it_gives_out():
    """What comes out of a pipe is played before the next packet is written."""
    data = written(likely_codes(23))

    class Pipe(io.BytesIO):
        def read(self, size=-1):
            assert 0 < size < 200
            return super().read(size)

    pipe = Pipe(data)
    reader = Reader(pipe)
    at = pipe.tell()
    for packet in reader:
        at += packet.size
        assert pipe.tell() == at
    assert at == len(data)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_damage_costs_the_packets_it_hits_and_is_named(data):
    codes = likely_codes(38)
    file = bytearray(written(codes))
    kind = data.draw(st.sampled_from(["flip", "cut out", "insert", "truncate"]))
    at = data.draw(st.integers(15, len(file) - 1))
    if kind == "flip":
        file[at] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut out":
        del file[at : at + data.draw(st.integers(1, 60))]
    elif kind == "insert":
        file[at:at] = data.draw(st.binary(min_size=1, max_size=60))
    else:
        del file[at:]
    packets, reader = read(bytes(file))
    for packet, found in packets:  # never wrong, and in its place
        np.testing.assert_array_equal(
            found, codes[packet.first_frame : packet.first_frame + packet.frames]
        )
    whole = packets and packets[-1][0].spare_samples is not None
    kept = sum(packet.frames for packet, _ in packets)
    missing = sum(packet.missing for packet, _ in packets)
    assert bool(whole) == reader.ended
    if reader.ended:
        assert kept + missing == 38
    else:
        assert "ends early" in reader.problems[-1]
    if kept < 38 or kind == "insert":
        assert reader.problems
    assert kept >= 38 - 5 * (2 if kind in ("flip", "insert") else 20)


def test_a_lost_packet_is_counted_and_said_where():
    data = written(likely_codes(38), model=None)
    head, size = 14, 1 + 1 + 10 + 2
    packets, reader = read(data[: head + size] + data[head + 3 * size :])
    assert [p.missing for p, _ in packets][:2] == [0, 10]
    assert reader.problems == ["0.40-1.20 s: 10 frames missing (0 bytes damaged)"]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "does not begin with VL"),
        (b"RIFF....WAVEfmt ", "does not begin with VL"),
        (b"VL\x21" + bytes(20), "version 2"),
        (b"VL\x11abcd", "it ends after 7 bytes"),
        (b"VL\x11abcd" + bytes(8), "header is damaged"),
    ],
)
def test_foreign_bytes_are_refused(data, cause):
    with pytest.raises(TokenFileError, match=cause):
        Reader(io.BytesIO(data))


@given(st.binary(max_size=200))
def test_noise_behind_a_header_is_never_a_packet(noise):
    packets, reader = read(Header(b"abcd", 24_000, 1920, 5, SIZES).to_bytes() + noise)
    assert not packets and "ends early" in reader.problems[0]


def test_every_bit_of_the_header_is_guarded():
    data = written(likely_codes(6))
    for bit in range(8 * 14):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TokenFileError):
            Reader(io.BytesIO(bytes(flipped)))


def test_coded_packets_without_their_model_are_refused():
    packets, reader = read(written(likely_codes(60), packet_frames=30))
    assert packets[0][0].coded
    with pytest.raises(TokenFileError, match="only with its codec's model"):
        reader.codes(packets[0][0], None)


def test_codes_that_do_not_fit_are_refused():
    for codes in (np.full((3, 4), 16), np.full((3, 4), -1), np.zeros((3, 5), int)):
        with pytest.raises(TokenFileError, match="do not fit"):
            Writer(io.BytesIO(), Header(b"abcd", 24_000, 1920, 5, SIZES), None).write(codes)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_another_process_reads_the_same_codes(tmp_path, threads):
    codes = likely_codes(38)
    (tmp_path / "a.vl").write_bytes(written(codes))
    program = (
        "import sys, numpy as np\n"
        "from tests.codec.test_bitstream import read\n"
        "packets, _ = read(open(sys.argv[1], 'rb').read())\n"
        "sys.stdout.buffer.write(np.concatenate([c for _, c in packets]).tobytes())\n"
    )
    threads = {f"{name}_NUM_THREADS": threads for name in ("OMP", "OPENBLAS", "MKL")}
    told = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a.vl"],
        env=os.environ | threads,
        capture_output=True,
        check=True,
    )
    np.testing.assert_array_equal(np.frombuffer(told.stdout, np.int32).reshape(-1, 4), codes)
