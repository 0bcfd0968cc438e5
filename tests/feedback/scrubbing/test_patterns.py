import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.feedback.scrubbing import patterns
from llm_assets.feedback.scrubbing.config import PATTERN_TYPES, PersonalDataType
from llm_assets.feedback.scrubbing.contact import find_emails, find_ip_addresses
from llm_assets.feedback.scrubbing.credentials import find_secrets
from llm_assets.feedback.scrubbing.national_ids import find_national_ids
from llm_assets.feedback.scrubbing.payment import find_cards, find_ibans
from llm_assets.feedback.scrubbing.phones import find_phones
from tests.feedback.scrubbing.personal import VALUES

DETECTORS = (
    find_emails,
    find_ip_addresses,
    find_secrets,
    find_national_ids,
    find_cards,
    find_ibans,
    find_phones,
)
EXAMPLES = [(type_, value) for type_, values in VALUES.items() for value in values]


def found(text: str) -> list[tuple[str, str]]:
    return [(f.type, text[f.start : f.end]) for f in patterns.find(text, PATTERN_TYPES)]


@pytest.mark.parametrize(("type_", "value"), EXAMPLES)
@pytest.mark.parametrize(
    "sentence",
    [
        "{}",
        "Please look at {} for me.",
        'It says "{}".',
        "Value:{}",
        "({})",
        "one\n{}\ntwo",
        "{}, {}",
    ],
)
def test_a_value_is_found_wherever_it_stands(
    sentence: str, type_: PersonalDataType, value: str
) -> None:
    assert found(sentence.replace("{}", value)) == [(type_, value)] * sentence.count("{}")


@pytest.mark.parametrize(
    "text",
    [
        "It happened on 2024-05-01 at 10:30:45, and again on 01.02.2024 and 12/31/1999.",
        "2024-05-01T10:30:45.123456+02:00",
        "It costs 1,299.00 EUR, or 1.299.000,50 € for all, $123456789.12 in total.",
        "Order 12345678, invoice 2024-0012345, ticket #123456789, account number 0123 456 789",
        "Upgrade from version 1.2.3 to 10.15.7 or v1.2.3.4; python 3.11.9, driver version 1.2.3.4",
        "Bind to 127.0.0.1 or 0.0.0.0 or ::1, not to 999.1.1.1",
        "std::vector<int> a::b, dead::beef, 10:20:30",
        "pi is 3.14159265358979323846 and e 2.71828182845904523536",
        "1234567890123456 is no card and 4111111111111112 is not either",
        "timestamps 1700000000, 1700000000000, 1700000000000000000",
        "550e8400-e29b-41d4-a716-446655440000 and 12345678-1234-1234-1234-123456789012",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "GB82 WEST 1234 5698 7654 33 has wrong check digits, and so has 12345678A",
        "000-12-3456, 666-12-3456, 900-12-3456, 123-00-4567, 123-45-0000 are never given",
        "ISBN 978-3-16-148410-0, EAN 4006381333931, DOI 10.1000/182",
        "logo@2x.png, @anna, git@github.com:a/b.git, react@18.2.0, a @ b, x@y",
        "The range 100-200-300 and 10 000 000 people; 3 x 1000 x 2000",
        "max_tokens=256, token: str, the key is to relax, password: required",
        "password = os.environ['PASSWORD'], password=${PASSWORD}, token=None, password=********",
        "My password is not working. The secret is simple: tokens are words.",
        "https://example.com:8080/path@2 and s3://bucket/key",
        "sk-learn-like-classifiers-are-easy-to-use, a risk-based approach, scikit-learn",
        "01000101010 10010 10011010100010101101010101001",
        "Call 2024-05-01 the day; phone support ended 31.12.2023",
        "<EMAIL_1> wrote to <PHONE_12> about <SECRET_3>, password=<SECRET_4>",
    ],
)
def test_what_only_looks_like_personal_data_stays(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("call me at 467 3395", "467 3395"),
        ("my mobile: 78 651 450", "78 651 450"),
        ("Telefon 9498777106", "9498777106"),
        ("(37) 788-063 fax", "(37) 788-063"),
        ("212-555-0123 ext. 45", "212-555-0123 ext. 45"),
    ],
)
def test_other_phone_numbers_need_a_word_that_says_so(text: str, value: str) -> None:
    assert found(text) == [("phone", value)]
    assert found(f"they made {re.sub('[^0-9]', '', value)} steps") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("my SSN: 536904399", "536904399"),
        ("Steuer-ID 86 095 742 719", "86 095 742 719"),
        ("mijn BSN is 111222333", "111222333"),
    ],
)
def test_bare_identity_numbers_need_a_word_that_says_so(text: str, value: str) -> None:
    assert found(text) == [("national_id", value)]
    assert found(f"a heap of {value} grains") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("password=correcthorse", "correcthorse"),
        ('{"password": "correcthorse", "n": 1}', "correcthorse"),
        ("PASSWORD: Tr0ub4dor", "Tr0ub4dor"),
        ("my password is Tr0ub4dor&3.", "Tr0ub4dor&3"),
        ("export API_KEY=9f86d081884c7d65", "9f86d081884c7d65"),
        ("api-key: '9f86d081884c7d65'", "9f86d081884c7d65"),
        ("Mein Passwort ist Gehe1m!", "Gehe1m!"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPx", "wJalrXUtnFEMI/K7MDENG/bPx"),
        ("Authorization: Bearer abcdef0123456789abcdef", "abcdef0123456789abcdef"),
        ("postgres://anna:geheim@db.example.com/x", "anna:geheim"),
        ("postgres://anna:ge@heim@db/x", "anna:ge@heim"),
    ],
)
def test_what_a_text_calls_a_secret_is_found_without_its_name(text: str, value: str) -> None:
    assert found(text) == [("secret", value)]


def test_a_private_key_that_is_cut_off_is_found_to_its_end() -> None:
    text = "see: -----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASC"
    assert found(text) == [("secret", text.removeprefix("see: "))]


def test_a_number_of_another_script_or_typesetting_is_found() -> None:
    texts = {
        "phone": [
            "+\u0664\u0669 170 1234567",
            "+33\u00a06\u202f12 34 56 78",
            "212\u2011555\u20110123",
        ],
        "email": ["anna\uff20example\uff0ecom"],
    }
    for type_, values in texts.items():
        for value in values:
            assert found(f"is it {value}?") == [(type_, value)]


def test_a_card_is_found_without_the_date_and_code_behind_it() -> None:
    assert found("4111 1111 1111 1111 123") == [("card", "4111 1111 1111 1111")]
    assert found("4111111111111111 12/27 123") == [("card", "4111111111111111")]


def test_only_the_types_that_are_asked_for_are_found() -> None:
    text = "anna@example.com, 4111111111111111"
    (finding,) = patterns.find(text, frozenset({PersonalDataType.CARD}))
    assert finding.type is PersonalDataType.CARD


PIECES = st.sampled_from([value for _, value in EXAMPLES]) | st.text(
    st.sampled_from("0123456789 .-+()/:@=aAeE_<>\n"), max_size=12
)


@given(st.lists(PIECES, max_size=6).map("".join))
def test_the_quick_look_overlooks_nothing(text: str) -> None:
    if any(next(detector(text), None) is not None for detector in DETECTORS):
        assert patterns.is_suspect(text)


@given(st.lists(PIECES, max_size=6).map("".join))
def test_findings_stand_in_order_and_do_not_overlap(text: str) -> None:
    end = 0
    for finding in patterns.find(text, PATTERN_TYPES):
        assert end <= finding.start < finding.end <= len(text)
        end = finding.end


@pytest.mark.parametrize(
    "unit",
    [
        *("a.", "@a.bc", "1 ", "+1 ", "0(", "4111 ", "GB82", "a:", "://a:", "\u00e9@", "sk-a"),
        *(
            "password=",
            "password for a ",
            "Bearer a",
            "-----BEGIN PRIVATE KEY-----",
            "eyJaaaaaaaa.",
        ),
    ],
)
def test_a_hostile_text_takes_linear_time(unit: str) -> None:
    def seconds(length: int) -> float:
        text = (unit * (length // len(unit) + 1))[:length]
        taken = []
        for _ in range(3):  # the least is what the others disturbed least
            start = time.process_time()
            patterns.find(text, PATTERN_TYPES)
            taken.append(time.process_time() - start)
        return min(taken)

    # Ten times the text would take a hundred times as long if any pattern were quadratic.
    assert seconds(200_000) < 30 * max(seconds(20_000), 0.005)
