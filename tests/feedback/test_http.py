import asyncio
import errno
import gzip
import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient

from llm_assets.errors import UserError
from llm_assets.feedback import http as http_module
from llm_assets.feedback import log as log_module
from llm_assets.feedback import unassigned
from llm_assets.feedback.body import MAX_BODY_BYTES
from llm_assets.feedback.collector import BusyError, Collector
from llm_assets.feedback.config import FeedbackConfig
from llm_assets.feedback.http import Intake
from llm_assets.feedback.tables import read_table
from llm_assets.installation import Installation
from llm_assets.records import FeedbackKind
from llm_assets.tokens import TokenCheck
from tests.feedback.collecting import (
    a_client,
    a_process,
    feedback,
    installation_in,
    interactions,
    post_interactions,
)
from tests.feedback.test_collector import Cleaning
from tests.records import TIME, an_interaction

PUBLIC = "0.0.0.0"
CANARY = "jane.canary@example.com"


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return installation_in(tmp_path)


@pytest.fixture
def client(installation: Installation) -> Iterator[TestClient]:
    with a_client(installation) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def a_token(installation: Installation, application: str) -> dict[str, str]:
    return bearer(installation.tokens.create(application, now=datetime.now(UTC)))


def message(response: Any) -> str:
    return response.json()["error"]["message"]


def post_thumb(client: Any, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    body = {"kind": "thumb", "value": 1, **fields}
    return client.post("/v1/feedback", json=body, headers=headers)


def test_accepted_interactions_are_in_the_log(
    client: TestClient, installation: Installation
) -> None:
    assert post_interactions(client, "r1", "r2").json() == {"accepted": 2, "duplicates": 0}
    assert post_interactions(client, "r1", "r3").json() == {"accepted": 1, "duplicates": 1}
    assert [record.request_id for record in interactions(installation)] == ["r1", "r2", "r3"]


def test_a_large_batch_is_read_as_well(client: TestClient, installation: Installation) -> None:
    names = [f"r{number}" for number in range(500)]
    assert post_interactions(client, *names).json() == {"accepted": 500, "duplicates": 0}
    assert len(interactions(installation)) == 500


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"not json", "body: is not JSON"),
        (b"[" * 100_000, "body: is not JSON"),
        (b"\xff", "body: is not JSON"),
        (b"[]", "body: must be a JSON object"),
        (b"{}", "application: must be given where there is no request_id, by a token or as one of"),
        (b'{"application": "helpdesk"}', "kind: is missing"),
        (b'{"request_id": "r1", "kind": "shrug"}', "kind: "),
        (b'{"request_id": "r1", "kind": "thumb", "value": 5}', "value of a thumb must be -1 or 1"),
        (b'{"request_id": "r1", "kind": "thumb", "value": 1, "x": 1}', "x: unknown key"),
        (b'{"request_id": 7, "application": "bank", "kind": "thumb", "value": 1}', "request_id: "),
    ],
)
def test_wrong_feedback_is_refused_by_the_name_of_the_field(
    client: TestClient, body: bytes, problem: str
) -> None:
    post_interactions(client, "r1")
    response = client.post("/v1/feedback", content=body)
    assert response.status_code == 400
    assert problem in message(response)


def test_a_wrong_interaction_is_refused_by_its_line_and_none_is_taken(
    client: TestClient, installation: Installation
) -> None:
    body = an_interaction("r1").to_json() + b'\n\n{"request_id": "r2"}\n'
    response = client.post("/v1/interactions", content=body)
    assert response.status_code == 400
    assert message(response).startswith("line 3: ")
    assert interactions(installation) == []


def test_feedback_belongs_to_the_application_of_its_request(
    client: TestClient, installation: Installation
) -> None:
    post_interactions(client, "r1", application="bank", aliases=["trace-1"])
    body = {"request_id": "trace-1", "kind": "correction", "text": "sports"}
    response = client.post("/v1/feedback", json=body)
    assert response.json() == {"accepted": 1, "duplicates": 0}
    (kept,) = feedback(installation)
    assert (kept.application, kept.kind) == ("bank", FeedbackKind.CORRECTION)
    assert response.headers["x-feedback-id"] == kept.feedback_id
    assert abs(datetime.now(UTC) - kept.time).total_seconds() < 60


def test_feedback_with_an_id_of_its_own_is_kept_once(client: TestClient) -> None:
    for name in ("f1", "f-日本\r\nx-evil: 1"):
        response = post_thumb(client, request_id="r1", feedback_id=name)
        assert response.json() == {"accepted": 1, "duplicates": 0}
        assert "x-feedback-id" not in response.headers
        assert "x-evil" not in response.headers
        again = post_thumb(client, request_id="r1", feedback_id=name)
        assert again.json() == {"accepted": 0, "duplicates": 1}


def test_feedback_that_comes_first_waits_for_its_request(
    client: TestClient, installation: Installation
) -> None:
    assert post_thumb(client, request_id="r1", feedback_id="f1").status_code == 200
    assert feedback(installation) == []
    assert [early.feedback_id for early in unassigned.read(installation.home)] == ["f1"]
    post_interactions(client, "r1", application="bank")
    assert [(kept.feedback_id, kept.application) for kept in feedback(installation)] == [
        ("f1", "bank")
    ]
    assert unassigned.read(installation.home) == []


def test_feedback_that_names_its_application_needs_no_request(
    client: TestClient, installation: Installation
) -> None:
    assert post_thumb(client, request_id="r1", application="bank").status_code == 200
    assert post_thumb(client, session_id="s1", application="helpdesk").status_code == 200
    assert {kept.application for kept in feedback(installation)} == {"bank", "helpdesk"}


def test_where_there_is_one_application_feedback_is_its(tmp_path: Path) -> None:
    installation = installation_in(tmp_path, "bank")
    with a_client(installation) as client:
        assert post_thumb(client, request_id="unknown").status_code == 200
        assert post_thumb(client, session_id="s1").status_code == 200
    assert [kept.application for kept in feedback(installation)] == ["bank", "bank"]


def test_feedback_on_a_session_must_say_whose_it_is(client: TestClient) -> None:
    response = post_thumb(client, session_id="s1")
    assert response.status_code == 400
    assert message(response) == (
        "application: must be given where there is no request_id, by a token or as one of "
        "bank, helpdesk"
    )


def test_an_application_that_does_not_exist_is_refused_with_those_that_do(
    client: TestClient,
) -> None:
    for response in (
        post_thumb(client, request_id="r1", application="shop"),
        post_thumb(client, request_id="r1", application=unassigned.APPLICATION),
        post_thumb(client, request_id="r1", application=["bank"]),
        post_interactions(client, "r1", application="shop"),
    ):
        assert response.status_code == 400
        assert message(response).startswith("application: must be one of bank, helpdesk")


def test_feedback_of_another_application_than_its_request_is_refused(client: TestClient) -> None:
    post_interactions(client, "r1", application="bank")
    response = post_thumb(client, request_id="r1", application="helpdesk")
    assert response.status_code == 400
    assert message(response) == "application: must be that of the request"


def test_an_application_of_the_name_that_we_use_ourselves_is_refused(tmp_path: Path) -> None:
    collector = Collector(tmp_path, Cleaning())
    with pytest.raises(UserError, match="'unassigned': the name is taken"):
        Intake(collector, tokens=None, applications={"unassigned": FeedbackConfig()})


# Tokens


def test_on_a_public_host_every_route_needs_a_token(installation: Installation) -> None:
    headers = a_token(installation, "helpdesk")
    with a_client(installation, host=PUBLIC) as client:
        for path in ("/v1/interactions", "/v1/feedback", "/v1/traces", "/v1/chat/completions"):
            for wrong in ({}, bearer("unused"), bearer("la_wrong")):
                response = client.post(path, content=b"x", headers=wrong)
                assert response.status_code == 401
                assert response.headers["www-authenticate"] == "Bearer"
        for path in ("/healthz", "/metrics", "/v1/models"):
            assert client.get(path).status_code == 200
        line = an_interaction("r1").to_json()
        assert client.post("/v1/interactions", content=line, headers=headers).status_code == 200


def test_a_token_made_or_revoked_meanwhile_counts_at_once(installation: Installation) -> None:
    with a_client(installation, host=PUBLIC) as client:
        headers = a_token(installation, "helpdesk")
        assert post_thumb(client, headers, session_id="s1").status_code == 200
        installation.tokens.revoke("helpdesk-1")
        assert post_thumb(client, headers, session_id="s1").status_code == 401


def test_a_token_speaks_for_its_application_only(installation: Installation) -> None:
    headers = a_token(installation, "helpdesk")
    with a_client(installation, host=PUBLIC) as client:
        other = a_token(installation, "bank")
        lines = an_interaction("of-bank", application="bank").to_json()
        assert client.post("/v1/interactions", content=lines, headers=other).status_code == 200
        for response in (
            client.post("/v1/interactions", content=lines, headers=headers),
            post_thumb(client, headers, request_id="of-bank"),
            post_thumb(client, headers, request_id="r1", application="bank"),
        ):
            assert response.status_code == 403
            assert message(response) == "application: is not the token's"
        assert post_thumb(client, headers, request_id="not-yet").status_code == 200
        assert post_thumb(client, headers, session_id="s1").status_code == 200
    assert {kept.application for kept in feedback(installation)} == {"helpdesk"}


def test_on_loopback_nobody_needs_a_token_but_a_wrong_one_is_refused(
    client: TestClient, installation: Installation
) -> None:
    for headers in ({}, bearer("sk-unused"), a_token(installation, "helpdesk")):
        assert post_thumb(client, headers, session_id="s", application="helpdesk").is_success
    assert post_thumb(client, bearer("la_wrong"), session_id="s").status_code == 401


def test_our_own_model_servers_pass_with_the_internal_token(installation: Installation) -> None:
    intake = Intake(
        Collector(installation.home, Cleaning()),
        tokens=TokenCheck(tokens=installation.tokens, is_required=True, internal="la_internal"),
        applications={},
    )
    app = Starlette(routes=[intake.route("/x", echo)])
    with TestClient(app) as client:
        assert client.post("/x", headers=bearer("la_internal")).json() == {"body": "", "of": None}
        assert client.post("/x", headers=bearer("la_internas")).status_code == 401


# Limits


async def echo(_: Request, body: bytes, application: str | None) -> Response:
    return JSONResponse({"body": body.decode(), "of": application})


def test_a_gzipped_body_is_read_in_one_or_several_members(
    client: TestClient, installation: Installation
) -> None:
    first, second = an_interaction("r1").to_json(), an_interaction("r2", response="x" * 10**6)
    content = gzip.compress(first + b"\n") + gzip.compress(second.to_json())
    headers = {"content-encoding": "gzip"}
    response = client.post("/v1/interactions", content=content, headers=headers)
    assert response.json() == {"accepted": 2, "duplicates": 0}
    assert interactions(installation)[1] == second


@pytest.mark.parametrize(
    ("content", "encoding", "status", "problem"),
    [
        (b" " * (MAX_BODY_BYTES + 1), "identity", 413, "must not exceed 4194304 bytes"),
        (gzip.compress(b" " * (32 * 2**20 + 1)), "gzip", 413, "33554432 bytes inflated"),
        (gzip.compress(b"{}" * 999)[:-9], "gzip", 400, "its gzip is cut off"),
        (b"{}", "gzip", 400, "body: is not gzip"),
        (b"{}", "br", 415, "content-encoding: must be gzip or identity"),
    ],
    # gzip writes the time, by which two processes would not know each other's tests.
    ids=["long", "long when inflated", "cut off", "not gzip", "another encoding"],
)
def test_a_body_over_a_limit_or_badly_compressed_is_refused(
    client: TestClient, content: bytes, encoding: str, status: int, problem: str
) -> None:
    headers = {"content-encoding": encoding}
    response = client.post("/v1/interactions", content=content, headers=headers)
    assert response.status_code == status
    assert problem in message(response)


def test_who_sends_too_fast_is_told_when_to_come_back(tmp_path: Path) -> None:
    installation = installation_in(tmp_path, "helpdesk", "bank", max_records_per_second=10.0)
    now = [0.0]
    intake = Intake(
        Collector(installation.home, Cleaning()),
        tokens=TokenCheck(tokens=installation.tokens, is_required=True),
        applications={n: a.feedback for n, a in installation.applications().items()},
        clock=lambda: now[0],
    )
    helpdesk, bank = a_token(installation, "helpdesk"), a_token(installation, "bank")

    async def session() -> None:
        app = Starlette(routes=http_module.routes(intake))
        transport = httpx.ASGITransport(app)
        running = asyncio.create_task(intake.collector.run())
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:

            async def send(batch: str, num_records: int, headers: Any = helpdesk) -> httpx.Response:
                application = "bank" if headers is bank else "helpdesk"
                records = [
                    an_interaction(f"{batch}-{number}", application=application).to_json()
                    for number in range(num_records)
                ]
                content = b"\n".join(records)
                return await client.post("/v1/interactions", content=content, headers=headers)

            assert (await send("burst", 20)).status_code == 200
            assert (await send("more", 35)).status_code == 200  # from 0 to a debt of 35
            refused = await send("early", 1)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "4")
            assert "10 records a second" in message(refused)
            assert (await send("other", 1, bank)).status_code == 200
            now[0] += 3.4
            assert (await send("early", 1)).headers["retry-after"] == "1"
            now[0] += 0.1
            assert (await send("late", 1)).status_code == 200
        running.cancel()

    asyncio.run(session())
    assert len(interactions(installation)) == 57


def test_more_bytes_than_memory_has_room_for_are_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_module, "MAX_HELD_BYTES", 1000)
    for _ in range(3):  # what a refused request held is free again
        response = client.post("/v1/interactions", content=b" " * 1001)
        assert (response.status_code, response.headers["retry-after"]) == (429, "1")
        assert post_interactions(client, "r1").status_code == 200


def test_when_the_disk_is_behind_the_answer_is_429(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: object) -> None:
        raise BusyError("too many records wait for the disk", retry_after_seconds=7)

    monkeypatch.setattr(Collector, "submit", busy)
    response = post_interactions(client, "r1")
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")


def test_a_full_disk_is_507_and_what_was_acknowledged_stays(
    client: TestClient, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    post_interactions(client, "r1")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log_module.os, "fsync", full)
    assert post_interactions(client, "r2").status_code == 507
    monkeypatch.undo()
    assert post_interactions(client, "r2").json() == {"accepted": 1, "duplicates": 0}
    assert [record.request_id for record in interactions(installation)] == ["r1", "r2"]


# Events of an A/B test


def event(client: TestClient, event_id: str, value: float, **about: str) -> Any:
    """Send what a client measured of an answer, or of a session as a whole."""
    fields = {"feedback_id": event_id, "kind": "score", "name": "converted", "value": value}
    body = {**fields, "time": TIME.isoformat(), **about}
    return client.post("/v1/feedback", json=body)


def test_a_conversion_is_joined_to_the_arm_that_answered(tmp_path: Path) -> None:
    installation = installation_in(tmp_path, "helpdesk")
    with a_client(installation) as client:
        for number, variant in enumerate(["champion", "challenger", "fallback"]):
            asked = {"variant": variant, "session_id": f"s{number}"}
            post_interactions(client, f"r{number}", **asked)
        # The copy of r0 that a shadow answered is nobody's conversion.
        post_interactions(client, "r0", variant="shadow", session_id="s0")
        assert event(client, "e0", 1, request_id="r0").status_code == 200
        assert event(client, "e1", 0, request_id="r1").status_code == 200
        assert event(client, "e2", 1, session_id="s1").status_code == 200
        assert event(client, "e3", 1, session_id="s2").status_code == 200
        assert event(client, "e3", 1, session_id="s2").json()["duplicates"] == 1
    asked, said = joined(installation)
    of_arms = said.join(asked.select("request_id", "variant"), on="request_id")
    assert of_arms.select("feedback_id", "name", "value", "variant", "session_id").rows() == [
        ("e0", "converted", 1.0, "champion", "s0"),
        ("e1", "converted", 0.0, "challenger", "s1"),
        ("e2", "converted", 1.0, "challenger", "s1"),
        ("e3", "converted", 1.0, "fallback", "s2"),
    ]
    assert of_arms["is_session_level"].to_list() == [False, False, True, True]


def test_however_many_events_a_user_causes_all_of_them_count(tmp_path: Path) -> None:
    installation = installation_in(tmp_path, "helpdesk", max_feedback_per_user_and_day=1)
    with a_client(installation) as client:
        post_interactions(client, "r1", user_id="u1", session_id="s1")
        for number in range(3):
            assert event(client, f"e{number}", 1, session_id="s1").status_code == 200
    _, said = joined(installation)
    assert said.select("user_id", "is_over_cap").rows() == [("u1", False)] * 3


@pytest.mark.parametrize("value", ["true", '"1"', "null", "NaN"])
def test_an_event_without_a_number_is_refused(client: TestClient, value: str) -> None:
    post_interactions(client, "r1")
    body = f'{{"request_id": "r1", "kind": "score", "name": "converted", "value": {value}}}'
    assert client.post("/v1/feedback", content=body.encode()).status_code == 400


def joined(installation: Installation) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the interactions and the feedback as assets would see them."""
    for name, log in (
        ("interaction_logs", installation.interaction_log),
        ("feedback_logs", installation.feedback_log),
    ):
        for day in log.partitions():
            installation.table(name).write(day, read_table(log, day)[0])
    return installation.interactions("helpdesk"), installation.feedback("helpdesk")


# What is told


def test_metrics_count_what_was_accepted_and_what_was_not(client: TestClient) -> None:
    post_interactions(client, "r1", "r2", "r2", first_token_seconds=0.3)
    post_interactions(client, "r1", variant="shadow")
    post_thumb(client, request_id="r1")
    post_thumb(client, request_id="early")
    client.post("/v1/feedback", content=b"x")
    client.post("/v1/interactions", content=b" " * (MAX_BODY_BYTES + 1))
    text = client.get("/metrics").text
    assert (
        'llm_assets_requests_total{application="helpdesk",'
        'model_version="helpdesk-v0001",status="200",variant="champion"} 2.0'
    ) in text
    labels = 'application="helpdesk",model_version="helpdesk-v0001"'
    assert f'llm_assets_requests_total{{{labels},status="200",variant="shadow"}} 1.0' in text
    assert f'llm_assets_first_token_seconds_sum{{{labels},variant="champion"}} 0.6' in text
    assert f'llm_assets_first_token_seconds_count{{{labels},variant="shadow"}} 0.0' in text
    assert 'llm_assets_feedback_total{application="helpdesk",kind="thumb"} 1.0' in text
    assert 'llm_assets_rejected_requests_total{status="400"} 1.0' in text
    assert 'llm_assets_rejected_requests_total{status="413"} 1.0' in text
    post_interactions(client, "early", application="bank")
    text = client.get("/metrics").text
    assert 'llm_assets_feedback_total{application="bank",kind="thumb"} 1.0' in text
    assert unassigned.APPLICATION not in text


def test_no_answer_repeats_what_a_user_wrote(client: TestClient) -> None:
    fields = json.loads(an_interaction("r1").to_json())
    bodies = [
        {**fields, "prompt": [CANARY]},
        {**fields, "status": CANARY},
        {**fields, "time": CANARY},
        {**fields, "application": CANARY},
        {**fields, "messages": [{"role": {CANARY: 1}}]},
        {**fields, CANARY: 1},
        CANARY,
    ]
    for body in bodies:
        response = client.post("/v1/interactions", json=body)
        assert response.status_code == 400
        assert CANARY not in response.text
    for body in (
        {"request_id": [CANARY], "application": "bank"},
        {"request_id": "r1", "application": "bank", "kind": CANARY},
        {"request_id": "r1", "application": CANARY, "kind": "thumb"},
        {"request_id": "r1", "application": "bank", "kind": "rating", "value": CANARY},
        {"request_id": CANARY * 10, "application": "bank", "kind": "thumb", "value": 1},
        {"request_id": "r1", "application": "bank", "kind": "thumb", "value": 1, CANARY: 1},
    ):
        response = client.post("/v1/feedback", json=body)
        assert response.status_code == 400
        assert CANARY not in response.text


def test_of_an_unexpected_error_only_its_type_and_place_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    intake = Intake(Collector(tmp_path, Cleaning()), tokens=None, applications={})

    async def fails(_: Request, body: bytes, __: str | None) -> Response:
        raise KeyError(body.decode())

    with TestClient(Starlette(routes=[intake.route("/x", fails)])) as client:
        response = client.post("/x", content=CANARY)
    assert response.status_code == 500
    assert CANARY not in response.text
    assert CANARY not in caplog.text
    assert "KeyError in " in caplog.text
    assert "test_http.py:" in caplog.text


def test_personal_data_reaches_neither_the_disk_nor_the_process_s_output(
    installation: Installation,
) -> None:
    with a_process(installation) as (process, url), httpx.Client(base_url=url) as client:
        text = f"write to {CANARY} please"
        sent = an_interaction(f"r-{CANARY}", prompt=text, response=text, aliases=[f"a-{CANARY}"])
        content = gzip.compress(sent.to_json())
        headers = {"content-encoding": "gzip"}
        assert client.post("/v1/interactions", content=content, headers=headers).is_success
        comment = {"kind": "comment", "text": text, "user_id": CANARY}
        for request_id in (f"r-{CANARY}", f"a-{CANARY}", f"early-{CANARY}"):
            response = client.post("/v1/feedback", json={**comment, "request_id": request_id})
            assert response.json() == {"accepted": 1, "duplicates": 0}
        # The same again is known, although it is stored under other names.
        assert post_interactions(client, f"r-{CANARY}").json()["duplicates"] == 1
        for path in ("/v1/interactions", "/v1/feedback", "/v1/traces", "/v1/chat/completions"):
            assert client.post(path, content=text).is_client_error
        process.terminate()
        try:
            output, errors = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert [kept.application for kept in feedback(installation)] == ["helpdesk", "helpdesk"]
    assert feedback(installation)[0].request_id == interactions(installation)[0].request_id
    assert len(unassigned.read(installation.home)) == 1
    assert CANARY not in output + errors
    for path in installation.home.rglob("*"):
        if path.is_file():
            assert b"canary" not in path.read_bytes()
