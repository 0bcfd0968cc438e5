"""The polite answer that a client gets when every model server has failed it.

The gateway sends such a request on to the API with the variant that it was meant for. The answer
has the form of any other one, so a client needs to know nothing of it.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llm_assets.errors import UserError
from llm_assets.records import FALLBACK_VARIANT, Interaction
from llm_assets.serving.chat import ChatRequest, check_limits, parse_chat_request
from llm_assets.serving.completion import Completion
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.headers import MODEL_VERSION, REQUEST_ID, VARIANT, request_id_of
from llm_assets.serving.reply import error_body
from llm_assets.serving.spec import ModelServerSpec

# The model version of an answer that no model gave.
NO_MODEL = "none"


class Fallback:
    """Answers for applications; `record` is handed each interaction and must return at once.

    What a model server would have refused is refused here as well, and not recorded.
    """

    def __init__(
        self, applications: Mapping[str, ServingConfig], record: Callable[[Interaction], None]
    ) -> None:
        # A model server's spec, so that the same limits hold; nothing of it is started.
        self._specs = {
            name: ModelServerSpec(
                application=name,
                model_version=NO_MODEL,
                base_model=Path(),
                ready_file=Path(),
                serving=serving,
            )
            for name, serving in applications.items()
        }
        self._record = record

    async def answer(
        self, request: Request, body: bytes, application: str | None
    ) -> Response | None:
        """Return the answer, or None where the request names no application that is known here.

        `application` is that of the request's token, if it has one.
        """
        headers = {
            REQUEST_ID: request_id_of(request.headers),
            VARIANT: FALLBACK_VARIANT,
            MODEL_VERSION: NO_MODEL,
        }
        try:
            # A large body takes a while, and other requests need not wait for it.
            chat = await asyncio.to_thread(parse_chat_request, body)
            spec = self._specs.get(chat.model)
            if spec is None:
                return None
            if application not in (None, chat.model):
                message = "model: is not the token's application"
                return JSONResponse(error_body(403, message), 403, headers=headers)
            check_limits(chat, spec)
            interaction = _interaction(chat, spec, headers[REQUEST_ID], datetime.now(UTC))
        except UserError as error:
            return JSONResponse(error_body(400, str(error)), 400, headers=headers)
        self._record(interaction)
        completion = Completion(
            request_id=interaction.request_id,
            time=interaction.time,
            model_version=NO_MODEL,
            text=interaction.response,
            num_prompt_tokens=0,
            num_response_tokens=0,
        )
        if not chat.stream:
            body = completion.to_json()
            return Response(body, media_type="application/json", headers=headers)
        return Response(
            b"".join(completion.events(has_usage=chat.has_usage_in_stream)),
            media_type="text/event-stream",
            headers={**headers, "cache-control": "no-cache"},
        )


def _interaction(
    chat: ChatRequest, spec: ModelServerSpec, request_id: str, now: datetime
) -> Interaction:
    """Return what is recorded; how long the model servers were tried before nobody here knows.

    Raises:
        UserError: the time that the client gives is none.
    """
    time = chat.client_time() if spec.serving.trust_client_time else None
    return Interaction(
        request_id=request_id,
        application=spec.application,
        time=time or now,
        model_version=NO_MODEL,
        variant=FALLBACK_VARIANT,
        prompt=chat.prompt,
        response=spec.serving.fallback_answer,
        messages=chat.conversation,
        session_id=chat.session_id,
        user_id=chat.user_id,
        finish_reason="fallback",
    )
