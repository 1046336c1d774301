"""`voiceloom serve` as a process of its own: clients that die, mad clients, a browser, its end."""

import asyncio
import contextlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import httpx
import psutil
import pytest
import soundfile
import websockets
from websockets.sync.client import connect

from experiments.server_process import started
from tests.voiceloom.tiny import speechlike

TEXT = "Good evening, friend. It is late."
LONG = "One two three four five six seven eight nine ten. " * 60
SERVE = ("--streams", "4", "--weights")
CHROMIUM = shutil.which("chromium")


def wait_for(what, seconds, name):
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, f"not so after {seconds} s: {name}"
        time.sleep(0.05)


def streams(url):
    return httpx.get(f"{url}/health").json()["streams"]


def speech(url, text=TEXT):
    asked = {"input": text, "voice": "anna", "response_format": "pcm"}
    return httpx.post(f"{url}/v1/audio/speech", json=asked, timeout=60).raise_for_status().content


@pytest.fixture(scope="module")
def server(release, in_earnest):
    with started(*SERVE, str(release), "--wait", "60", limit_s=120) as found:
        yield found


def test_a_killed_client_frees_its_row(server):
    url, _ = server
    client = subprocess.Popen(
        [sys.executable, "-c", "import sys, httpx\n"
         "asked = {'input': sys.argv[2], 'voice': 'anna', 'response_format': 'pcm'}\n"
         "with httpx.stream('POST', sys.argv[1], json=asked, timeout=60) as answer:\n"
         "    for part in answer.iter_raw(1000): print(len(part), flush=True)\n",
         f"{url}/v1/audio/speech", LONG],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert client.stdout.readline()
    assert streams(url) == 1
    client.send_signal(signal.SIGKILL)
    client.wait()
    wait_for(lambda: streams(url) == 0, 20, "the row is free")


async def misbehave(url, chance):
    """One of the things that clients do to servers."""
    address = url.replace("http", "ws") + "/v1/audio/stream"
    with contextlib.suppress(websockets.WebSocketException, OSError, asyncio.TimeoutError):
        async with asyncio.timeout(20):
            kind = chance.choice(("connect", "garbage", "vanish", "megabyte", "half", "interrupt"))
            if kind == "half":  # half a request, then nothing, then gone
                host, port = url.removeprefix("http://").split(":")
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Le")
                await writer.drain()
                await asyncio.sleep(chance.random())
                writer.transport.abort()
                return
            async with websockets.connect(address, max_size=None) as client:
                if kind == "garbage":
                    for _ in range(20):
                        await client.send(chance.randbytes(chance.randrange(1, 300)))
                        await client.send("".join(chance.choices('{}[]":typeaxt\0é', k=40)))
                elif kind == "megabyte":
                    await client.send(json.dumps({"type": "text", "text": "word " * 190_000}))
                    await client.recv()
                elif kind in ("vanish", "interrupt"):
                    await client.send(json.dumps({"type": "start", "voice": "bert"}))
                    await client.send(json.dumps({"type": "text", "text": LONG}))
                    await client.recv()
                    await asyncio.sleep(0.2 * chance.random())
                    if kind == "interrupt":
                        said = {"type": "interrupt", "playback_offset": 0.1}
                        await client.send(json.dumps(said))
                        await client.recv()
                    client.transport.abort()


def test_two_hundred_mad_clients_leave_nothing_behind(server):
    url, process = server
    chance = random.Random(0)

    async def crowd(count):
        limit = asyncio.Semaphore(20)

        async def one():
            async with limit:
                await misbehave(url, random.Random(chance.random()))

        await asyncio.gather(*(one() for _ in range(count)))

    def settled(count):
        wait_for(lambda: streams(url) == count, 30, f"{count} rows are taken")

    asyncio.run(crowd(60))  # what is allocated once
    settled(0)
    # One that waits for more text keeps the batch at four rows: another size is another executable.
    with connect(url.replace("http", "ws") + "/v1/audio/stream") as waiting:
        waiting.send(json.dumps({"type": "start", "voice": "bert"}))
        waiting.recv()
        alone = speech(url)
        memory = psutil.Process(process.pid).memory_info().rss
        files = psutil.Process(process.pid).num_fds()
        heard = []
        neighbour = threading.Thread(target=lambda: heard.extend(speech(url) for _ in range(6)))
        neighbour.start()
        asyncio.run(crowd(200))
        neighbour.join()
        settled(1)
    assert heard == [alone] * 6  # to the last bit, in whatever company
    settled(0)
    wait_for(
        lambda: psutil.Process(process.pid).num_fds() <= files + 2, 30, "all sockets are closed"
    )
    grown = psutil.Process(process.pid).memory_info().rss - memory
    assert grown < 40e6, f"{grown / 1e6:.0f} MB more"


def test_a_signal_lets_the_streams_come_to_their_end(release, in_earnest):
    text = "One two three four five six seven eight nine ten. " * 3
    with started(*SERVE, str(release), limit_s=120) as (url, process):
        whole = speech(url, text)
        asked = {"input": text, "voice": "anna", "response_format": "pcm"}
        with httpx.stream("POST", f"{url}/v1/audio/speech", json=asked, timeout=60) as answer:
            parts = answer.iter_raw()
            got = next(parts)
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: httpx.get(f"{url}/health").status_code == 503, 10, "it drains")
            refused = httpx.post(f"{url}/v1/audio/speech", json=asked)
            assert refused.status_code == 429 and "retry-after" in refused.headers
            got += b"".join(parts)
        assert got == whole
        assert process.wait(30) == 0


# ---- the page -----------------------------------------------------------------------------------


@pytest.fixture
def page(server):
    if not CHROMIUM:
        pytest.skip("no chromium here: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    quiet = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update"
    sound = "--autoplay-policy=no-user-gesture-required --use-fake-ui-for-media-stream"
    fake = "--use-fake-device-for-media-stream"
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=f"{quiet} {sound} {fake}".split()
        )
        opened = browser.new_page(viewport={"width": 1100, "height": 1100})
        wrong = []
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("response", lambda r: r.status not in (200, 201, 400) and wrong.append(r.url))
        opened.goto(server[0])
        opened.wait_for_function("document.querySelector('#status').textContent === 'ready'")
        yield opened
        assert not wrong
        browser.close()


def number(page, name):
    """The first number in a cell of the table."""
    return float(re.search(r"[\d.]+", page.inner_text(f"#{name}"))[0])


def test_the_page_speaks_and_shows_it(page):
    assert page.locator("#voice option").all_inner_texts() == ["anna", "bert"]
    page.fill("#text", TEXT)
    page.click("#speak")
    page.wait_for_function("document.querySelector('#interrupt').disabled === false")
    page.wait_for_function("document.querySelector('#interrupt').disabled", timeout=30_000)
    assert page.inner_text("#words").split() == TEXT.split()
    heard = page.locator("#words .heard").all_inner_texts()
    assert heard == ["Good", "evening", "friend", "It", "is", "late"]
    assert number(page, "first") > 0 and number(page, "made") > 0.5
    assert "frames" in page.inner_text("#parts") and "minute" in page.inner_text("#work")
    drawn = """name => document.getElementById(name).getContext("2d")
        .getImageData(0, 0, 960, 120).data.some(x => x)"""
    assert page.evaluate(drawn, "lead") and page.evaluate(drawn, "codes")


def test_the_page_interrupts_and_says_what_was_said(page):
    page.fill("#text", LONG)
    page.click("#type")  # word by word
    page.wait_for_selector("#words .heard")
    page.click("#interrupt")
    page.wait_for_selector("#spoken:not([hidden])")
    assert re.match(r"Said: “One.*” · not said: “", page.inner_text("#spoken"))
    page.fill("#text", TEXT)
    page.click("#speak")
    page.wait_for_selector("#words .heard")


def test_the_page_makes_a_voice_of_a_recording(page, tmp_path):
    soundfile.write(tmp_path / "my voice.wav", speechlike(4.0), 24_000)
    page.set_input_files("#file", tmp_path / "my voice.wav")
    page.wait_for_function("document.querySelector('#note').textContent.includes('nearest')")
    assert "consent" in page.inner_text("#note")
    assert page.input_value("#voice") == "my_voice"
    page.click("#speak")
    page.wait_for_selector("#words .heard")


def test_the_page_says_why_a_recording_is_no_voice(page, tmp_path):
    (tmp_path / "noise.wav").write_bytes(b"RIFF nothing of the kind")
    page.set_input_files("#file", tmp_path / "noise.wav")
    page.wait_for_function("document.querySelector('#note').textContent.includes('unreadable')")
    assert page.inner_text("#note").startswith("the recording: unreadable")
