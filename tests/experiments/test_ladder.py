"""Ladder and hours: every rung is a config that trains, and the tables say what was measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import hours, ladder, lm_base, lm_hours, lm_ladder
from lm.baseline_task import BaselineTask
from lm.task import LMTask
from tests.voiceloom.tiny import write_release


@pytest.mark.parametrize("name", lm_ladder.RUNGS)
def test_a_rung_is_a_config_that_trains_at_about_the_same_size(name):
    config = lm_ladder.get_config(name)
    task = (LMTask if name == "pointer" else BaselineTask)(config)
    state = jax.eval_shape(task.init, jax.random.key(0))
    size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert 11e6 < size < 13e6
    frames, units = config.data.frames, config.data.units
    ids = lambda *shape: jnp.zeros((2, *shape), jnp.int32)  # noqa: E731
    batch = {
        "codes": ids(frames, 16), "prosody": ids(frames), "mask": jnp.ones((2, frames), bool),
        "advance": ids(frames), "symbol": ids(units), "stress": ids(units), "word": ids(units),
        "length": ids(), "voice": ids(50, 16), "voice_length": ids(),
    }  # fmt: skip
    after, metrics = jax.eval_shape(task.train_step, state, batch)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    assert {"first", "depth", "advance"} <= set(metrics)


def test_shares_differ_from_the_default_in_data_and_steps_only():
    base = lm_base.get_config().to_dict()
    for share in lm_hours.SHARES:
        config = lm_hours.get_config(str(share)).to_dict()
        assert config["data"].pop("share") == share
        assert config | {"steps": base["steps"]} == base


KNOWN_OF_ALL = ("rung", "errors", "words", "failures")


class Listener:
    """Hears nothing of "One"."""

    def transcribe(self, samples, sample_rate):
        assert sample_rate == 24_000 and len(samples) > 2400
        return "two three"


def test_a_finished_model_reads_the_same_sentences(tmp_path):
    found = ladder.beside("tiny", str(write_release(tmp_path)), ["One two three."], Listener())
    assert found == {"rung": "tiny", "errors": [1], "words": [3], "failures": [False]}


def row(**more):
    made = {"step": 10, "parameters": 12_000_000, "flops": 2e15, "core_hours": 0.5}
    return made | {"errors": [1, 3], "words": [10, 10], "failures": [False, True]} | more


def test_tables_and_pictures_say_what_was_measured():
    rows = [row(rung="flat"), row(rung="pointer", flops=4e15, errors=[0, 1])]
    table = ladder.markdown(rows)
    assert "| flat | 12.0 | 10 | 2.00 | 0.50 | 20.0 [10.0, 30.0] | 50 [0, 100] |" in table
    assert "| pointer | 12.0 | 10 | 4.00 | 0.50 | 5.0 [0.0, 10.0] |" in table
    rows.append({k: v for k, v in row(rung="csm").items() if k in KNOWN_OF_ALL})
    assert "| csm | - | - | - | - | 20.0 [10.0, 30.0] | 50 [0, 100] |" in ladder.markdown(rows)
    assert len(ladder.picture(rows).axes[0].get_legend().texts) == 3
    rows = [row(hours=1.0), row(hours=2.0)]
    assert "| 2.00 | 10 | 0.50 | 20.0 [10.0, 30.0] | 50 [0, 100] |" in hours.markdown(rows)
    assert np.allclose(hours.picture(rows).axes[0].lines[0].get_xdata(), [1, 2])
