"""The server as its clients meet it: OpenAI's own client, a real socket, and bad company."""

import asyncio
import contextlib
import io
import json
import threading
import time

import httpx
import numpy as np
import openai
import pytest
import soundfile
import uvicorn
import websockets

from tests.voiceloom.tiny import speechlike
from voiceloom.conductor import Conductor, Costs
from voiceloom.library import Library
from voiceloom.scheduler import DEFAULT, Policy
from voiceloom.server import formats
from voiceloom.server.app import Settings, make_app

TEXT = "Good evening, friend. It is late."
FAST = Costs({4: 0.004}, {4: 0.001}, 0.005)


@contextlib.contextmanager
def hosted(app):
    """The URL of an application on a port of its own, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def running(synth, settings=None, policy=DEFAULT, costs=FAST):
    """A server in a thread, on a port of its own: its base URL and its conductor."""
    conductor = Conductor(synth, policy, (4,), costs)
    try:
        with hosted(make_app(synth, conductor, settings or Settings())) as url:
            yield url, conductor
    finally:
        conductor.close()
        assert not conductor.sessions and not conductor._batch.slots


@pytest.fixture(scope="module")
def server(synth):
    with running(synth) as found:
        yield found


@pytest.fixture(scope="module")
def url(server):
    return server[0]


@pytest.fixture(scope="module")
def expected(server):
    """What a session of the conductor says itself."""
    session = server[1].open("anna", seed=0)
    session.feed(TEXT)
    session.flush()
    return np.concatenate([chunk.samples for chunk in session])


def client(url, key="none"):
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def samples_of(pcm):
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32767


def test_openais_client_gets_the_speech_as_pcm(url, expected):
    made = client(url).audio.speech.create(
        model="voiceloom", voice="anna", input=TEXT, response_format="pcm"
    )
    np.testing.assert_allclose(samples_of(made.content), expected, atol=1e-4)


def test_openais_client_streams(url, expected):
    pieces = []
    with client(url).audio.speech.with_streaming_response.create(
        model="voiceloom", voice="anna", input=TEXT, response_format="pcm"
    ) as response:
        assert response.headers["content-type"].startswith("audio/pcm")
        pieces += response.iter_bytes()
    assert len(b"".join(pieces)) == 2 * len(expected)


@pytest.mark.parametrize("form", ["wav", "flac", "opus", "mp3"])
def test_containers_can_be_read_by_others(url, expected, form):
    made = client(url).audio.speech.create(
        model="voiceloom", voice="anna", input=TEXT, response_format=form
    )
    sound, rate = soundfile.read(io.BytesIO(made.content), dtype="float32")
    assert rate == 24_000 and abs(len(sound) - len(expected)) < 0.1 * rate
    level = lambda x: float(np.sqrt(np.mean(x**2)))  # noqa: E731
    assert level(sound) == pytest.approx(level(expected), rel=0.3)


def test_the_telephone_gets_mulaw():
    samples = speechlike(1.0)
    encoder = formats.encoder("mulaw", 24_000)
    coded = b"".join([encoder.push(samples[:7000]), encoder.push(samples[7000:]), encoder.end()])
    assert len(coded) == pytest.approx(8_000, abs=8)
    ramp = np.linspace(-1, 1, 1001).astype(np.float32)
    code = 255 - np.frombuffer(formats.mulaw(ramp), np.uint8).astype(int)
    magnitude = ((((code & 15) << 1) + 33) << ((code >> 4) & 7)) - 33  # G.711, 14 bits
    decoded = np.where(code & 128, -1, 1) * magnitude / 8159
    assert np.abs(decoded - ramp).max() < 0.02 and np.abs(decoded - ramp)[480:520].max() < 0.002


def test_events_carry_the_same_sound(url, expected):
    asked = {"input": TEXT, "voice": "anna", "stream_format": "sse"}
    with httpx.stream("POST", f"{url}/v1/audio/speech", json=asked) as response:
        events = [json.loads(x[6:]) for x in response.iter_lines() if x.startswith("data: ")]
    import base64

    assert events[-1] == {"type": "speech.audio.done"} and len(events) > 2
    pcm = b"".join(base64.b64decode(e["audio"]) for e in events[:-1])
    np.testing.assert_allclose(samples_of(pcm), expected, atol=1e-4)


@pytest.mark.parametrize(
    "asked, status, says",
    [
        ({"input": ""}, 400, "input"),
        ({"input": 5}, 400, "input"),
        ({"input": "🎉"}, 400, "spoken"),
        ({"input": "a", "voice": "nobody"}, 400, "voices"),
        ({"input": "a", "voice": "/etc/passwd"}, 400, "voices"),
        ({"input": "a", "response_format": "aac"}, 400, "mulaw"),
        ({"input": "a", "speed": 9}, 400, "0.25 to 4"),
        ({"input": "a" * 30_000}, 413, "30,000"),
        ({"input": "a" * 1_000_000}, 413, "large"),
    ],
)
def test_what_cannot_be_served_is_told_why(url, asked, status, says):
    told = httpx.post(f"{url}/v1/audio/speech", json=asked)
    assert told.status_code == status and says in told.json()["error"]["message"]


def test_garbage_is_no_request(url):
    for body in (b"\xff\x00{", b"[1]", b""):
        assert httpx.post(f"{url}/v1/audio/speech", content=body).status_code == 400


def test_keys_are_asked_for_and_cors_is_off(synth, url):
    assert "access-control-allow-origin" not in httpx.get(
        f"{url}/v1/audio/voices", headers={"origin": "https://other.example"}
    ).headers  # fmt: skip
    settings = Settings(api_keys=("secret",), cors=("https://app.example",))
    with running(synth, settings) as (locked, _):
        assert httpx.get(f"{locked}/v1/audio/voices").status_code == 401
        with pytest.raises(openai.AuthenticationError):
            client(locked, "wrong").models.list()
        assert client(locked, "secret").models.list().data[0].id == "voiceloom"
        allowed = httpx.get(f"{locked}/health", headers={"origin": "https://app.example"})
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"


def test_a_recording_becomes_a_voice(synth, url, tmp_path, monkeypatch):
    monkeypatch.setenv("VOICELOOM_VOICES", str(tmp_path))
    monkeypatch.setattr(synth, "library", Library())
    data = io.BytesIO()
    soundfile.write(data, speechlike(3.0), 24_000, format="WAV")

    def post(name, content):
        files = {"file": ("a.wav", content)}
        return httpx.post(f"{url}/v1/audio/voices", data={"name": name}, files=files, timeout=60)

    told = post("mum", data.getvalue())
    assert told.status_code == 201 and "consent" in told.json()["note"]
    listed = httpx.get(f"{url}/v1/audio/voices").json()
    assert [v["id"] for v in listed["data"] if v["own"]] == ["mum"]
    assert client(url).audio.speech.create(model="", voice="mum", input="Hi.").content
    assert post("mum", data.getvalue()).status_code == 400
    assert post("../x", data.getvalue()).status_code == 400
    assert post("noise", b"RIFFnonsense").status_code == 400
    assert post("huge", b"0" * 11_000_000).status_code == 413


def test_who_comes_too_many_is_told_when_to_come_back_or_waits(synth):
    slow = Costs({4: 0.0}, {4: 0.062}, 0.005)
    tight = Policy(headroom=0.2, delay_s=0.0)
    long = {"input": "One two three four five six. " * 20, "voice": "anna"}
    with running(synth, policy=tight, costs=slow) as (url, conductor):
        streams = [conductor.open("anna", seed=i) for i in range(4)]
        told = httpx.post(f"{url}/v1/audio/speech", json=long)
        assert told.status_code == 429 and int(told.headers["retry-after"]) >= 1
        with pytest.raises(openai.RateLimitError):
            client(url).audio.speech.create(model="", voice="anna", input="Hi.")
        assert "voiceloom_refused_total 2.0" in httpx.get(f"{url}/metrics").text
        for stream in streams:
            stream.cancel()
    with running(synth, Settings(wait_s=30.0), tight, slow) as (url, conductor):
        streams = [conductor.open("anna", seed=i) for i in range(4)]
        threading.Timer(0.5, streams[0].cancel).start()
        hello = {"input": "Hi.", "voice": "anna"}
        told = httpx.post(f"{url}/v1/audio/speech", json=hello, timeout=60)
        assert told.status_code == 200
        for stream in streams[1:]:
            stream.cancel()


def test_health_metrics_and_models(url):
    assert httpx.get(f"{url}/health").json()["status"] == "ok"
    httpx.post(f"{url}/v1/audio/speech", json={"input": "Hi.", "voice": "anna"})
    text = httpx.get(f"{url}/metrics").text
    for name in (
        "audio_seconds_total",
        "first_chunk_seconds_bucket",
        "open_streams",
        "busy_seconds",
        "dispatch_of_bound_bucket",
        'bound_seconds{frames="1",streams="4"}',
    ):
        assert f"voiceloom_{name}" in text
    assert "Voiceloom" in httpx.get(url).text


def test_a_client_that_goes_away_frees_its_row(server):
    url, conductor = server
    asked = {"input": "One two three four five six. " * 100, "voice": "anna"}
    with httpx.stream("POST", f"{url}/v1/audio/speech", json=asked) as response:
        assert response.status_code == 200, response.read()
        pieces = response.iter_raw(100)  # kept: an iterator that is dropped hangs up
        next(pieces)
        assert conductor.sessions
    until = time.monotonic() + 20
    while conductor.sessions and time.monotonic() < until:
        time.sleep(0.05)
    assert not conductor.sessions


# ---- the socket ---------------------------------------------------------------------------------


def talk(url, script):
    """Runs `script(socket)` against the server; what it returns."""

    async def run():
        address = url.replace("http", "ws") + "/v1/audio/stream"
        async with websockets.connect(address, max_size=None) as socket:
            return await asyncio.wait_for(script(socket), 60)

    return asyncio.run(run())


async def until(socket, *kinds):
    """Messages and sound up to the first message of one of these kinds."""
    told, sound = [], b""
    while True:
        message = await socket.recv()
        if isinstance(message, bytes):
            sound += message
            continue
        told.append(json.loads(message))
        if told[-1]["type"] in kinds:
            return told, sound


def send(socket, kind, **fields):
    return socket.send(json.dumps({"type": kind} | fields))


def test_text_goes_in_word_by_word_and_sound_comes_out_with_its_words(url):
    async def script(socket):
        await send(socket, "start", voice="anna", lookahead=1)
        for word in TEXT.split(" "):
            await send(socket, "text", text=f"{word} ")
        await send(socket, "end")
        return await until(socket, "done", "error")

    told, sound = talk(url, script)
    assert told[0]["type"] == "started" and told[-1]["type"] == "done"
    chunks = [t for t in told if t["type"] == "chunk"]
    assert len(sound) == sum(2 * round(24_000 * c["duration_s"]) for c in chunks)
    words = [w["text"] for c in chunks for w in c["words"]]
    assert list(dict.fromkeys(words)) == ["Good", "evening", "friend", "It", "is", "late"]
    starts = [c["start_s"] for c in chunks]
    assert starts == sorted(starts) and told[-1]["report"]["first_chunk_s"] > 0


def test_an_interruption_says_what_was_heard_and_the_next_utterance_keeps_its_settings(server):
    url, conductor = server
    text = "One two three four five six seven eight nine ten. " * 4

    async def script(socket):
        await send(socket, "start", voice="bert", lookahead=None)
        await send(socket, "text", text=text)
        await send(socket, "end")
        await until(socket, "chunk")
        told, _ = await until(socket, "chunk")
        heard = told[-1]["start_s"]
        await send(socket, "interrupt", playback_offset=heard)
        told, _ = await until(socket, "interrupted")
        rest, _ = await until(socket, "done")
        await send(socket, "text", text="Again.")
        await send(socket, "end")
        again, sound = await until(socket, "done", "error")
        return told[-1], rest, again, sound

    told, rest, again, sound = talk(url, script)
    assert told["text_spoken"] + told["text_remaining"] == text
    assert 0 < len(told["text_remaining"]) and rest[-1]["type"] == "done"
    assert again[-1]["type"] == "done" and len(sound) > 1000
    assert not conductor.sessions


def test_what_the_socket_cannot_read_is_told_and_changes_nothing(url):
    async def script(socket):
        answers = []
        for bad in (
            "{",
            "[]",
            '{"type": "shout"}',
            '{"type": "start", "voice": 3}',
            '{"type": "start", "colour": "red"}',
            '{"type": "text"}',
            '{"type": "text", "text": 5}',
            '{"type": "start", "voice": "nobody"}',
        ):
            await socket.send(bad)
            told, _ = await until(socket, "error")
            answers.append(told[-1])
        await socket.send(b"\x00\x01")
        answers.append((await until(socket, "error"))[0][-1])
        await send(socket, "start", voice="anna")
        await send(socket, "text", text="Still here.")
        await send(socket, "end")
        told, _ = await until(socket, "done")
        return answers, told

    answers, told = talk(url, script)
    assert len(answers) == 9 and all(a["message"] for a in answers)
    assert told[-1]["type"] == "done"


def test_a_socket_that_dies_frees_its_row_and_a_silent_one_is_closed(synth):
    with running(synth, Settings(idle_s=0.5)) as (url, conductor):

        async def die(socket):
            await send(socket, "start", voice="anna")
            await send(socket, "text", text="One two three four five six seven. " * 50)
            await until(socket, "chunk")
            socket.transport.abort()

        talk(url, die)
        until_s = time.monotonic() + 20
        while conductor.sessions and time.monotonic() < until_s:
            time.sleep(0.05)
        assert not conductor.sessions

        async def wait(socket):
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await socket.recv()
            return closed.value.rcvd.code

        assert talk(url, wait) == 4408


def test_a_slow_reader_is_not_made_more_than_the_mark_for(server):
    """Whoever fetches nothing has heard nothing, whatever the clock says."""
    _, conductor = server
    session = conductor.open("anna", seed=0)
    session.feed("One two three four five six seven eight nine ten. " * 20)
    session.flush()
    time.sleep(4.0)
    assert 1.0 < session.given_s <= conductor.policy.high_s
    session.cancel()
    list(session)
