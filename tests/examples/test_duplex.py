"""The duplex example against a scripted language model and a real server."""

import asyncio
import contextlib
import json

import openai
import pytest
import websockets
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from examples.duplex import Duplex, converse
from tests.voiceloom.test_server import hosted, running

ANSWERS = (
    "One two three four five six seven eight nine ten, and so on, and on, and on, for ever.",
    "It is late.",
)


@contextlib.contextmanager
def language_model():
    """A chat endpoint that says ANSWERS by turns: its URL, and what it was told."""
    told = []

    async def chat(request):
        told.append((await request.json())["messages"])
        answer = ANSWERS[(len(told) - 1) % len(ANSWERS)]

        async def events():
            for word in answer.split(" "):
                delta = {"index": 0, "delta": {"content": word + " "}, "finish_reason": None}
                event = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
                yield f"data: {json.dumps(event | {'choices': [delta]})}\n\n"
                await asyncio.sleep(0.01)
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
    with hosted(app) as url:
        yield f"{url}/v1", told


@pytest.fixture
def talk(synth):
    """Holds a conversation of lines, and seconds to be heard between them; its transcript, and
    what the model was told."""

    def run(*script):
        async def lines(duplex):
            for item in script:
                if isinstance(item, str):
                    yield item
                else:
                    while duplex.ear.heard_s < item:
                        await asyncio.sleep(0.02)

        async def go(speech, url):
            llm = openai.AsyncOpenAI(base_url=url, api_key="none")
            async with websockets.connect(speech, max_size=None) as socket:
                duplex = Duplex(llm, "m", socket, "anna")
                await asyncio.wait_for(converse(duplex, lines(duplex)), 60)
            return duplex.messages

        with running(synth) as (speech, _), language_model() as (url, told):
            return asyncio.run(go(speech.replace("http", "ws") + "/v1/audio/stream", url)), told

    return run


def test_who_interrupts_has_heard_a_part_and_the_model_is_told_which(talk):
    messages, told = talk("Count, please.", 0.8, "Enough!")
    roles = [message["role"] for message in messages]
    assert roles == ["system", "user", "assistant", "user", "assistant"]
    heard = messages[2]["content"]
    assert heard and ANSWERS[0].startswith(heard) and len(heard) < len(ANSWERS[0])
    assert told[1] == messages[:4]  # the model's own words are those that were heard
    assert messages[4]["content"].strip() == ANSWERS[1]


def test_an_answer_that_is_heard_to_its_end_stays_whole(talk):
    messages, _ = talk("Count, please.")
    assert messages[-1]["content"].strip() == ANSWERS[0]


def test_who_interrupts_at_once_has_heard_nothing(talk):
    messages, told = talk("Count, please.", "No, wait.")
    assert len(told) >= 1 and messages[2]["content"] == ""
