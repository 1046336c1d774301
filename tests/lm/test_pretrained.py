"""Published speech LMs: transformers' own answers, streams at any schedule, wrong files."""

import json
import shutil
from functools import cache, cached_property
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from lm import pretrained
from lm.pretrained import ImportFailed, Utterance
from lm.pretrained.orpheus import COLUMN, Tokens
from lm.pretrained.sampling import Sampling, draw
from tests.contract import check_streaming
from tests.lm.pretrained import reference

HERE = Path(__file__).parent / "pretrained"
TOKENS = Tokens(**reference.TOKENS)
CAPACITY = {"csm": 240, "orpheus": 1480}
FRAMES = reference.FRAMES


def load(path, **how):
    return pretrained.load(path, tokens=TOKENS, **how)


class Held:
    """A model with its compiled steps, and what transformers makes of it."""

    def __init__(self, name):
        self.name, self.capacity = name, CAPACITY[name]
        self.model = load(HERE / name)
        self.answers = dict(np.load(HERE / name / "answers.npz"))
        self.lengths = self.answers["lengths"].astype(np.int32)
        self.tokens = self.answers["tokens"].astype(np.int32)
        self.lm = nnx.merge(self.model.graphdef, self.model.params)
        self.hot = self.lm.sampling(3)
        self.greedy = self.hot._replace(temperature=jnp.zeros(3), repetition=jnp.ones(3))
        self._prefill = self.jitted(lambda lm, *args: lm.prefill(*args))
        self._generate = self.jitted(
            lambda lm, sampling, state, frames, active: lm.generate(
                sampling, state, frames, FRAMES, active
            )
        )

    def jitted(self, method):
        """`method(lm, ...)`, compiled; with other parameters if they are given."""
        run = jax.jit(lambda params, *args: method(nnx.merge(self.model.graphdef, params), *args))
        return lambda *args, params=self.model.params: run(params, *args)

    @cached_property
    def listen(self):
        """Of tokens, what the backbone says and its logits, without a cache."""

        def whole(lm, tokens):
            hidden, _ = lm.backbone(lm.embed(tokens))
            return hidden, lm.score(hidden)

        return self.jitted(whole)

    @cached_property
    def listen_depth(self):
        """Logits of the other books of CSM."""
        return self.jitted(lambda lm, *args: lm.score_depth(*args))

    def begun(self, rows=(True, True, True), seeds=(1, 2, 3)):
        """The state after the prompts."""
        state = self.lm.init_state(3, jnp.array(seeds), self.capacity)
        return self.prefill(state, rows)

    def prefill(self, state, rows=(True, True, True)):
        return self._prefill(self.tokens, self.lengths, state, np.array(rows))

    def generate(self, state, frames, sampling=None, active=(True, True, True), **how):
        """State, codes and validity, row by row."""
        sampling = self.hot if sampling is None else sampling
        state, codes, valid = self._generate(
            sampling, state, np.int32(frames), np.array(active), **how
        )
        codes, valid = (np.asarray(a).swapaxes(0, 1)[:, :frames] for a in (codes, valid))
        return state, codes, valid

    def frames(self, tokens):
        """The frames in a row of transformers' tokens, up to its end."""
        if self.name == "csm":
            return tokens
        end = np.append(tokens == TOKENS.end_of_speech, True).argmax()
        tokens = tokens[:end].reshape(-1, 7)
        codes = np.zeros_like(tokens)
        codes[:, list(COLUMN)] = tokens - TOKENS.first_code - TOKENS.codes * np.arange(7)
        assert ((codes >= 0) & (codes < TOKENS.codes)).all() and len(codes) > 5
        return codes

    @cached_property
    def whole(self):
        """What is heard of the prompts and the FRAMES places that transformers put after them."""
        after = self.answers["said"] if self.name == "csm" else self.answers["free"]
        if self.name == "csm":
            after = np.pad(after, ((0, 0), (0, 0), (0, 1)), constant_values=-1)
        blank = np.full((3, FRAMES, *self.tokens.shape[2:]), 0, np.int32)
        tokens = np.concatenate([self.tokens, blank], axis=1)
        for row, length in enumerate(self.lengths):
            tokens[row, length : length + FRAMES] = after[row]
        hidden, logits = self.listen(tokens)
        return hidden, np.asarray(logits)


held_once = cache(Held)


@pytest.fixture(params=tuple(CAPACITY))
def held(request):
    return held_once(request.param)


def same(codes, valid, wanted, wanted_valid):
    """The same frames: what is not valid holds nothing of use."""
    np.testing.assert_array_equal(valid, wanted_valid)
    np.testing.assert_array_equal(codes[valid], wanted[wanted_valid])


# ---- transformers' answers ----------------------------------------------------------------------


def test_logits_are_those_of_transformers(held):
    _, logits = held.whole
    wanted = held.answers["logits"]
    for row, length in enumerate(held.lengths):
        np.testing.assert_allclose(logits[row, :length], wanted[row, :length], atol=5e-5, rtol=0)
    _, alone = held.listen(held.tokens[1:2, : held.lengths[1]])
    np.testing.assert_allclose(alone, held.answers["alone"], atol=5e-5, rtol=0)


def test_without_a_cache_the_same_is_best(held):
    hidden, logits = held.whole
    for row, length in enumerate(held.lengths):
        here = slice(length - 1, length - 1 + FRAMES)
        if held.name == "orpheus":  # of all tokens, allowed or not
            np.testing.assert_array_equal(logits[row, here].argmax(-1), held.answers["free"][row])
            continue
        said, size = held.answers["said"][row].astype(np.int32), held.lm.entries
        np.testing.assert_array_equal(logits[row, here, :size].argmax(-1), said[:, 0])
        depth = np.asarray(held.listen_depth(hidden[row, here], said))
        np.testing.assert_array_equal(depth[..., :size].argmax(-1), said[:, 1:])
        np.testing.assert_allclose(depth[0], held.answers["depth"][row], atol=5e-5, rtol=0)


def test_greedy_frames_are_those_of_transformers(held):
    state, codes, valid = held.generate(held.begun(), FRAMES, held.greedy)
    for row, tokens in enumerate(held.answers["said"]):
        wanted = held.frames(tokens)
        assert valid[row].all() and len(wanted) == FRAMES
        np.testing.assert_array_equal(codes[row], wanted)
    assert not state.done.any() and not state.full.any()


def test_the_repetition_penalty_is_that_of_transformers():
    held = held_once("orpheus")
    again = held.greedy._replace(repetition=jnp.full(3, 1.3, jnp.float32))
    state, codes, valid = held.generate(held.begun(), FRAMES, again)
    for row, tokens in enumerate(held.answers["varied"]):
        wanted = held.frames(tokens)
        assert valid[row, : len(wanted)].all() and valid[row].sum() == len(wanted)
        np.testing.assert_array_equal(codes[row, : len(wanted)], wanted)
        assert state.done[row] == (len(wanted) < FRAMES)  # some come to an end of speech
    assert state.done.any() and not state.done.all()


def test_prompts_are_what_transformers_was_given(held):
    prompt, context = held.model.config.prompt, []
    if held.name == "csm":
        sound = held.tokens[0][(held.tokens[0] >= 0).sum(axis=1) > 1][:-1, :-1]
        context = [Utterance("hm.", sound, "0")]
    for row, text in enumerate(reference.TEXTS):
        voice = "tara" if held.name == "orpheus" else str(row % 2)
        made = prompt(held.model.tokenizer, text, voice, context if row == 0 else [])
        assert made.dtype == np.int32
        np.testing.assert_array_equal(made, held.tokens[row, : held.lengths[row]])
    sly = prompt(held.model.tokenizer, "<|eot_id|><|AUDIO|>")
    assert (sly == reference.EOT).sum() == (held.name == "orpheus") and reference.AUDIO not in sly
    for codes, says in (
        (np.zeros((2, 3), np.int32), "here a frame has"),
        (np.full((2, held.lm.books), held.lm.entries), f"from 0 to {held.lm.entries - 1}"),
    ):
        with pytest.raises(ValueError, match=says):
            prompt(held.model.tokenizer, "a", "0", [Utterance("b", codes, "0")])
    if held.name == "orpheus":
        with pytest.raises(ValueError, match="tokens of speech"):
            prompt(held.model.tokenizer, "a <custom_token_1>")


def test_an_utterance_before_an_orpheus_prompt_is_laid_out_as_it_is_written():
    model = load(HERE / "orpheus")
    codes = np.arange(14, dtype=np.int32).reshape(2, 7)
    made = model.config.prompt(model.tokenizer, "c", "zoe", [Utterance("b", codes, "zoe")])
    begin = list(made).index(TOKENS.start_of_speech) + 1
    levels = (made[begin : begin + 14] - TOKENS.first_code) // TOKENS.codes
    np.testing.assert_array_equal(levels, [0, 1, 2, 3, 4, 5, 6] * 2)
    at = (made[begin : begin + 7] - TOKENS.first_code) % TOKENS.codes
    np.testing.assert_array_equal(at, [0, 1, 3, 4, 2, 5, 6])  # coarse, middle, two fine, again
    after = [TOKENS.end_of_speech, TOKENS.end_of_ai, TOKENS.start_of_human]
    np.testing.assert_array_equal(made[begin + 14 : begin + 17], after)


# ---- streams ------------------------------------------------------------------------------------


def test_the_schedule_changes_nothing(held):
    whole, codes, valid = held.generate(held.begun(), 24)
    assert valid[:, :3].all() and (codes[0, :3] != codes[1, :3]).any()
    for sizes in ([1] * 24, [8] * 3, [1, 2, 5, 8, 8]):
        state, parts = held.begun(), []
        for size in sizes:
            state, *part = held.generate(state, size)
            parts.append(part)
        same(*(np.concatenate(p, axis=1) for p in zip(*parts, strict=True)), codes, valid)
        for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(whole), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_row_is_the_same_alone_and_in_company(held):
    _, codes, valid = held.generate(held.begun(), 8)
    for row in range(3):
        alone = np.arange(3) == row
        _, own, there = held.generate(held.begun(alone), 8)
        same(own[alone], there[alone], codes[alone], valid[alone])
        assert not there[~alone].any()
    _, other, _ = held.generate(held.begun(seeds=(1, 9, 3)), 8)
    assert (other[1] != codes[1]).any() and (other[0] == codes[0]).all()


def test_a_paused_row_goes_on_as_if_nothing_had_been(held):
    _, codes, valid = held.generate(held.begun(), 8)
    state, first, there = held.generate(held.begun(), 3)
    state, _, nothing = held.generate(state, 4, active=(True, False, True))
    assert not nothing[1].any()
    _, rest, then = held.generate(state, 5)
    same(np.concatenate([first, rest], 1)[1], np.concatenate([there, then], 1)[1], codes[1],
         valid[1])  # fmt: skip


def test_a_restarted_row_is_a_new_one_and_disturbs_nobody(held):
    state, _, _ = held.generate(held.begun(), 5)
    _, codes, valid = held.generate(state, 8)
    one = np.array([False, True, False])
    again = held.lm.restart(state, jnp.array(one), jnp.array([0, 7, 0]))
    assert again.done[1]
    _, after, there = held.generate(held.prefill(again, one), 8)
    same(after[~one], there[~one], codes[~one], valid[~one])
    _, new, new_there = held.generate(held.begun(seeds=(1, 7, 3)), 8)
    same(after[one], there[one], new[one], new_there[one])


def test_a_prompt_in_two_parts_is_one(held):
    first, state = np.minimum(held.lengths, 4), held.lm.init_state(3, jnp.arange(3), held.capacity)
    whole = held.prefill(state)
    state = held._prefill(held.tokens, first, state, np.ones(3, bool))
    at = np.minimum(first[:, None] + np.arange(held.tokens.shape[1]), held.tokens.shape[1] - 1)
    rest = np.stack([tokens[row] for tokens, row in zip(held.tokens, at, strict=True)])
    state = held._prefill(rest, held.lengths - first, state, np.ones(3, bool))
    np.testing.assert_array_equal(state.cache.pos, whole.cache.pos)
    np.testing.assert_allclose(state.hidden, whole.hidden, atol=2e-5)


def test_a_full_cache_ends_a_row_and_says_so(held):
    state, places = held.begun(), held.lm.places
    _, codes, valid = held.generate(state, 8, held.greedy)
    near = held.capacity - 3 * places - (places - 1)  # room for three frames and no fourth
    pos = state.cache.pos.at[0].set(near)
    state = state._replace(cache=state.cache._replace(pos=pos))
    state, after, there = held.generate(state, 8, held.greedy)
    assert there[0].sum() == 3
    np.testing.assert_array_equal(state.full, [True, False, False])
    np.testing.assert_array_equal(np.asarray(state.done)[0], True)
    same(after[1:], there[1:], codes[1:], valid[1:])
    unheard = held.prefill(state, (True, False, False))  # no room for it: nothing is written
    assert unheard.full[0] and unheard.done[0]
    for a, b in zip(jax.tree.leaves(unheard.cache), jax.tree.leaves(state.cache), strict=True):
        np.testing.assert_array_equal(a, b)
    fresh = held.lm.restart(state, jnp.array([True, False, False]), jnp.zeros(3, int))
    fresh = held.prefill(fresh, (True, False, False))
    assert not fresh.full.any() and not fresh.done[0]


def test_more_than_the_cache_or_the_model_holds_is_an_error(held):
    small = held.lm.init_state(3, jnp.arange(3), held.tokens.shape[1] - 1)
    with pytest.raises(ValueError, match="and a cache of"):
        held._prefill(held.tokens, held.lengths, small, np.ones(3, bool))
    with pytest.raises(ValueError, match="this model knows"):
        held.lm.init_state(3, jnp.arange(3), 4096)


def test_a_frame_of_zeros_ends_csm():
    held = held_once("csm")
    params = dict(held.model.params)
    params["depth"] = params["depth"] | {"gain": 0 * params["depth"]["gain"]}  # all logits are 0
    before = held.begun()._replace(hidden=jnp.zeros((3, held.lm.backbone.shape.width)))
    state, _, valid = held.generate(before, 3, held.greedy, params=params)
    assert state.done.all() and not state.full.any() and not valid.any()
    np.testing.assert_array_equal(state.cache.pos, before.cache.pos + 1)  # it has been heard


def test_the_decoder_keeps_the_streaming_contract():
    held = held_once("csm")
    x = jax.random.normal(jax.random.key(0), (2, 12, held.lm.backbone.shape.width))
    check_streaming(
        lambda params, x, state: nnx.merge(held.model.graphdef, params).backbone(x, state),
        lambda batch: held.lm.backbone.init_state(batch, 12),
        held.model.params, x, blocks=(1, 4), unwritten=("keys", "values"), gradients=False,
    )  # fmt: skip


def test_draws_follow_temperature_and_are_cut_as_asked():
    rows, logits = 4000, jnp.array([2.0, 1.0, 0.0, -1.0, -3.0])

    @jax.jit
    def shares(temperature, top_k, top_p, repetition):
        keys = jax.vmap(jax.random.key)(jnp.arange(rows))
        said = jnp.zeros((rows, 5), bool).at[:, 1].set(True)
        given = (temperature, top_k, top_p, repetition)
        sampling = Sampling(*(jnp.full(rows, value) for value in given))
        drawn = draw(jnp.tile(logits, (rows, 1)), said, keys, 0, sampling)
        return jnp.mean(jax.nn.one_hot(drawn, 5), axis=0)

    np.testing.assert_array_equal(shares(0.0, 5, 1.0, 1.0), [1, 0, 0, 0, 0])
    for temperature, again in ((1.0, 1.0), (2.0, 1.0), (1.0, 4.0)):
        wanted = jax.nn.softmax(logits.at[1].divide(again) / temperature)
        np.testing.assert_allclose(shares(temperature, 5, 1.0, again), wanted, atol=0.02)
    wanted = jax.nn.softmax(logits[:2])
    np.testing.assert_allclose(shares(1.0, 2, 1.0, 1.0)[:2], wanted, atol=0.02)
    # The best has 0.64 of the mass, the two best 0.87: one is enough for 0.6, two for 0.8.
    np.testing.assert_array_equal(shares(1.0, 5, 0.6, 1.0), [1, 0, 0, 0, 0])
    np.testing.assert_allclose(shares(1.0, 5, 0.8, 1.0)[:2], wanted, atol=0.02)


def test_parameters_may_be_kept_in_bfloat16(held):
    half = load(HERE / held.name, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(half.params)} == {jnp.dtype(jnp.bfloat16)}
    lm = nnx.merge(half.graphdef, half.params)
    assert lm.init_state(1, jnp.zeros(1, int), 8).cache.rings[0].keys.dtype == jnp.bfloat16
    _, ours = held.listen(held.tokens, params=half.params)
    wanted = held.answers["logits"]
    for row, length in enumerate(held.lengths):
        apart = ours[row, :length] - wanted[row, :length]
        assert 0 < np.sqrt(np.mean(apart**2)) < 0.1 * wanted[row, :length].std()


# ---- files that are wrong -----------------------------------------------------------------------


@pytest.fixture(params=tuple(CAPACITY))
def folder(request, tmp_path):
    """A copy of a good one, and how to change its tensors and its config."""
    path = tmp_path / "model"
    shutil.copytree(HERE / request.param, path)

    def change(edit=None, **fields):
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | fields))
        if edit:
            tensors = load_file(path / "model.safetensors")
            edit(tensors)
            save_file(tensors, path / "model.safetensors")

    return path, change, request.param


def test_other_models_are_refused(folder):
    path, change, name = folder
    change(hidden_act="gelu")
    with pytest.raises(ImportFailed, match="hidden_act is 'gelu'"):
        load(path)
    change(hidden_act="silu", rope_parameters={"rope_type": "yarn", "rope_theta": 1.0})
    with pytest.raises(ImportFailed, match="'yarn'"):
        load(path)
    change(rope_parameters=None)
    with pytest.raises(ImportFailed, match="no rope_theta"):
        load(path)
    change(model_type="bark")
    with pytest.raises(ImportFailed, match="type 'bark'; there are csm, and llama"):
        load(path)
    if name == "orpheus":
        change(model_type="llama")
        with pytest.raises(ImportFailed, match="vocabulary of 226; Orpheus has SNAC's codes up to"):
            pretrained.load(path)


def test_older_configs_spell_the_rope_otherwise(folder):
    path, change, name = folder
    rope = json.loads((path / "config.json").read_text())["rope_parameters"]
    change(rope_parameters=None, rope_theta=rope.pop("rope_theta"), rope_scaling=rope)
    assert load(path).config == load(HERE / name).config


def test_wrong_tensors_are_named(folder):
    path, change, name = folder
    twin = {
        "csm": "backbone_model.embed_tokens.embed_audio_tokens.weight", "orpheus": "lm_head.weight"
    }[name]  # fmt: skip
    kept = {
        "csm": "depth_decoder.model.embed_tokens.weight", "orpheus": "model.embed_tokens.weight"
    }[name]  # fmt: skip
    change(lambda t: t.update({twin: t[kept].copy()}))  # as some versions save what is tied
    load(path)
    change(lambda t: t.update({twin: t[twin] + 1}))
    with pytest.raises(ImportFailed, match=f"{twin}.* differ|differ.*tied"):
        load(path)
    change(lambda t: (t.pop(twin), t.update(spare=np.ones(3, np.float32))))
    with pytest.raises(ImportFailed, match="nobody has a use for spare"):
        load(path)


def test_an_untied_head_is_read(folder):
    path, change, name = folder
    if name == "csm":  # whose published weights are tied
        change(tie_codebooks_embeddings=False)
        with pytest.raises(ImportFailed, match="tie_codebooks_embeddings"):
            load(path)
        return
    head = np.random.default_rng(0).standard_normal((226, 32)).astype(np.float32)
    change(lambda t: t.update({"lm_head.weight": head}), tie_word_embeddings=False)
    model = load(path)
    lm, one = nnx.merge(model.graphdef, model.params), jnp.ones((1, 1, 32))
    np.testing.assert_allclose(lm.score(one)[0, 0], head.sum(axis=1), atol=1e-4)


def test_a_missing_tokenizer_is_missed(folder):
    path, _, name = folder
    tokenizer = path / "tokenizer.json"
    told = json.loads(tokenizer.read_text())
    tokenizer.write_text(json.dumps(told | {"added_tokens": []}))
    with pytest.raises(ImportFailed, match="no token <|begin_of_text|>"):
        model = load(path)
        model.config.prompt(model.tokenizer, "a")
    tokenizer.write_text("{")
    with pytest.raises(ImportFailed, match="damaged"):
        load(path)
    tokenizer.unlink()
    with pytest.raises(ImportFailed, match=r"tokenizer\.json: none there"):
        load(path)
