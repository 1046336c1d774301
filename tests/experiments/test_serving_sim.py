"""The simulator keeps books that add up, and the guarantee holds in it."""

import pytest

from experiments import serving_sim as sim

COST = sim.read_costs(None)


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr(sim, "NETWORK_S", 0.0)
    monkeypatch.setattr(sim, "BUFFER_S", 0.0)


def test_without_a_network_nobody_who_was_admitted_runs_dry(no_network):
    for agents in (3, 20, 400):
        found = sim.simulate("ours", agents, COST, 60.0)
        assert found.underrun_ms_per_min == 0.0 and found.dry_turns == 0.0
    assert found.refused > 0, "400 are too many: some have to wait"


def test_a_policy_that_knows_no_leads_wastes_more(no_network):
    ours, fixed = (sim.simulate(policy, 16, COST, 120.0) for policy in ("ours", "fixed"))
    assert ours.wasted < 0.7 * fixed.wasted
    assert ours.first_audio_s[0] < fixed.first_audio_s[0]
    assert 0.5 < ours.turns / fixed.turns < 2.0


def test_a_listener_counts_the_gaps():
    stream = sim.Stream(0, sim.Turn(30, 1.0, 0.0), asked=0.0)
    stream.receive(1.0, 10)
    start = 1.0 + sim.BUFFER_S
    stream.receive(start + 0.8 + 0.3, 10)  # 300 ms after the first ten frames were over
    assert stream.dry_s == pytest.approx(0.3)
    stream.made = 20
    assert stream.enough_at() == pytest.approx(start + 0.3 + 1.0)


def test_the_same_seed_is_the_same_run_and_every_policy_runs():
    for policy in sim.POLICIES:
        assert sim.simulate(policy, 4, COST, 20.0, 3) == sim.simulate(policy, 4, COST, 20.0, 3)
    found = [sim.simulate(policy, 4, COST, 20.0) for policy in sim.POLICIES]
    assert all(f"| {policy} | 4 |" in sim.markdown(found) for policy in sim.POLICIES)
    assert len(sim.picture(found).axes) == 3
