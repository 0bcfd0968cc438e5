from dataclasses import asdict
from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.erasures import Traces
from llm_assets.feedback.erasure import Found, clean_quarantine, find, is_kept, is_theirs
from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.records import Feedback, FeedbackKind, Interaction
from tests.records import TIME, an_interaction

USERS = st.sampled_from(["ann", "bob", None])
SESSIONS = st.sampled_from(["s1", "s2", None])
WORDS = st.sampled_from(["one", "two ", "three", "four"])


def a_comment(feedback_id: str, **fields: object) -> Feedback:
    return Feedback(
        feedback_id=feedback_id,
        application="helpdesk",
        time=TIME,
        kind=FeedbackKind.COMMENT,
        **{"text": "hm", **fields},  # type: ignore[arg-type]
    )


def found_of_ann(interactions: list[Interaction], feedback: list[Feedback]) -> Found:
    frames = [interaction_table(interactions)], [feedback_table(feedback)]
    return find(lambda: frames[0], lambda: frames[1], lambda: [], user_ids={"ann"})


def test_an_unsigned_request_is_the_users_if_its_session_is() -> None:
    asked = [
        an_interaction("r1", user_id="ann", session_id="s1"),
        an_interaction("r2", session_id="s1"),
        an_interaction("r3", session_id="s2"),
        an_interaction("r4"),
    ]
    assert found_of_ann(asked, []).traces.request_ids == {"r1", "r2"}


def test_all_feedback_on_the_users_requests_and_by_the_user_is_found() -> None:
    asked = [
        an_interaction("r1", user_id="ann", session_id="s1", aliases=["trace-1", "trace-2"]),
        an_interaction("r2", user_id="bob", aliases=["trace-2"]),
    ]
    said = [
        a_comment("on-request", request_id="r1", user_id="bob"),
        a_comment("on-alias", request_id="trace-1"),
        a_comment("on-session", session_id="s1"),
        a_comment("by-user", request_id="r2", user_id="ann"),
        a_comment("on-shared-alias", request_id="trace-2"),
        a_comment("of-another", request_id="r2", user_id="bob"),
    ]
    traces = found_of_ann(asked, said).traces
    assert traces.feedback_ids == {"on-request", "on-alias", "on-session", "by-user"}


def test_feedback_on_a_session_that_another_shares_stays() -> None:
    asked = [
        an_interaction("r1", user_id="ann", session_id="s1"),
        an_interaction("r2", user_id="bob", session_id="s1"),
    ]
    assert found_of_ann(asked, [a_comment("f1", session_id="s1")]).traces.feedback_ids == set()


def test_a_text_that_somebody_else_wrote_too_is_not_the_users_alone() -> None:
    asked = [
        an_interaction("r1", user_id="ann", prompt="hello", response="hi ann"),
        an_interaction("r2", user_id="ann", prompt="it is me "),
        an_interaction("r3", user_id="bob", prompt=" hello"),
    ]
    found = found_of_ann(asked, [])
    assert found.prompts == {"it is me "}
    assert found.texts == {"it is me", "hi ann"}
    assert found.traces.is_theirs(" it is me")
    assert not found.traces.is_theirs("hello")


@given(
    asked=st.lists(st.tuples(USERS, SESSIONS, WORDS, st.sampled_from(["t1", "t2"])), max_size=12),
    said=st.lists(
        st.tuples(st.integers(0, 12), USERS, st.sampled_from([None, "s1", "t1"]), WORDS),
        max_size=12,
    ),
)
def test_what_stays_is_others_and_no_text_of_it_is_the_users(
    asked: list[tuple], said: list[tuple]
) -> None:
    interactions = [
        an_interaction(f"r{i}", user_id=user, session_id=session, prompt=word, aliases=[alias])
        for i, (user, session, word, alias) in enumerate(asked)
    ]
    feedback = [
        a_comment(f"f{i}", request_id=other or f"r{number}", user_id=user, text=word)
        if other != "s1"
        else a_comment(f"f{i}", session_id=other, user_id=user, text=word)
        for i, (number, user, other, word) in enumerate(said)
    ]
    traces = found_of_ann(interactions, feedback).traces
    for table, records in (
        (interaction_table(interactions), interactions),
        (feedback_table(feedback), feedback),
    ):
        theirs = set(table.filter(is_theirs(table, traces))[:, 0])
        assert theirs == {r.record_id for r in records if not is_kept(r, traces)}
        for record in records:
            if record.record_id in theirs:
                assert isinstance(record, Feedback) or record.user_id != "bob"
            else:
                assert record.user_id != "ann"
                texts = [v for k, v in asdict(record).items() if k in ("prompt", "text")]
                assert not any(map(traces.is_theirs, texts))


def test_a_table_that_names_nobody_is_nobodys() -> None:
    frame = pl.DataFrame({"score": [1.0, 2.0]})
    assert is_theirs(frame, Traces(user_ids=frozenset({"ann"}))).to_list() == [False, False]


def test_quarantined_lines_go_if_they_name_the_user_as_a_word(tmp_path: Path) -> None:
    lines = [
        rb'{"text":"{\"user\":\"ann\"}"}',
        rb'{"text":"{\"user\":\"annabel\"}"}',
        b'{"text":null}',
        b"torn ann",
    ]
    path = tmp_path / "0.ndjson"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    traces = Traces(user_ids=frozenset({"ann"}))
    assert clean_quarantine(tmp_path, traces, is_dry=True) == 2
    assert len(path.read_bytes().splitlines()) == 4
    assert clean_quarantine(tmp_path, traces, is_dry=False) == 2
    assert path.read_bytes().splitlines() == lines[1:3]
