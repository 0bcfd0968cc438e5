from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from llm_assets.feedback.implicit.sessions import sessions_of
from llm_assets.feedback.tables import interaction_table
from tests.feedback.implicit.sessions import asked, sessions
from tests.records import TIME, an_interaction


def test_interactions_without_a_session_give_none() -> None:
    assert sessions(an_interaction("r1"), an_interaction("r2")) == []
    assert sessions() == []


@given(st.permutations(range(6)))
def test_turns_stand_in_the_order_of_time_however_they_arrived(order: list[int]) -> None:
    interactions = [*asked("a", "b", "c", session_id="s"), *asked("d", "e", "f", session_id="t")]
    found = sessions(*(interactions[position] for position in order))
    assert [[turn.prompt for turn in turns] for turns in found] == [list("abc"), list("def")]


def test_an_interaction_that_stands_in_two_days_counts_once() -> None:
    table = interaction_table(asked("a", "b"))
    (turns,) = sessions_of(table.vstack(table))
    assert len(turns) == 2


def test_the_calls_of_an_agent_are_one_turn_whose_last_answer_was_seen() -> None:
    question = {"role": "user", "content": "weather?"}
    called = [question, {"role": "assistant", "content": ""}, {"role": "tool", "content": "rain"}]
    (turns,) = sessions(
        *asked(
            {"prompt": "weather?", "messages": [question], "response": ""},
            {"prompt": "weather?", "messages": called, "response": "It rains."},
            {"prompt": "and tomorrow?", "messages": [*called, question]},
        )
    )
    assert [(turn.request_id, turn.response) for turn in turns] == [
        ("s-1", "It rains."),
        ("s-2", "An answer."),
    ]
    assert turns[0].asked == TIME


def test_sessions_that_were_silent_since_are_left_out_whole() -> None:
    old, new = asked("a", session_id="old"), asked("b", {"prompt": "c", "minute": 60})
    table = interaction_table([*old, *new])
    (turns,) = sessions_of(table, active_since=TIME + timedelta(minutes=30))
    assert [turn.prompt for turn in turns] == ["b", "c"]


def test_an_answer_is_there_when_its_latency_is_over() -> None:
    ((turn,),) = sessions(*asked({"prompt": "a", "latency_seconds": 2.5}))
    assert turn.answered - turn.asked == timedelta(seconds=2.5)
