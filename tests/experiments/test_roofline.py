"""What binds, and that the page in docs/ says what was measured."""

from pathlib import Path

from experiments import roofline
from experiments.roofline import Accelerator, Work
from tests.voiceloom.tiny import write_release
from voiceloom import weights
from voiceloom.engine import Engine

ROOT = Path(__file__).parents[2]
NEED = Work(flops=50e6, weight_bytes=40e6, state_bytes=2e6)
THERE = Accelerator("there", 1e15, 1e12, 1e12, 0.0, 1.0)


def test_the_scarcest_binds():
    # 64 ms: of bandwidth 64 GB, less 20 MB of weights, at 1 MB a stream in bfloat16
    assert roofline.streams_on(THERE, NEED, 1000, 0.08) == (63_980, "bandwidth")
    slow = THERE._replace(flops=1e12)
    assert roofline.streams_on(slow, NEED, 1000, 0.08) == (1280, "arithmetic")
    small = THERE._replace(memory=1e9)
    assert roofline.streams_on(small, NEED, 1000, 0.08) == (780, "memory")
    late = THERE._replace(kernel_s=1e-4)
    assert roofline.streams_on(late, NEED, 1000, 0.08) == (0, "the chain of kernels")


def test_a_frame_is_counted_on_the_compiled_steps(tmp_path):
    loaded = weights.load(write_release(tmp_path))
    engine = Engine(loaded)
    measured = roofline.measure(engine, 1, 0.0)
    assert measured.lm_s > 0 and measured.decode_s > 0
    need = roofline.work(engine, loaded)
    read = need.weight_bytes / 4
    assert 0.3 < need.flops / (2 * read) < 30, "every weight is used about once, the trunk's more"
    rings = 2 * 2 * 16 * 32 * 4  # keys and values of two layers, sixteen frames of width 32
    assert need.state_bytes > rings
    assert 100 < engine.generate.kernels(1) < 5000


def test_the_page_on_pods_shows_the_table_that_was_made():
    made = (ROOT / "experiments/results/roofline.md").read_text().splitlines()
    shown = (ROOT / "docs/pod.md").read_text()
    rows = [line for line in made if line.startswith(("| NVIDIA", "| TPU"))]
    assert len(rows) == len(roofline.POD) and all(row in shown for row in rows)
