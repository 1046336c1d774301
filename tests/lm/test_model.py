"""Text encoder, backbone and depth transformer: what they may see, and that both forms agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lm.layers import Backbone, Dropout
from lm.model import walk
from tests.contract import check_streaming, poison

WINDOW = 6


@pytest.fixture(scope="module")
def backbone():
    """Structure and parameters of a small backbone whose window is shorter than the test."""
    module = Backbone(32, 2, 48, 2, WINDOW, rngs=nnx.Rngs(0))
    graph, params = nnx.split(module)
    return graph, nnx.to_pure_dict(params), module.init_state


def test_backbone_keeps_the_contract(backbone):
    graph, params, init_state = backbone
    x = jax.random.normal(jax.random.key(1), (3, 16, 32))
    apply = lambda p, x, s: nnx.merge(graph, p)(x, s)  # noqa: E731
    check_streaming(apply, init_state, params, x, blocks=(1, 3, 8), unwritten=("rings",))


def test_backbone_is_masked_full_attention(backbone):
    """Against numpy, frame by frame: both forms of the module could share a mistake."""
    graph, params, _ = backbone
    x = np.asarray(jax.random.normal(jax.random.key(2), (12, 32)))
    actual, _ = jax.jit(lambda p, x: nnx.merge(graph, p)(x))(params, x[None])

    def norm(x, gain=1.0):
        return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6) * gain

    def turn(x, pos):  # [Dh] as complex numbers
        z = x[:8] + 1j * x[8:]
        z = z * np.exp(1j * pos * 10_000.0 ** -(np.arange(8) / 8))
        return np.concatenate([z.real, z.imag])

    for layer in params["blocks"].values():
        qkv = norm(x, layer["norm_attention"]["gain"]) @ layer["attention"]["qkv"]["w"]
        q, k, v = np.asarray(qkv).reshape(12, 3, 2, 16).transpose(1, 0, 2, 3)
        y = np.zeros((12, 2, 16))
        for t in range(12):
            for h in range(2):
                seen = range(max(0, t - WINDOW + 1), t + 1)
                query = turn(norm(q[t, h]), t)
                scores = np.array([query @ turn(norm(k[s, h]), s) for s in seen]) / 4
                weights = np.exp(scores) / np.exp(scores).sum()
                y[t, h] = weights @ v[list(seen), h]
        x = x + y.reshape(12, 32) @ layer["attention"]["out"]["w"]
        gate, value = np.split(norm(x, layer["norm_mlp"]["gain"]) @ layer["mlp"]["up"]["w"], 2, -1)
        x = x + (gate / (1 + np.exp(-gate)) * value) @ layer["mlp"]["down"]["w"]
    np.testing.assert_allclose(actual[0], norm(x, params["norm"]["gain"]), atol=2e-5)


def test_dropout_is_drawn_anew_for_every_layer_and_leaves_the_mean(backbone):
    graph, params, _ = backbone
    x = jax.random.normal(jax.random.key(1), (2, 5, 32))
    run = jax.jit(lambda key, rate: nnx.merge(graph, params)(x, drop=Dropout(key, rate))[0])
    whole, _ = nnx.merge(graph, params)(x)
    np.testing.assert_allclose(run(jax.random.key(0), 0.0), whole, atol=1e-5)
    one, other = run(jax.random.key(0), 0.3), run(jax.random.key(1), 0.3)
    assert np.abs(one - other).max() > 0.1 and np.abs(one - whole).max() > 0.1
    ones, drop = jnp.ones(20_000), Dropout(jax.random.key(0), 0.3)
    masks = [drop.layer(layer)(ones, place) for layer in (0, 1) for place in (0, 1)]
    for mask in masks:
        assert abs(float(mask.mean()) - 1) < 0.03 and abs(float((mask == 0).mean()) - 0.3) < 0.02
    assert all((a != b).any() for i, a in enumerate(masks) for b in masks[:i])


@pytest.fixture(scope="module")
def units():
    """Two texts of 18 units: symbol, stress, word [2, 18]."""
    rng = np.random.default_rng(0)
    symbol = rng.integers(9, 60, (2, 18)).astype(np.int32)
    symbol[:, [8, 17]] = 2, 3  # pauses: see data.phones.SYMBOLS
    word = np.repeat(np.arange(6), 3)[None].repeat(2, 0).astype(np.int32)
    return symbol, rng.integers(0, 3, (2, 18)).astype(np.int32), word


@pytest.fixture(scope="module")
def encode(merge):
    return jax.jit(lambda p, *a, **k: merge(p).encode_text(*a, **k))


def of_units(text, count):
    """The encoded units that the backbone and heads hear, without limit and end."""
    return [np.asarray(a[:, : count + 1]) for a in (text.context, text.spoken, text.passed)]


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_text_knows_nothing_beyond_its_look_ahead(params, encode, units, lookahead):
    symbol, stress, word = units
    length, ahead = np.full(2, 18), np.full(2, lookahead)
    text = encode(params, symbol, stress, word, length, ahead)
    changed = symbol.copy()
    changed[:, 12:] = changed[:, 12:] % 50 + 10  # words 4 and 5, other pauses too
    other = encode(params, changed, (stress + (word > 3)) % 3, word, length, ahead)
    blind = 3 * (4 - lookahead)  # units of words that end before word 4 comes into sight
    for a, b in zip(of_units(text, blind), of_units(other, blind), strict=True):
        np.testing.assert_array_equal(a, b)
    if lookahead:
        seeing = np.abs(text.spoken - other.spoken)[:, blind + 1 : 13].max(axis=-1)
        assert (seeing > 1e-4).all(), "units whose look-ahead reaches word 4 should know of it"


def test_text_is_the_same_for_any_padding(params, encode, units):
    padded = [np.pad(a, ((0, 0), (0, 14)), constant_values=7) for a in units]
    length, ahead = np.array([18, 9]), np.array([10_000, 1])
    short, long = (encode(params, *u, length, ahead) for u in (units, padded))
    for a, b in zip(of_units(short, 18), of_units(long, 18), strict=True):
        np.testing.assert_allclose(a[0], b[0], atol=1e-5)
        np.testing.assert_allclose(a[1, :11], b[1, :11], atol=1e-5)
    np.testing.assert_array_equal(short.end, [19, 10])
    np.testing.assert_array_equal(short.limit, [19, 10])


@pytest.mark.parametrize("lookahead", [0, 1, 10_000])
def test_text_in_pieces_is_the_whole_text(params, encode, units, lookahead):
    """What lies within `limit` stays as it is when the rest arrives."""
    ahead = np.full(2, lookahead)
    whole = encode(params, *units, np.full(2, 18), ahead)
    for words in (1, 3, 5):
        part = encode(params, *units, np.full(2, 3 * words), ahead, complete=np.zeros(2, bool))
        limit = int(part.limit[0])
        assert limit == max(-1, 3 * (words - lookahead)) or (limit == -1 and lookahead >= words)
        for a, b in zip(of_units(part, limit), of_units(whole, limit), strict=True):
            np.testing.assert_array_equal(a, b)


def test_text_may_lose_what_was_spoken_long_ago(cfg, params, encode):
    rng = np.random.default_rng(1)
    reach, count = cfg.text_layers * cfg.text_window, 256
    symbol, stress = rng.integers(1, 60, (1, count)), rng.integers(0, 3, (1, count))
    word = np.arange(count)[None] // 3
    cut = count - reach - 30
    args = (np.full(1, 10_000),)
    whole = encode(params, symbol, stress, word, np.full(1, count), *args)
    rest = [a[:, cut:] for a in (symbol, stress, word)]
    rest = encode(params, *rest, np.full(1, count - cut), *args)
    kept = slice(reach + 1, None)
    np.testing.assert_allclose(whole.context[:, cut:][:, kept], rest.context[:, kept], atol=1e-5)


def test_depth_transformer_grows_as_it_is_trained(cfg, params, merge):
    rng = np.random.default_rng(2)
    hidden = jnp.asarray(rng.normal(size=(5, cfg.width)), jnp.float32)
    codes = jnp.asarray(rng.integers(0, cfg.entries, (5, cfg.books)))

    @jax.jit
    def both(params):
        model, past, grown = merge(params), None, []
        for book in range(1, cfg.books):
            logits, past = model.grow_depth(hidden, codes[:, book - 1], book, past)
            grown.append(logits)
        return model.depth_logits(hidden, codes[:, :-1]), jnp.stack(grown, axis=1)

    whole, grown = both(params)
    np.testing.assert_allclose(whole, grown, atol=1e-4)


def test_voice_ignores_padding_and_knows_its_absence(cfg, params, merge):
    codes = np.random.default_rng(3).integers(0, cfg.entries, (2, 12, cfg.voice_books))
    encode = jax.jit(lambda p, c, n: merge(p).encode_voice(c, n))
    voice = encode(params, codes, np.array([9, 0]))
    other = encode(params, np.where(np.arange(12)[:, None] < 9, codes, 5), np.array([9, 0]))
    np.testing.assert_array_equal(voice[0], other[0])
    np.testing.assert_allclose(jnp.mean(voice**2, axis=-1), 1.0, rtol=1e-4)
    silent = encode(params, codes[::-1], np.array([0, 0]))
    np.testing.assert_array_equal(silent[0], voice[1])
    with pytest.raises(ValueError, match="all books"):
        encode(params, codes[..., :-1], np.array([9, 9]))


def test_walk_follows_the_advances():
    pointer, dwell = walk(jnp.array([[0, 2, 0, 0, 1, 0]]))
    np.testing.assert_array_equal(pointer, [[0, 0, 2, 2, 2, 3]])
    np.testing.assert_array_equal(dwell, [[0, 1, 0, 1, 2, 0]])


def test_stepped_logits_are_those_of_the_whole_form(cfg, params, merge, units):
    """Teacher-forced through a poisoned ring cache, against the uncached form; over one window."""
    rng = np.random.default_rng(4)
    count = cfg.window + 12
    codes = jnp.asarray(rng.integers(0, cfg.entries, (2, count, cfg.books)))
    advance = np.zeros((2, count), np.int32)
    advance[0, rng.choice(count, 15, replace=False)] = 1
    advance[1, rng.choice(count, 6, replace=False)] = 3
    previous = jnp.pad(codes[:, :-1], ((0, 0), (1, 0), (0, 0)), constant_values=-1)
    pointer, dwell = walk(jnp.asarray(advance))

    def heads(model, frames, text, pointer, advance):
        hidden = model.first_hidden(frames, text, pointer, advance)
        return model.advance_logits(frames), model.first_logits(hidden)

    @jax.jit
    def run(params):
        model = merge(params)
        text = model.encode_text(*map(jnp.asarray, units), jnp.full(2, 18), jnp.full(2, 1))
        voice = model.encode_voice(codes[:, :20], jnp.array([20, 0]))
        whole, _ = model.listen(previous, pointer, dwell, text, voice)

        def body(state, x):
            previous, pointer, dwell, advance = (a[:, None] for a in x)
            frame, state = model.listen(previous, pointer, dwell, text, voice, state)
            return state, jax.tree.map(
                lambda a: a[:, 0], heads(model, frame, text, pointer, advance)
            )

        state = poison(model.backbone.init_state(2), ("rings",))
        time_first = [
            jnp.moveaxis(jnp.asarray(a), 1, 0) for a in (previous, pointer, dwell, advance)
        ]
        _, stepped = jax.lax.scan(body, state, tuple(time_first))
        stepped = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), stepped)
        return heads(model, whole, text, pointer, jnp.asarray(advance)), stepped

    for whole, stepped in zip(*run(params), strict=True):
        np.testing.assert_allclose(stepped, whole, atol=1e-4)
