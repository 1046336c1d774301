"""The web application: OpenAI's speech endpoint, voices, a socket for agents, metrics, a page.

Whoever asks for speech gets a session of the conductor; its chunks go out as they are made. A
client that goes away, or reads no more, ends its session: nothing is made for nobody. Text, uploads
and the number of streams are bounded; a request too many is told when to come back, or waits if the
settings say so.
"""

import asyncio
import base64
import contextlib
import hmac
import json
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from data.text import TextError
from voiceloom.conductor import Busy, Conductor, Session
from voiceloom.library import CONSENT
from voiceloom.server import formats
from voiceloom.server.metrics import Metrics
from voiceloom.server.refusal import Refusal
from voiceloom.server.socket import serve_socket
from voiceloom.synthesizer import Synthesizer
from voiceloom.voice import VoiceError
from voiceloom.waveform import Chunk

PAGE = Path(__file__).parent / "page"
MODEL = "voiceloom"


class Settings(NamedTuple):
    """What an operator decides."""

    max_text: int = 20_000  # characters of a request
    max_upload: int = 10_000_000  # bytes of a recording
    wait_s: float = 0.0  # that a request may wait for room; 0 refuses at once
    idle_s: float = 60.0  # a socket that says nothing for so long is closed
    api_keys: tuple[str, ...] = ()  # any of them opens the doors; none: no key is asked for
    cors: tuple[str, ...] = ()  # origins of other sites that may call


class Application:
    """Handlers of one server, over one conductor."""

    def __init__(self, synth: Synthesizer, conductor: Conductor, settings: Settings):
        self.synth, self.conductor, self.settings = synth, conductor, settings
        self.metrics = Metrics(conductor)
        self.started = time.time()

    # ---- speech ------------------------------------------------------------------------------

    async def speech(self, request: Request) -> Response:
        """POST /v1/audio/speech: text in, sound out while it is made."""
        self.authorise(request.headers.get("authorization"))
        asked = await self._json(request)
        text = asked.get("input")
        if not isinstance(text, str) or not text.strip():
            raise Refusal(400, "input: give the text to say", "missing_input")
        self.check_text(text)
        form = asked.get("response_format", "mp3")
        if form not in formats.MEDIA:
            known = ", ".join(formats.MEDIA)
            raise Refusal(400, f"response_format: there are {known}, not {form!r}", "bad_format")
        session = await self.open(asked.get("voice"), rate=_speed(asked))
        session.feed(text)
        session.flush()
        # The first chunk decides the status: what cannot be said is an error, not an empty sound.
        chunks = self.chunks(session)
        try:
            first = await anext(chunks)
        except StopAsyncIteration:
            first = None
        except TextError as error:
            raise Refusal(400, str(error), "unspeakable") from error
        events = asked.get("stream_format") == "sse"
        body = self._events(first, chunks) if events else self._bytes(first, chunks, form)
        media = "text/event-stream" if events else formats.MEDIA[form]
        return StreamingResponse(body, media_type=media)

    async def open(self, voice: Any, **how) -> Session:
        """A session, at once or after waiting for room; its chunks come to this event loop.

        Raises:
            Refusal: An unknown voice, or no room.
        """
        name = voice.get("id") if isinstance(voice, dict) else voice
        name = name or next(iter(self.synth.voices), None)
        if not isinstance(name, str) or name not in self.synth.voices:
            raise Refusal(400, f"voice: there is no {name!r}; see /v1/audio/voices", "bad_voice")
        until = time.monotonic() + self.settings.wait_s
        while True:
            try:
                session = await run_in_threadpool(self.conductor.open, name, **how)
                break
            except Busy as error:
                if time.monotonic() + 0.05 > until:
                    self.metrics.refused.inc()
                    after = {"retry-after": str(max(1, round(error.retry_after_s)))}
                    raise Refusal(429, str(error), "busy", after) from error
                await asyncio.sleep(0.05)
            except (VoiceError, ValueError) as error:
                raise Refusal(400, str(error), "bad_request") from error
        loop, made = asyncio.get_running_loop(), asyncio.Queue()
        session.listen(lambda item: loop.call_soon_threadsafe(made.put_nowait, item))
        session.made = made
        self.metrics.opened.inc()
        return session

    async def chunks(self, session: Session) -> AsyncIterator[Chunk]:
        """Chunks of a session to its end; whoever stops listening ends it."""
        try:
            while (item := await session.made.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                session.taken(item)
                yield item
        finally:
            session.cancel()
            self.metrics.ended(session)

    async def _bytes(
        self, first: Chunk | None, chunks: AsyncIterator[Chunk], form: str
    ) -> AsyncIterator[bytes]:
        async with contextlib.aclosing(chunks):
            encoder = formats.encoder(form, self.synth.sample_rate)
            if first is not None:
                yield encoder.push(first.samples)
            async for chunk in chunks:
                if sent := encoder.push(chunk.samples):
                    yield sent
            yield encoder.end()

    async def _events(
        self, first: Chunk | None, chunks: AsyncIterator[Chunk]
    ) -> AsyncIterator[str]:
        def event(chunk: Chunk) -> str:
            sound = base64.b64encode(chunk.pcm16()).decode()
            return _sse({"type": "speech.audio.delta", "audio": sound})

        async with contextlib.aclosing(chunks):
            if first is not None:
                yield event(first)
            async for chunk in chunks:
                yield event(chunk)
            yield _sse({"type": "speech.audio.done"})

    # ---- voices --------------------------------------------------------------------------------

    async def voices(self, request: Request) -> Response:
        """GET: who can speak. POST: a recording becomes a voice (multipart: name, file, accent)."""
        self.authorise(request.headers.get("authorization"))
        if request.method == "GET":
            own = set(self.synth.library.names)
            listed = [
                {"id": name, "name": name, "accent": self.synth.voice(name).accent,
                 "own": name in own}
                for name in self.synth.voices
            ]  # fmt: skip
            return JSONResponse({"object": "list", "data": listed, "voices": self.synth.voices})
        size = int(request.headers.get("content-length") or 0)
        if not 0 < size <= self.settings.max_upload:
            most = self.settings.max_upload
            raise Refusal(413, f"a recording of at most {most:,} bytes, please", "too_large")
        form = await request.form(max_part_size=self.settings.max_upload)
        name, file = form.get("name"), form.get("file")
        if not isinstance(name, str) or file is None or isinstance(file, str):
            raise Refusal(400, "give `name` and `file`, as multipart form data", "missing_field")
        accent = str(form.get("accent") or "us")
        try:
            told = await run_in_threadpool(self._add, name, await file.read(), accent)
        except VoiceError as error:
            raise Refusal(400, str(error), "bad_voice") from error
        return JSONResponse({"id": name, "likeness": told, "note": CONSENT}, 201)

    def _add(self, name: str, data: bytes, accent: str) -> dict[str, Any]:
        with tempfile.NamedTemporaryFile(suffix=".audio") as file:
            file.write(data)
            file.flush()
            try:
                voice = self.synth.voice(Path(file.name), accent).renamed(name)
            except VoiceError as error:
                raise VoiceError(str(error).replace(file.name, "the recording")) from error
            self.synth.library.add(voice)
            found = self.synth.likeness(Path(file.name), voice)
            return found._asdict() | {"doubt": found.doubt}

    # ---- the rest ------------------------------------------------------------------------------

    async def models(self, request: Request) -> Response:
        """GET /v1/models: the one there is."""
        self.authorise(request.headers.get("authorization"))
        model = {"id": MODEL, "object": "model", "created": int(self.started), "owned_by": MODEL}
        return JSONResponse({"object": "list", "data": [model]})

    async def health(self, request: Request) -> Response:
        """GET /health: 200 while requests are taken, 503 while the server drains."""
        open_ = not self.conductor.closing
        streams = len(self.conductor.sessions)
        told = {"status": "ok" if open_ else "draining", "streams": streams}
        return JSONResponse(told, 200 if open_ else 503)

    async def exposition(self, request: Request) -> Response:
        """GET /metrics, for Prometheus."""
        return Response(self.metrics.exposition(), media_type="text/plain; version=0.0.4")

    async def page(self, request: Request) -> Response:
        """GET /: the page."""
        return HTMLResponse((PAGE / "index.html").read_text(encoding="utf-8"))

    def authorise(self, header: str | None, key: str | None = None) -> None:
        """Raises Refusal unless the key is one of ours, or none is asked for."""
        keys = self.settings.api_keys
        given = key or (header or "").removeprefix("Bearer ").strip()
        if keys and not any(hmac.compare_digest(given, ours) for ours in keys):
            raise Refusal(401, "give an API key: Authorization: Bearer KEY", "no_key")

    def check_text(self, text: str) -> None:
        """Raises Refusal if it is too long."""
        most = self.settings.max_text
        if len(text) > most:
            raise Refusal(
                413, f"the text has {len(text):,} characters, at most {most:,}: send it in parts",
                "too_long",
            )  # fmt: skip

    async def _json(self, request: Request) -> dict:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > 4 * self.settings.max_text + 4096:
                raise Refusal(413, "the request is too large", "too_large")
        try:
            asked = json.loads(body)
        except ValueError as error:
            raise Refusal(400, f"not JSON: {error}", "bad_json") from error
        if not isinstance(asked, dict):
            raise Refusal(400, "send a JSON object", "bad_json")
        return asked


def _speed(asked: dict) -> float:
    speed = asked.get("speed", 1.0)
    if not isinstance(speed, int | float) or not 0.25 <= speed <= 4.0:
        raise Refusal(400, f"speed: a number from 0.25 to 4, not {speed!r}", "bad_speed")
    return float(speed)


def _sse(event: dict) -> str:
    return f"data: {json.dumps(event)}\n\n"


def make_app(synth: Synthesizer, conductor: Conductor, settings: Settings) -> Starlette:
    """The ASGI application."""
    ours = Application(synth, conductor, settings)

    async def refuse(_: Request, refusal: Refusal) -> Response:
        return refusal.response

    routes = [
        Route("/v1/audio/speech", ours.speech, methods=["POST"]),
        Route("/v1/audio/voices", ours.voices, methods=["GET", "POST"]),
        Route("/v1/models", ours.models),
        Route("/health", ours.health),
        Route("/metrics", ours.exposition),
        WebSocketRoute("/v1/audio/stream", lambda socket: serve_socket(ours, socket)),
        Route("/", ours.page),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    origins = list(settings.cors)
    cors = Middleware(CORSMiddleware, allow_origins=origins, allow_headers=["*"])
    return Starlette(
        routes=routes,
        middleware=[cors] if origins else [],
        exception_handlers={Refusal: refuse},
    )
