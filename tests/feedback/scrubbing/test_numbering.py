from concurrent.futures import ThreadPoolExecutor

from llm_assets.feedback.scrubbing.config import PersonalDataType
from llm_assets.feedback.scrubbing.numbering import Numbering

EMAIL, PHONE = PersonalDataType.EMAIL, PersonalDataType.PHONE
KEY = b"k" * 32


def test_values_are_numbered_by_type_within_a_session() -> None:
    numbering = Numbering(KEY)
    given = [
        numbering.placeholder("s1", EMAIL, "a"),
        numbering.placeholder("s1", EMAIL, "b"),
        numbering.placeholder("s1", EMAIL, "a"),
        numbering.placeholder("s1", PHONE, "a"),
        numbering.placeholder("s2", EMAIL, "b"),
    ]
    assert given == ["<EMAIL_1>", "<EMAIL_2>", "<EMAIL_1>", "<PHONE_1>", "<EMAIL_1>"]


def test_a_reserved_number_is_not_given_to_a_value() -> None:
    numbering = Numbering(KEY)
    numbering.reserve("s1", EMAIL, 3)
    numbering.reserve("s1", EMAIL, 2)
    assert numbering.placeholder("s1", EMAIL, "a") == "<EMAIL_4>"


def test_the_session_unseen_for_the_longest_time_is_forgotten() -> None:
    numbering = Numbering(KEY, max_sessions=2)
    for session in ("s1", "s2"):
        numbering.placeholder(session, EMAIL, "first")
    numbering.placeholder("s1", EMAIL, "second")
    numbering.placeholder("s3", EMAIL, "first")
    assert numbering.placeholder("s1", EMAIL, "third") == "<EMAIL_3>"
    assert numbering.placeholder("s2", EMAIL, "another") == "<EMAIL_1>"


def test_memory_is_bounded_also_where_one_session_holds_many_values() -> None:
    numbering = Numbering(KEY, max_values=100)
    for number in range(1000):
        numbering.placeholder(f"s{number % 5}", EMAIL, str(number))
    held = sum(len(session.numbers) for session in numbering._sessions.values())
    assert held <= 200


def test_no_value_is_held_in_the_clear() -> None:
    numbering = Numbering(KEY)
    numbering.placeholder("anna@example.com", EMAIL, "anna@example.com")
    assert b"anna" not in repr(vars(numbering)).encode()


def test_threads_agree_on_the_numbers() -> None:
    numbering = Numbering(KEY)
    values = [str(number % 50) for number in range(2000)]
    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(lambda value: numbering.placeholder("s", EMAIL, value), values))
    assert len(set(given)) == 50
    assert len(set(zip(values, given, strict=True))) == 50
