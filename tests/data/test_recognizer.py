import numpy as np
import pytest

import voiceloom
from data.recognizer import Recognizer
from voiceloom import judges

pytest.importorskip("moonshine_voice", reason="the extra 'transcribe' is not installed")


def test_what_the_release_says_is_heard():
    said = voiceloom.load(warm=False).say("I would like a large coffee with milk.", "af_heart")
    heard = Recognizer()(said.samples)
    assert judges.word_errors("I would like a large coffee with milk.", heard).errors <= 1


def test_nothing_is_heard_in_silence():
    assert Recognizer()(np.zeros(48_000, np.float32)) == ""
