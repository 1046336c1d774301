import numpy as np
import pytest

import voiceloom
from data.recognizer import Recognizer
from voiceloom import judges

pytest.importorskip("moonshine_voice", reason="the extra 'transcribe' is not installed")


def test_what_the_release_says_is_heard():
    text = "Please call me back tomorrow morning before nine."
    heard = Recognizer()(voiceloom.load(warm=False).say(text, "af_heart").samples)
    assert judges.word_errors(text, heard).errors <= 2


def test_nothing_is_heard_in_silence():
    assert Recognizer()(np.zeros(48_000, np.float32)) == ""
