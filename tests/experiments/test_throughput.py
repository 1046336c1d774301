"""Throughput: the table is whole, the FLOPs are right, and a busy machine is refused."""

import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from experiments import throughput
from tests.voiceloom.tiny import write_release


class State(NamedTuple):
    """Of a task with one matrix."""

    step: jax.Array
    params: dict


def test_a_busy_machine_is_refused(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(throughput.time, "sleep", lambda _: None)
    monkeypatch.setattr(throughput.Others, "cores", lambda _: 1.5)
    out = tmp_path / "speed"
    assert throughput.main(["--out", str(out)]) == 2
    assert "1.50 cores" in capsys.readouterr().err and not out.with_suffix(".md").exists()


def test_the_load_of_others_is_not_our_own():
    others = throughput.Others()
    a = jnp.ones((256, 256))
    for _ in range(20):
        a = (a @ a / 256).block_until_ready()
    assert others.cores() >= 0
    assert isinstance(others.busiest(), str)


def test_flops_are_those_of_the_branch_that_runs():
    class Task:
        def init(self, key):
            return State(jnp.zeros((), jnp.int32), {"w": jnp.ones((64, 64))})

        def train_step(self, state, batch):
            w = jax.lax.cond(
                state.step >= 5, lambda w: w @ w @ w @ w @ w, lambda w: w @ w, state.params["w"]
            )
            return state._replace(step=state.step + 1, params={"w": w / 64}), {"loss": w.sum()}

    slow, fast = throughput.training(Task(), {"x": jnp.ones(1)}, 2.0, {"a": 5, "b": 0}, 0.0)
    once = 2 * 64**3
    assert once <= fast.flops < 1.1 * once and 4 * once <= slow.flops < 4.1 * once
    assert fast.parameters == 64 * 64 and fast.speed == pytest.approx(2.0 / fast.step_s)


def test_everything_is_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(throughput.time, "sleep", lambda _: None)
    monkeypatch.setattr(throughput.Others, "cores", lambda _: 0.5)
    release = write_release(tmp_path / "release")
    out = tmp_path / "results" / "speed"
    assert (
        throughput.main(["--tiny", "--anyway", "--weights", str(release), "--out", str(out)]) == 0
    )

    table = out.with_suffix(".md").read_text()
    assert table.strip() in capsys.readouterr().out
    assert "disturbed" in table
    for name in ("before the critics", "with its critics", "language model", "first chunk", "load"):
        assert name in table
    found = json.loads(out.with_suffix(".json").read_text())
    assert len(found["products"]) == 3 and all(p["gflops"] > 0 for p in found["products"])
    before, critics, model = found["training"]
    assert critics["flops"] > before["flops"] > 0 and model["flops"] > 0
    assert model["batch_s"] == pytest.approx(4 * 64 / 12.5)
    said = found["speaking"]
    assert 0 < said["first_chunk_s"][0] <= said["first_audible_s"][1]
    assert said["compile_s"] < said["load_s"] and said["real_time_factor"] > 0
