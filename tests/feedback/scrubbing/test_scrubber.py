import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.errors import UserError
from llm_assets.feedback.scrubbing.config import PersonalDataConfig, PersonalDataType
from llm_assets.feedback.scrubbing.scrubber import Scrubbers
from llm_assets.records import Feedback, FeedbackKind, Interaction
from tests.feedback.scrubbing.personal import VALUES
from tests.records import TIME, an_interaction

KEY = b"k" * 32


def scrubbed(scrubbers: Scrubbers | None = None, **fields: Any) -> Interaction:
    record = (scrubbers or Scrubbers({}, KEY))(an_interaction("r1", **fields))
    assert isinstance(record, Interaction)
    return record


def some_feedback(**fields: Any) -> Feedback:
    feedback = Feedback(
        feedback_id="f1",
        request_id="r1",
        application="helpdesk",
        time=TIME,
        kind=FeedbackKind.THUMB,
        value=1,
    )
    return dataclasses.replace(feedback, **fields)


def test_a_clean_record_is_returned_as_it_is() -> None:
    record = an_interaction("r1", session_id="s1", messages=[{"role": "user", "content": "hello"}])
    assert Scrubbers({}, KEY)(record) is record


def test_the_same_value_has_the_same_number_in_the_whole_conversation() -> None:
    record = scrubbed(
        messages=[
            {"role": "user", "content": "I am anna@example.com"},
            {"role": "assistant", "content": "Hello Anna@Example.com"},
            {"role": "user", "content": "and bob@example.com, +49 170 1234567"},
        ],
        prompt="and bob@example.com, +49 170 1234567",
        response="I wrote to bob@example.com and +49-170-1234567, not to eve@example.com",
    )
    assert [message["content"] for message in record.messages] == [
        "I am <EMAIL_1>",
        "Hello <EMAIL_1>",
        "and <EMAIL_2>, <PHONE_1>",
    ]
    assert record.prompt == "and <EMAIL_2>, <PHONE_1>"
    assert record.response == "I wrote to <EMAIL_2> and <PHONE_1>, not to <EMAIL_3>"


def test_numbers_go_on_within_a_session_and_start_anew_in_another() -> None:
    scrubbers = Scrubbers({}, KEY)
    first = scrubbed(scrubbers, session_id="s1", prompt="a@example.com")
    second = scrubbed(scrubbers, session_id="s1", prompt="b@example.com a@example.com")
    other = scrubbed(scrubbers, session_id="s2", prompt="b@example.com")
    comment = scrubbers(some_feedback(session_id="s1", text="ask b@example.com"))
    assert first.prompt == "<EMAIL_1>"
    assert second.prompt == "<EMAIL_2> <EMAIL_1>"
    assert other.prompt == "<EMAIL_1>"
    assert isinstance(comment, Feedback)
    assert comment.text == "ask <EMAIL_2>"


def test_a_placeholder_that_the_text_holds_already_stands_for_nothing_else() -> None:
    record = scrubbed(prompt="a@example.com", response="<EMAIL_1> and <EMAIL_7>")
    assert record.prompt == "<EMAIL_8>"
    assert record.response == "<EMAIL_1> and <EMAIL_7>"


def test_a_placeholder_in_an_earlier_record_of_the_session_counts_too() -> None:
    scrubbers = Scrubbers({}, KEY)
    scrubbed(scrubbers, session_id="s1", prompt="who is <EMAIL_1>?")
    assert scrubbed(scrubbers, session_id="s1", prompt="a@example.com").prompt == "<EMAIL_2>"


def test_every_text_of_feedback_is_cleaned() -> None:
    record = Scrubbers({}, KEY)(
        some_feedback(
            kind=FeedbackKind.PREFERENCE,
            text="write to anna@example.com",
            rejected="call +49 170 1234567",
            name="by anna@example.com",
        )
    )
    assert isinstance(record, Feedback)
    assert record.text == "write to <EMAIL_1>"
    assert record.rejected == "call <PHONE_1>"
    assert record.name == "by <EMAIL_1>"


def test_what_messages_hold_beside_their_content_is_cleaned() -> None:
    message = {"role": "user", "content": "hello", "name": "anna@example.com", "b@x.org": "c@x.org"}
    record = scrubbed(messages=[message])
    assert "@" not in str(record.messages)


def test_ids_become_pseudonyms_that_look_ups_can_ask_for() -> None:
    scrubbers = Scrubbers({}, KEY)
    fields = {
        "request_id": "req:anna@example.com",
        "session_id": "+49 170 1234567",
        "user_id": "anna@example.com",
    }
    interaction = scrubbers(
        dataclasses.replace(an_interaction("r1"), **fields, aliases=["t1", "4111111111111111"])
    )
    feedback = scrubbers(some_feedback(**fields, feedback_id="fb/anna@example.com"))
    assert isinstance(interaction, Interaction)
    assert isinstance(feedback, Feedback)
    for name, value in fields.items():
        pseudonym = getattr(interaction, name)
        assert pseudonym.startswith("id-")
        assert len(pseudonym) == 19
        assert pseudonym == getattr(feedback, name) == scrubbers.pseudonym(value)
    assert interaction.aliases == ["t1", scrubbers.pseudonym("4111111111111111")]
    assert "anna" not in feedback.feedback_id


def test_a_label_that_holds_personal_data_becomes_a_pseudonym() -> None:
    record = scrubbed(model_version="tuned by anna@example.com", variant="control")
    assert record.model_version == Scrubbers({}, KEY).pseudonym("tuned by anna@example.com")
    assert record.variant == "control"


def test_a_pseudonym_depends_on_the_key_and_has_no_pseudonym() -> None:
    pseudonym = Scrubbers({}, KEY).pseudonym("anna@example.com")
    assert pseudonym != Scrubbers({}, b"j" * 32).pseudonym("anna@example.com")
    assert Scrubbers({}, KEY).pseudonym(pseudonym) == pseudonym


def test_an_application_is_cleaned_of_what_its_config_names() -> None:
    configs = {"helpdesk": PersonalDataConfig(remove=frozenset({PersonalDataType.EMAIL}))}
    text = "anna@example.com 203.0.113.77"
    scrubbers = Scrubbers(configs, KEY)
    assert scrubbed(scrubbers, prompt=text).prompt == "<EMAIL_1> 203.0.113.77"
    other = scrubbed(scrubbers, application="other", prompt=text)
    assert other.prompt == "<EMAIL_1> <IP_ADDRESS_1>"


def test_ids_are_treated_alike_in_all_applications() -> None:
    configs = {"helpdesk": PersonalDataConfig(remove=frozenset())}
    scrubbers = Scrubbers(configs, KEY)
    user_id = scrubbed(scrubbers, user_id="anna@example.com").user_id
    assert user_id == scrubbers.pseudonym("anna@example.com") != "anna@example.com"


def test_an_unknown_model_of_names_does_not_let_a_record_pass() -> None:
    config = PersonalDataConfig(
        remove=frozenset(PersonalDataType), names_model="no_such_model_is_installed"
    )
    with pytest.raises(UserError, match="application 'helpdesk': "):
        scrubbed(Scrubbers({"helpdesk": config}, KEY), prompt="hello")


PIECES = st.sampled_from([value for values in VALUES.values() for value in values]) | st.text(
    st.sampled_from("0123456789 .-+()/:@=aAeE_<>\n"), max_size=10
)


@given(st.lists(PIECES, max_size=7).map("".join))
def test_cleaning_a_clean_record_changes_nothing(text: str) -> None:
    scrubbers = Scrubbers({}, KEY)
    once = scrubbed(scrubbers, prompt=text, response=text)
    assert scrubbers(once) == once
    assert Scrubbers({}, KEY)(once) == once


@given(st.data())
def test_no_value_is_left_in_what_was_cleaned(data: st.DataObject) -> None:
    type_ = data.draw(st.sampled_from(sorted(VALUES)))
    value = data.draw(st.sampled_from(VALUES[type_]))
    text = f"first {value}, then {value} again"
    record = scrubbed(prompt=text, user_id="u1", messages=[{"role": "user", "content": text}])
    placeholder = f"<{type_.upper()}_1>"
    assert record.prompt == f"first {placeholder}, then {placeholder} again"
    assert value.encode() not in record.to_json()


def test_threads_may_share_it() -> None:
    scrubbers = Scrubbers({}, KEY)
    records = [
        an_interaction(f"r{i}", session_id=f"s{i % 3}", prompt=f"u{i % 7}@example.com")
        for i in range(300)
    ]
    with ThreadPoolExecutor(8) as threads:
        cleaned = list(threads.map(scrubbers, records))
    pairs = {
        (before.session_id, before.prompt, after.prompt)
        for before, after in zip(records, cleaned, strict=True)
        if isinstance(after, Interaction)
    }
    assert len(pairs) == 21
