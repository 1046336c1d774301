"""The socket for agents: text goes in as it is written, sound comes out with its words and times.

Messages are JSON with a `type`; sound is binary, 16-bit little-endian mono, after the `chunk` that
tells of it. To the server:

    start      voice, lookahead (words; default 2, none for a model that hears sentences), speed,
               pitch, pitch_range, seed: all optional, and kept for the utterances after it
    text       text: more of what is to be said; begins an utterance if there is none
    flush      what there is, is a sentence
    end        no more text in this utterance
    cancel     stop at once
    interrupt  playback_offset (seconds): stop, and say what was heard

and from it: `started`, `chunk` (start_s, duration_s, text_span, words, phones, codes, report: what
it cost so far), `interrupted` (text_spoken, text_remaining), `done` (report), `error` (message,
code, retry_after_s where it helps). One utterance at a time; the next may begin after `done` or
`interrupted`. What the server cannot read is told and changes nothing.
"""

import asyncio
import contextlib
import json
import logging
import typing
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from data.text import TextError
from voiceloom import spoken
from voiceloom.server.refusal import Refusal
from voiceloom.waveform import Chunk

if typing.TYPE_CHECKING:
    from voiceloom.conductor import Session
    from voiceloom.server.app import Application

_LOG = logging.getLogger(__name__)

_SETTINGS = {
    "voice": (str,),
    "lookahead": (int, type(None)),
    "speed": (int, float),
    "pitch": (int, float),
    "pitch_range": (int, float),
    "seed": (int,),
}


async def serve_socket(ours: "Application", socket: WebSocket) -> None:
    """Serves one client until it goes."""
    key = socket.query_params.get("api_key")  # a browser's socket can send no header
    try:
        ours.authorise(socket.headers.get("authorization"), key)
    except Refusal:
        await socket.close(4401, "give an API key")
        return
    await socket.accept()
    client = _Client(ours, socket)
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await client.serve()
    client.stop()


class _Client:
    def __init__(self, ours: "Application", socket: WebSocket):
        self.ours, self.socket = ours, socket
        self.settings: dict[str, Any] = {"lookahead": 2 if ours.synth.engine.looks_ahead else None}
        self.session = None
        self.sender: asyncio.Task | None = None

    async def serve(self) -> None:
        while True:
            idle_s = self.ours.settings.idle_s
            try:
                message = await asyncio.wait_for(self.socket.receive(), idle_s)
            except TimeoutError:
                if self.sender and not self.sender.done():
                    continue  # it listens
                await self.socket.close(4408, f"nothing was said for {idle_s:.0f} s")
                return
            if message["type"] == "websocket.disconnect":
                return
            try:
                told = json.loads(message.get("text") or "")
                kind = told["type"]
                handler = getattr(self, f"on_{kind}", None)
                if handler is None:
                    raise Refusal(400, f"no message of type {kind!r}", "bad_type")
                await handler(told)
            except (ValueError, KeyError, TypeError) as error:
                await self.refuse(Refusal(400, f"not a message: {error}", "bad_message"))
            except Refusal as refusal:
                await self.refuse(refusal)

    async def refuse(self, refusal: Refusal) -> None:
        told = {"type": "error", "message": str(refusal), "code": refusal.code}
        if refusal.headers:
            told["retry_after_s"] = int(refusal.headers["retry-after"])
        await self.socket.send_json(told)

    def stop(self) -> None:
        """Ends what is being said; a second call does nothing."""
        if self.session is not None:
            self.session.cancel()
        if self.sender is not None:
            self.sender.cancel()

    # ---- messages ------------------------------------------------------------------------------

    async def on_start(self, told: dict) -> None:
        for name, value in told.items():
            if name == "type":
                continue
            if name not in _SETTINGS or not isinstance(value, _SETTINGS[name]):
                raise Refusal(400, f"start: {name}={value!r} is no setting", "bad_setting")
        if self.speaking:
            raise Refusal(409, "something is being said: interrupt or cancel it", "speaking")
        self.settings |= {name: value for name, value in told.items() if name != "type"}
        await self.begin()

    async def on_text(self, told: dict) -> None:
        text = told["text"]
        if not isinstance(text, str):
            raise Refusal(400, "text: a string", "bad_text")
        if not self.speaking:
            await self.begin()
        self.ours.check_text(self.session.text + text)
        self.session.feed(text)

    async def on_flush(self, told: dict) -> None:
        if self.speaking:
            self.session.feed("\n\n")

    async def on_end(self, told: dict) -> None:
        if self.speaking:
            self.session.flush()

    async def on_cancel(self, told: dict) -> None:
        if self.speaking:
            self.session.cancel()

    async def on_interrupt(self, told: dict) -> None:
        if self.session is None:
            return
        session, offset_s = self.session, float(told["playback_offset"])
        said = session.interrupt(offset_s)
        session.heard_s = min(offset_s, session.given_s)
        await self.socket.send_json({"type": "interrupted"} | said._asdict())

    # ---- utterances ----------------------------------------------------------------------------

    @property
    def speaking(self) -> bool:
        return self.sender is not None and not self.sender.done()

    async def begin(self) -> None:
        how = dict(self.settings)
        voice, rate = how.pop("voice", None), how.pop("speed", 1.0)
        self.session = await self.ours.open(voice, rate=rate, **{"seed": 0} | how)
        await self.socket.send_json(
            {"type": "started", "sample_rate": self.ours.synth.sample_rate, "encoding": "pcm16"}
        )
        self.sender = asyncio.create_task(self.send(self.session))

    async def send(self, session: "Session") -> None:
        """Chunks, and what it cost."""
        try:
            async with contextlib.aclosing(self.ours.chunks(session)) as chunks:
                async for chunk in chunks:
                    told = _told(chunk, session.text) | {"report": _cost(session)}
                    await self.socket.send_json(told)
                    await self.socket.send_bytes(chunk.pcm16())
            await self.socket.send_json({"type": "done", "report": _cost(session)})
        except TextError as error:
            await self.socket.send_json(
                {"type": "error", "message": str(error), "code": "unspeakable"}
            )
        except (WebSocketDisconnect, RuntimeError):  # it has gone; the receiver sees it too
            session.cancel()
        except Exception:
            _LOG.exception("a stream failed")
            told = {"type": "error", "message": "the server failed; see its log", "code": "failed"}
            await self.socket.send_json(told)


def _cost(session: "Session") -> dict:
    """What an utterance has cost so far, and the parts of its first chunk."""
    report = session.report
    return report._asdict() | {"real_time_factor": report.real_time_factor}


def _told(chunk: Chunk, text: str) -> dict:
    """What a chunk says, and when."""
    end_s = chunk.start_s + chunk.duration_s
    words = [
        {
            "text": text[slice(*word.span)],
            "span": word.span,
            "start_s": word.begin_s,
            "end_s": word.end_s,
        }
        for word in spoken.words(chunk.onsets, end_s)
    ]
    return {
        "type": "chunk",
        "start_s": chunk.start_s,
        "duration_s": chunk.duration_s,
        "text_span": chunk.text_span,
        "words": words,
        "phones": [[onset.symbol, onset.time_s] for onset in chunk.onsets],
        "codes": chunk.codes.tolist(),
    }
