"""From audio files to speech: prepare, codec, codes, language model, release, say."""

import json
import shutil

import numpy as np
import pytest
import soundfile

import voiceloom
from data.prepare import prepare
from experiments import codec_base, codec_told, lm_base, lm_heard
from experiments.tokenise import tokenise
from experiments.train import train
from tests.voiceloom.tiny import codec_params
from voiceloom import export, weights
from voiceloom.weights import WeightsError

CLIPS = 4
DURATIONS = [2, 5, 5, 5, 5, 4, 2, 5, 5, 5, 5, 4, 8]
"""Of a lead, the eleven characters and a tail, in 25 ms."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A manifest corpus of hums with phone timings, two voices, three splits."""
    folder, rng, lines = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0), []
    t = np.arange(36_000) / 24_000
    for split in ("train", "val", "test"):
        for voice, pitch in (("anna", 210), ("bert", 120)):
            for n in range(CLIPS):
                hum = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 12))
                hum = 0.1 * hum * (0.6 + 0.4 * np.sin(2 * np.pi * (3 + n) * t))
                name = f"{split}_{voice}_{n}"
                soundfile.write(
                    folder / f"{name}.wav", hum + 0.001 * rng.normal(size=36_000), 24_000
                )
                lines.append(
                    dict(
                        id=name, audio=f"{name}.wav", split=split, speaker=voice, language="en",
                        accent="us", text="Mama, mama.", phones="mamæ, mamæ.",
                        durations=DURATIONS, seconds=1.5,
                    )
                )  # fmt: skip
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def path(corpus, tmp_path_factory):
    """A folder with everything that lies on the way, made by tiny runs."""
    folder = tmp_path_factory.mktemp("runs")
    prepare(corpus, "manifest", folder / "records")

    config = codec_base.get_config("tiny")
    config.data.train = config.data.held_out = (str(folder / "records"),)
    train(config, folder / "codec")
    export.export_codec(folder / "codec", folder / "release")
    tokenise(folder / "records", folder / "codes", folder / "release")

    config = lm_base.get_config("tiny")
    config.codec = str(folder / "release")
    config.model.entries = 64
    config.data.train = config.data.held_out = (str(folder / "codes"),)
    config.data.update(voice_s=(0.5, 1.0), frames=48, units=48)
    train(config, folder / "lm")
    export.export_lm(folder / "lm", [folder / "codes"], folder / "release", calibrate=True)
    export.write_card(folder / "release", "| a figure |")
    return folder


def test_the_release_speaks_in_the_voices_of_the_corpus(path):
    synth = voiceloom.load(path / "release")
    assert synth.voices == ["anna", "bert"]
    assert synth.voice("anna").accent == "us"
    speech = synth.say("Mama.", voice="anna")
    assert speech.duration_s > 0.1 and np.isfinite(speech.samples).all()


def test_the_longest_dwells_are_those_of_the_corpus(path):
    """The corpus' phones last at most 125 ms: nothing is held for the 350 ms of the config."""
    config = json.loads((path / "release" / "lm.json").read_text())["config"]
    assert max(config["max_dwell_s"]) <= 0.35 < max(lm_base.get_config().model.max_dwell_s)


def test_the_card_names_data_and_figures(path):
    card = (path / "release" / "README.md").read_text()
    assert "anna, bert" in card and "| a figure |" in card and "CC-BY" in card


def test_evaluations_can_be_heard(path):
    for run, kinds in (("codec", ("recording", "4_books")), ("lm", ("spoken", "resynthesis"))):
        for kind in kinds:
            samples, rate = soundfile.read(path / run / "samples" / f"000012_{kind}_0.wav")
            assert rate == 24_000 and len(samples) > 0.5 * rate


def test_who_goes_on_with_a_listener_keeps_the_voices(path, tmp_path):
    shutil.copytree(path / "release", tmp_path / "release")
    config = lm_heard.get_config("tiny")
    config.codec = config.init_from = str(path / "release")
    config.model.entries = 64
    config.data.train = config.data.held_out = (str(path / "codes"),)
    config.data.update(voice_s=(0.5, 1.0), frames=48, units=48)
    config.steps, config.optimizer.warmup = 4, 1
    train(config, tmp_path / "heard")
    export.export_lm(tmp_path / "heard", [], tmp_path / "release")
    before, after = (weights.load(folder / "release") for folder in (path, tmp_path))
    assert before.lm.hash != after.lm.hash and before.lm.config == after.lm.config
    assert before.voices.keys() == after.voices.keys()
    for name, voice in after.voices.items():
        assert voice.lm_hash == after.lm.hash
        np.testing.assert_array_equal(voice.vector, before.voices[name].vector)
    assert voiceloom.load(tmp_path / "release").say("Mama.", voice="anna").duration_s > 0.1


def test_codes_of_another_codec_are_refused(path, tmp_path):
    config = codec_base.get_config("tiny")
    config.seed, config.steps = 1, 1
    config.data.train = config.data.held_out = (str(path / "records"),)
    train(config, tmp_path / "codec")
    export.export_codec(tmp_path / "codec", tmp_path / "release")
    with pytest.raises(WeightsError, match="codes of another codec"):
        export.export_lm(path / "lm", [path / "codes"], tmp_path / "release")
    with pytest.raises(WeightsError, match="no config.json"):
        export.export_codec(path / "records", tmp_path / "release")


def test_a_speaker_is_told_the_text_and_codes_stay_what_they_are(path, tmp_path):
    """What is spoken sounds otherwise; codes, what is decoded from token files, and the language
    model are those of the release."""
    shutil.copytree(path / "release", tmp_path / "release")
    config = codec_told.get_config("tiny")
    config.data.train = config.data.held_out = (str(path / "records"),)
    config.data.own = str(path / "codes")
    config.init_from, config.steps, config.optimizer.warmup = str(path / "release"), 4, 1
    config.critic.sizes = config.critic.sizes[:1]
    train(config, tmp_path / "decoder")
    export.export_codec(tmp_path / "decoder", tmp_path / "release")

    before, after = (voiceloom.load_codec(folder / "release") for folder in (path, tmp_path))
    assert after.hash != before.hash and after.codes_hash == before.codes_hash == before.hash
    assert after.model_id == before.model_id
    samples = np.random.default_rng(0).normal(0, 0.1, (1, 24_000)).astype("f")
    codes = before.encode(samples)
    np.testing.assert_array_equal(after.encode(samples), codes)
    np.testing.assert_array_equal(after.decode(codes), before.decode(codes))
    releases = [voiceloom.load(folder / "release") for folder in (path, tmp_path)]
    ours, again = (release.say("Mama.", voice="anna") for release in releases)
    np.testing.assert_array_equal(ours.codes, again.codes)
    assert np.abs(ours.samples - again.samples).max() > 1e-4

    # Once another codec lies where the run began, nobody can say that these are its codes.
    cfg = weights.load_codec(path / "release").config
    weights.save_codec(tmp_path / "other", cfg, codec_params(cfg), {})
    about = json.loads((tmp_path / "decoder" / "config.json").read_text())
    about["init_from"] = str(tmp_path / "other")
    (tmp_path / "decoder" / "config.json").write_text(json.dumps(about))
    export.export_codec(tmp_path / "decoder", tmp_path / "own")
    own = voiceloom.load_codec(tmp_path / "own")
    assert own.codes_hash == own.hash == after.hash


def test_a_run_without_a_checkpoint_says_so(path, tmp_path):
    (tmp_path / "config.json").write_text((path / "codec" / "config.json").read_text())
    with pytest.raises(WeightsError, match="no checkpoint"):
        export.export_codec(tmp_path, tmp_path / "release")
