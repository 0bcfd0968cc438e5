"""One object of each kind that a format has, with texts of our own."""

import json
import math
from typing import Any

from tests.records import a_correction, an_interaction

SYSTEM = {"role": "system", "content": "You help the guests of a hotel."}
QUESTION = {"role": "user", "content": "When is breakfast?"}
ANSWER = {"role": "assistant", "content": "From seven to ten."}
OTHER = {"role": "assistant", "content": "I do not know."}
# As probable as 0.8 in the geometric mean.
LOGPROBS = {"content": [{"token": t, "logprob": math.log(0.8)} for t in ("From", " seven")]}
CHOICES = [{"index": 0, "finish_reason": "stop", "message": ANSWER, "logprobs": LOGPROBS}]
USAGE = {"prompt_tokens": 19, "completion_tokens": 6, "total_tokens": 25}
TIME = "2026-03-02T09:00:00Z"
LATER = "2026-03-02T09:05:00Z"

REQUEST: dict[str, Any] = {
    "model": "guest-model",
    "messages": [SYSTEM, QUESTION],
    "user": "guest-4",
    "metadata": {"session_id": "stay-1"},
}
RESPONSE: dict[str, Any] = {
    "id": "chatcmpl-9",
    "created": 1772442000,
    "model": "guest-model-v2",
    "choices": CHOICES,
    "usage": USAGE,
}

LANGFUSE_SCORE: dict[str, Any] = {
    "id": "score-1",
    "traceId": "trace-1",
    "observationId": "gen-1",
    "name": "helpful",
    "dataType": "BOOLEAN",
    "value": 0,
    "stringValue": "False",
    "source": "API",
    "comment": "Wrong hours.",
    "timestamp": LATER,
}
LANGFUSE_GENERATION: dict[str, Any] = {
    "id": "gen-1",
    "traceId": "trace-1",
    "parentObservationId": "span-1",
    "type": "GENERATION",
    "startTime": TIME,
    "endTime": "2026-03-02T09:00:02Z",
    "model": "guest-model",
    "input": json.dumps([SYSTEM, QUESTION]),
    "output": json.dumps(ANSWER),
    "usageDetails": {"input": 19, "output": 6},
    "level": "DEFAULT",
}
LANGFUSE_EXPORT: dict[str, Any] = {
    "trace": {
        "id": "trace-1",
        "timestamp": TIME,
        "userId": "guest-4",
        "sessionId": "stay-1",
        "input": "When is breakfast?",
        "output": "From seven to ten.",
        "scores": [LANGFUSE_SCORE],
    },
    "observations": [
        {"id": "span-1", "traceId": "trace-1", "type": "SPAN", "startTime": TIME, "input": "{}"},
        LANGFUSE_GENERATION,
    ],
}
LITELLM_PAYLOAD: dict[str, Any] = {
    "id": "chatcmpl-9",
    "trace_id": "tr-9",
    "session_id": "stay-1",
    "call_type": "acompletion",
    "status": "success",
    "startTime": 1772442000.0,
    "endTime": 1772442001.5,
    "response_time": 1.5,
    "model": "guest-model",
    "prompt_tokens": 19,
    "completion_tokens": 6,
    "end_user": "guest-4",
    "messages": [SYSTEM, QUESTION],
    "response": {"id": "chatcmpl-9", "choices": CHOICES},
    "metadata": {"user_api_key_alias": "web"},
}
LITELLM_ROW: dict[str, Any] = {
    "request_id": "chatcmpl-9",
    "call_type": "acompletion",
    "spend": 0.0,
    "prompt_tokens": 19,
    "completion_tokens": 6,
    "startTime": "2026-03-02 09:00:00.000",
    "endTime": "2026-03-02 09:00:01.500",
    "model": "guest-model",
    "end_user": "guest-4",
    "session_id": "stay-1",
    "metadata": "{}",
    "messages": json.dumps([SYSTEM, QUESTION]),
    "response": json.dumps({"choices": CHOICES}),
    "proxy_server_request": "{}",
    "status": "success",
}
LANGSMITH_RUN: dict[str, Any] = {
    "id": "run-2",
    "trace_id": "run-1",
    "parent_run_id": "run-1",
    "name": "ChatModel",
    "run_type": "llm",
    "start_time": TIME,
    "end_time": "2026-03-02T09:00:01.500Z",
    "session_id": "project-1",
    "inputs": {"messages": [SYSTEM, QUESTION]},
    "outputs": {"choices": CHOICES},
    "extra": {
        "metadata": {"ls_model_name": "guest-model", "thread_id": "stay-1", "user_id": "guest-4"}
    },
    "error": None,
    "prompt_tokens": 19,
    "completion_tokens": 6,
    "total_tokens": 25,
}
LANGSMITH_FEEDBACK: dict[str, Any] = {
    "id": "said-1",
    "run_id": "run-1",
    "key": "user_thumb",
    "score": 0,
    "value": "down",
    "comment": "Wrong hours.",
    "correction": {"answer": "From eight to eleven."},
    "feedback_source": {"type": "api"},
    "created_at": LATER,
}
MLFLOW_TRACE: dict[str, Any] = {
    "info": {
        "trace_id": "tr-1",
        "request_time": TIME,
        "state": "OK",
        "trace_metadata": {"mlflow.trace.user": "guest-4", "mlflow.trace.session": "stay-1"},
        "tags": {},
        "assessments": [
            {
                "assessment_id": "a-1",
                "assessment_name": "thumb",
                "source": {"source_type": "HUMAN", "source_id": "guest-4"},
                "create_time": LATER,
                "feedback": {"value": False},
                "rationale": "Wrong hours.",
                "valid": True,
            },
            {
                "assessment_id": "a-2",
                "assessment_name": "expected_answer",
                "source": {"source_type": "HUMAN", "source_id": "clerk-2"},
                "create_time": LATER,
                "expectation": {"value": "From eight to eleven."},
            },
            {
                "assessment_id": "a-3",
                "assessment_name": "relevance",
                "source": {"source_type": "LLM_JUDGE", "source_id": "judge"},
                "create_time": LATER,
                "feedback": {"value": "yes"},
                "rationale": "It speaks of breakfast.",
            },
            {
                "assessment_id": "a-4",
                "assessment_name": "thumb",
                "source": {"source_type": "HUMAN", "source_id": "guest-4"},
                "create_time": LATER,
                "feedback": {"value": True},
                "valid": False,
            },
        ],
    },
    "data": {
        "spans": [
            {
                "span_id": "AAAAAAAAAAE=",
                "parent_span_id": None,
                "name": "answer",
                "start_time_unix_nano": 1772442000000000000,
                "attributes": {"mlflow.spanType": '"CHAIN"'},
            },
            {
                "span_id": "AAAAAAAAAAI=",
                "parent_span_id": "AAAAAAAAAAE=",
                "name": "chat",
                "start_time_unix_nano": 1772442000000000000,
                "end_time_unix_nano": 1772442001500000000,
                "attributes": {
                    "mlflow.spanType": '"CHAT_MODEL"',
                    "mlflow.spanInputs": json.dumps(
                        {"model": "guest-model", "messages": [SYSTEM, QUESTION]}
                    ),
                    "mlflow.spanOutputs": json.dumps({"choices": CHOICES}),
                    "mlflow.chat.tokenUsage": json.dumps({"input_tokens": 19, "output_tokens": 6}),
                },
            },
        ]
    },
}
TENSORZERO_INFERENCE: dict[str, Any] = {
    "_table": "ChatInference",
    "id": "019cad3e-2880-7000-8000-000000000001",
    "function_name": "concierge",
    "variant_name": "guest_v3",
    "episode_id": "019cad3e-2880-7000-8000-0000000000e1",
    "input": json.dumps(
        {
            "system": SYSTEM["content"],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": QUESTION["content"]}]}
            ],
        }
    ),
    "output": json.dumps([{"type": "text", "text": ANSWER["content"]}]),
    "processing_time_ms": 1500,
    "tags": {"user_id": "guest-4"},
    "timestamp": TIME,
}
TENSORZERO_FEEDBACK: list[dict[str, Any]] = [
    {
        "_table": "BooleanMetricFeedback",
        "id": "019cad42-bc60-7000-8000-000000000002",
        "target_id": TENSORZERO_INFERENCE["id"],
        "metric_name": "user_thumb",
        "value": False,
        "tags": {},
        "timestamp": LATER,
    },
    {
        "_table": "FloatMetricFeedback",
        "id": "019cad42-bc60-7000-8000-000000000003",
        "target_id": TENSORZERO_INFERENCE["id"],
        "metric_name": "minutes_saved",
        "value": 1.0,
        "tags": {},
        "timestamp": LATER,
    },
    {
        "_table": "CommentFeedback",
        "id": "019cad42-bc60-7000-8000-000000000004",
        "target_id": TENSORZERO_INFERENCE["id"],
        "target_type": "inference",
        "value": "Wrong hours.",
        "tags": {},
    },
    {
        "_table": "DemonstrationFeedback",
        "id": "019cad42-bc60-7000-8000-000000000005",
        "inference_id": TENSORZERO_INFERENCE["id"],
        "value": json.dumps([{"type": "text", "text": "From eight to eleven."}]),
        "tags": {},
    },
]
OPEN_WEBUI: dict[str, Any] = {
    "id": "f-1",
    "user_id": "guest-4",
    "version": 0,
    "type": "rating",
    "data": {
        "rating": -1,
        "model_id": "guest-model",
        "reason": "not_factually_correct",
        "comment": "Wrong hours.",
        "details": {"rating": 3},
    },
    "meta": {"arena": False, "chat_id": "stay-1", "message_id": "m-2"},
    "snapshot": {
        "chat": {
            "chat": {
                "history": {
                    "messages": {
                        "m-1": {"id": "m-1", "parentId": None, **QUESTION},
                        "m-2": {
                            "id": "m-2",
                            "parentId": "m-1",
                            "model": "guest-model",
                            "timestamp": 1772442000,
                            **ANSWER,
                        },
                    }
                }
            }
        }
    },
    "created_at": 1772442300,
    "updated_at": 1772442300,
}
SPAN: dict[str, Any] = {
    "traceId": "5b8efff798038103d269b633813fc60c",
    "spanId": "eee19b7ec3c1b174",
    "name": "chat guest-model",
    "startTimeUnixNano": "1772442000000000000",
    "endTimeUnixNano": "1772442001500000000",
    "attributes": [
        {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
        {"key": "gen_ai.response.id", "value": {"stringValue": "chatcmpl-9"}},
        {
            "key": "gen_ai.input.messages",
            "value": {
                "stringValue": json.dumps(
                    [{"role": "user", "parts": [{"type": "text", "content": "When is breakfast?"}]}]
                )
            },
        },
        {
            "key": "gen_ai.output.messages",
            "value": {
                "stringValue": json.dumps(
                    [
                        {
                            "role": "assistant",
                            "parts": [{"type": "text", "content": "From seven to ten."}],
                        }
                    ]
                )
            },
        },
    ],
}
EVALUATION: dict[str, Any] = {
    "timeUnixNano": "1772442300000000000",
    "eventName": "gen_ai.evaluation.result",
    "attributes": [
        {"key": "gen_ai.evaluation.name", "value": {"stringValue": "thumb"}},
        {"key": "gen_ai.evaluation.score.value", "value": {"doubleValue": 1.0}},
        {"key": "gen_ai.response.id", "value": {"stringValue": "chatcmpl-9"}},
    ],
}
OPENINFERENCE_SPAN: dict[str, Any] = {
    "name": "ChatCompletion",
    "context": {"trace_id": "5b8efff798038103d269b633813fc60c", "span_id": "eee19b7ec3c1b174"},
    "parent_id": None,
    "span_kind": "LLM",
    "start_time": TIME,
    "end_time": LATER,
    "attributes": {
        "openinference.span.kind": "LLM",
        "llm.model_name": "guest-model",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "When is breakfast?",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": "From seven to ten.",
        "session.id": "stay-1",
    },
}
OPENINFERENCE_ANNOTATION: dict[str, Any] = {
    "id": "U3Bhbg==",
    "span_id": "eee19b7ec3c1b174",
    "name": "thumb",
    "annotator_kind": "HUMAN",
    "result": {"label": "thumbs_down", "score": 0, "explanation": "Wrong hours."},
    "created_at": LATER,
}

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "native": [
        json.loads(an_interaction("r1", application="hotel").to_json()),
        json.loads(a_correction("f1", "r1", "money", application="hotel").to_json()),
    ],
    "openai-chat": [{"request": REQUEST, "response": RESPONSE}],
    "litellm": [LITELLM_PAYLOAD, LITELLM_ROW],
    "langfuse": [
        LANGFUSE_EXPORT,
        LANGFUSE_GENERATION,
        LANGFUSE_SCORE,
        {**LANGFUSE_EXPORT["trace"], "observations": LANGFUSE_EXPORT["observations"]},
        LANGFUSE_EXPORT["trace"],
    ],
    "langsmith": [LANGSMITH_RUN, LANGSMITH_FEEDBACK],
    "mlflow": [MLFLOW_TRACE, {**MLFLOW_TRACE["info"], "spans": MLFLOW_TRACE["data"]["spans"]}],
    "tensorzero": [
        row
        for named in (TENSORZERO_INFERENCE, *TENSORZERO_FEEDBACK)
        for row in (named, {key: value for key, value in named.items() if key != "_table"})
    ],
    "data-flywheel": [
        {
            "timestamp": 1772442000,
            "client_id": "web",
            "workload_id": "hotel.chat",
            "request": REQUEST,
            "response": RESPONSE,
        }
    ],
    "open-webui": [OPEN_WEBUI],
    "openai-finetuning": [
        {"messages": [SYSTEM, QUESTION, {**ANSWER, "weight": 1}]},
        {
            "input": {"messages": [SYSTEM, QUESTION], "tools": []},
            "preferred_output": [ANSWER],
            "non_preferred_output": [OTHER],
        },
    ],
    "trl": [
        {"prompt": [SYSTEM, QUESTION], "completion": [ANSWER], "label": True},
        {"prompt": "When is breakfast?", "completion": "From seven to ten.", "label": False},
        {"prompt": [SYSTEM, QUESTION], "chosen": [ANSWER], "rejected": [OTHER]},
        {"chosen": [QUESTION, ANSWER], "rejected": [QUESTION, OTHER]},
        {"prompt": "When is breakfast?", "completion": "From seven to ten."},
    ],
    "otlp": [
        {"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [EVALUATION]}]}]},
    ],
    "openinference": [OPENINFERENCE_SPAN, OPENINFERENCE_ANNOTATION],
}
