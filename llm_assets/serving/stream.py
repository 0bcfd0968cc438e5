"""A streamed answer on its way from the engine to the client, put together as it passes by.

Nothing goes out before the first text: until then a failure has a status of its own, and somebody
else can be asked. So the time to the first byte is the time to the first token.
"""

from collections.abc import AsyncIterator

from llm_assets.serving.exchange import Exchange
from llm_assets.serving.refusals import empty_answer, refused_by_engine
from llm_assets.serving.reply import Reply
from llm_assets.serving.spec import ModelServerSpec
from llm_assets.serving.sse import EventSplitter, event_data, without_logprobs


async def pass_on(
    pieces: AsyncIterator[bytes], exchange: Exchange, reply: Reply, spec: ModelServerSpec
) -> None:
    """Send the events of the engine on as they come in, from the first text; the end is not told.

    We always ask for the usage; a client that did not must not see its chunk, which has no choices.

    Raises:
        RefusedError: the engine says that it failed, or the answer is empty and must not be.
    """
    splitter, held = EventSplitter(), b""
    has_usage = exchange.chat is not None and exchange.chat.has_usage_in_stream
    async for piece in pieces:
        for event in splitter.feed(piece):
            data = event_data(event) or {}
            if "error" in data:
                raise refused_by_engine(500, data, spec)
            exchange.add_chunk(data)
            if has_usage or "usage" not in data or data.get("choices"):
                held += without_logprobs(event, data)
        if held and exchange.answer.has_text:
            if not reply.has_begun:
                await reply.begin_stream(exchange.headers(spec))
            await reply.send_part(held)
            held = b""
    if not reply.has_begun:
        if spec.serving.refuse_empty_answers and exchange.is_empty:
            raise empty_answer()
        await reply.begin_stream(exchange.headers(spec))
        await reply.send_part(held)
