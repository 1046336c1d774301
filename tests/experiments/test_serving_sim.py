"""The simulator keeps books that add up, and the guarantee holds in it."""

import json

import pytest

from experiments import serving_sim as sim


def COST(streams, frames):
    """Of a machine that holds some sixty streams."""
    return 0.003 + frames * (0.0015 + 0.0004 * streams)


NO_NETWORK = sim.World(network_s=0.0, buffer_s=0.0)


def simulate(policy, agents, seconds, world=NO_NETWORK, seed=0):
    return sim.simulate(policy, sim.conversations(agents, seed), COST, seconds, world, seed)


def test_without_a_network_nobody_who_was_admitted_runs_dry():
    for agents in (3, 20, 400):
        found = simulate("ours", agents, 60.0)
        assert found.underrun_ms_per_min == 0.0 and found.dry_turns == 0.0
    assert found.refused > 0, "400 are too many: some have to wait"


def test_a_policy_that_knows_no_leads_wastes_more():
    ours, fixed = (simulate(policy, 16, 120.0) for policy in ("ours", "fixed"))
    assert ours.wasted < 0.7 * fixed.wasted
    assert ours.first_audio_s[0] < fixed.first_audio_s[0]
    assert 0.5 < ours.turns / fixed.turns < 2.0


def test_a_listener_counts_the_gaps():
    playback = sim.Playback(buffer_s=0.06)
    playback.receive(1.0, 0.8)
    playback.receive(1.06 + 0.8 + 0.3, 0.8)  # 300 ms after the first chunk was over
    assert playback.dry_s == pytest.approx(0.3)
    assert playback.at(1.0) == pytest.approx(1.06 + 0.3 + 1.0)
    assert playback.at(1.7) == float("inf")


def test_taking_up_a_text_is_waited_for():
    slow = NO_NETWORK._replace(begin_s=(0.05,))
    first = [simulate("ours", 1, 60.0, world).first_audio_s[0] for world in (NO_NETWORK, slow)]
    assert first[1] - first[0] == pytest.approx(0.05, abs=0.005)


def test_a_text_is_waited_for_from_when_it_comes():
    slow = {"write_s": (0.02,), "enter_s": (0.02,)}
    worlds = [NO_NETWORK, NO_NETWORK._replace(**slow), NO_NETWORK._replace(enter_s=(0.02,))]
    first = [simulate("ours", 1, 60.0, world).first_audio_s[0] for world in worlds]
    # A row is found while the text is on its way.
    assert first[1] == pytest.approx(first[0], abs=0.003)
    assert first[2] - first[0] == pytest.approx(0.02, abs=0.003)


def test_what_was_measured_is_read_back_for_listeners_behind_a_network(tmp_path):
    costs = {"fixed_s": {"1": 0.002}, "frame_s": {"1": 0.003}, "begin_s": 0.01, "move_s": 0.0}
    near = sim.World({8: (0.9,)}, 0.001, 0.02, (0.001,), (0.002,), (0.003,), 0.01, (1,))
    told = {"simulator": [{"costs": costs, "world": near._asdict()}]}
    (tmp_path / "serving.json").write_text(json.dumps(told))
    cost, world = sim.measured(tmp_path / "serving.json")
    assert cost(1, 2) == pytest.approx(0.008) and cost(2, 1) == float("inf")
    assert world.spread == {8: [0.9]} and world.most_s == 0.01 and world.sizes == (1,)
    assert (world.network_s, world.buffer_s) == (0.02, 0.06)


def test_an_accelerator_speaks_to_thousands():
    ours = sim.simulate("ours", sim.conversations(2_000, count=20), sim.made_up, 20.0)
    assert ours.underrun_ms_per_min < 5.0 and ours.refused == 0 and ours.turns > 1_000


def test_who_asks_during_a_dispatch_has_waited_for_it():
    slow = lambda streams, frames: 0.3  # noqa: E731
    world = NO_NETWORK._replace(spread={8: (1.0,)})
    found = sim.simulate("fixed", sim.conversations(4), slow, 120.0, world)
    assert found.first_audio_s[0] > 0.3 and 0.5 < found.first_audio_s[1] <= 0.6 + 1e-6


def test_the_same_seed_is_the_same_run_and_every_policy_runs():
    for policy in sim.POLICIES:
        assert simulate(policy, 4, 20.0, seed=3) == simulate(policy, 4, 20.0, seed=3)
    found = [simulate(policy, 4, 20.0) for policy in sim.POLICIES]
    assert all(f"| {policy} | 4 |" in sim.markdown(found) for policy in sim.POLICIES)
    assert len(sim.picture(found).axes) == 3
