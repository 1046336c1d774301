"""A conversation: a language model writes, Voiceloom speaks, and a new line of yours interrupts.

    voiceloom serve &
    python examples/duplex.py --llm http://127.0.0.1:11434/v1 --model llama3.2 --play

Any chat endpoint that OpenAI's client can talk to will do. Its words go to the speech socket as
they come, so the first of them sounds while the last ones are being thought. Whoever types a line
while the answer sounds has interrupted: both streams stop, and what goes into the conversation is
what was *heard*, not what was written; otherwise the model believes it has said what nobody knows.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator

import numpy as np
import openai
import websockets

RATE = 24_000
SYSTEM = "You are on the telephone. Answer in one or two short sentences, without lists or markup."


class Ear:
    """Plays samples, or without a sound card keeps the time as if it did."""

    def __init__(self, play: bool):
        self.made_s, self._begun, self._device = 0.0, None, None
        if play:
            import sounddevice

            self._device = sounddevice.OutputStream(RATE, channels=1, dtype="int16")
            self._device.start()

    def hear(self, pcm: bytes) -> None:
        """More sound."""
        self._begun = self._begun or time.monotonic()
        self.made_s += len(pcm) / 2 / RATE
        if self._device:
            self._device.write(np.frombuffer(pcm, "<i2"))

    @property
    def heard_s(self) -> float:
        """How much of the sound has been heard by now."""
        return min(self.made_s, time.monotonic() - self._begun) if self._begun else 0.0


class Duplex:
    """One conversation over one socket. `messages` is its transcript, as it was heard."""

    def __init__(self, llm: openai.AsyncOpenAI, model: str, socket, voice: str, play: bool = False):
        self._llm, self._model, self._socket = llm, model, socket
        self._voice, self._play = voice, play
        self.ear = Ear(False)
        self.messages = [{"role": "system", "content": SYSTEM}]

    async def answer(self, line: str, next_line: asyncio.Future) -> None:
        """Answers aloud until all is heard, or until `next_line` has come."""
        self.messages.append({"role": "user", "content": line})
        self.ear = ear = Ear(self._play)
        heard = asyncio.get_running_loop().create_future()
        await self._send("start", voice=self._voice, lookahead=2)
        listening = asyncio.create_task(self._listen(ear, heard))
        writing = asyncio.create_task(self._write())
        await asyncio.wait({listening, next_line}, return_when=asyncio.FIRST_COMPLETED)
        if listening.done():  # all is made, not yet all is heard
            left_s = ear.made_s - ear.heard_s
            await asyncio.wait({next_line}, timeout=left_s)
        spoken = None
        if next_line.done():
            writing.cancel()  # first: text after an interruption begins another utterance
            await self._send("interrupt", playback_offset=ear.heard_s)
            spoken = await heard
        with contextlib.suppress(asyncio.CancelledError):
            spoken = await writing if spoken is None else spoken
        await listening
        self.messages.append({"role": "assistant", "content": spoken})

    async def _send(self, kind: str, **fields) -> None:
        await self._socket.send(json.dumps({"type": kind} | fields))

    async def _write(self) -> str:
        """Sends the model's words on as they come; the whole answer."""
        stream = await self._llm.chat.completions.create(
            model=self._model, messages=self.messages, stream=True
        )
        written = ""
        async with stream:
            async for event in stream:
                if piece := event.choices and event.choices[0].delta.content:
                    written += piece
                    await self._send("text", text=piece)
        await self._send("end")
        return written

    async def _listen(self, ear: Ear, heard: asyncio.Future) -> None:
        """Hears all chunks; `heard` gets what was said before an interruption."""
        async for message in self._socket:
            if isinstance(message, bytes):
                if not heard.done():
                    ear.hear(message)
                continue
            told = json.loads(message)
            if told["type"] == "interrupted":
                heard.set_result(told["text_spoken"].strip())
            elif told["type"] == "error":
                raise RuntimeError(told["message"])
            elif told["type"] == "done":
                return


async def converse(duplex: Duplex, lines: AsyncIterator[str]) -> None:
    """Line by line: each is answered, the next one interrupts."""
    upcoming = asyncio.ensure_future(anext(lines, None))
    while (line := await upcoming) is not None:
        upcoming = asyncio.ensure_future(anext(lines, None))
        # The end of the input interrupts nobody.
        interrupts = asyncio.get_running_loop().create_future()
        upcoming.add_done_callback(
            lambda done, it=interrupts: done.result() and not it.done() and it.set_result(None)
        )
        await duplex.answer(line, interrupts)
        for message in duplex.messages[-2:]:
            print(f"{message['role']}: {message['content']}", file=sys.stderr)


async def keyboard() -> AsyncIterator[str]:
    """Lines of stdin."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield line.strip()


async def main() -> None:
    """Talks with whoever is at the keyboard."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llm", default="http://127.0.0.1:11434/v1", help="a chat endpoint")
    parser.add_argument("--model", default="llama3.2")
    parser.add_argument("--speech", default="ws://127.0.0.1:8000/v1/audio/stream")
    parser.add_argument("--voice", default="af_heart")
    parser.add_argument("--play", action="store_true", help="sound: pip install 'voiceloom[play]'")
    args = parser.parse_args()
    key = os.environ.get("OPENAI_API_KEY", "none")
    llm = openai.AsyncOpenAI(base_url=args.llm, api_key=key)
    async with websockets.connect(args.speech, max_size=None) as socket:
        await converse(Duplex(llm, args.model, socket, args.voice, args.play), keyboard())


if __name__ == "__main__":
    asyncio.run(main())
