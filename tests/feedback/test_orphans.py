from datetime import timedelta

from llm_assets.feedback.joining import known_ids
from llm_assets.feedback.orphans import orphans
from tests.feedback.joined import about_session, tables
from tests.records import TIME, a_correction, an_interaction

DAY = timedelta(days=1)


def test_feedback_is_orphaned_when_its_request_has_not_come_in_time() -> None:
    asked = [an_interaction("r1", aliases=["trace"], session_id="s")]
    given = [
        a_correction("by-id", "r1", "x"),
        a_correction("by-alias", "trace", "x"),
        about_session("by-session", "s"),
        a_correction("young", "x", "x", time=TIME + 2 * DAY),
        a_correction("old", "x", "x", time=TIME + DAY),
        about_session("older", "x"),
    ]
    feedback, rows = tables(asked, given)
    found = orphans(feedback, known_ids(rows), now=TIME + 8 * DAY, orphaned_after_days=7)
    assert found["feedback_id"].to_list() == ["older", "old"]


def test_a_session_does_not_pass_for_a_request() -> None:
    feedback, rows = tables([an_interaction("r1", session_id="s")], [a_correction("f1", "s", "x")])
    found = orphans(feedback, known_ids(rows), now=TIME, orphaned_after_days=0)
    assert found["feedback_id"].to_list() == ["f1"]


def test_however_late_the_request_comes_its_feedback_is_an_orphan_no_more() -> None:
    feedback, rows = tables(
        [an_interaction("r1", time=TIME - 400 * DAY)], [a_correction("f1", "r1", "x")]
    )
    now = TIME + 8 * DAY
    assert orphans(feedback, known_ids(rows[:0]), now=now, orphaned_after_days=7).height == 1
    assert orphans(feedback, known_ids(rows), now=now, orphaned_after_days=7).is_empty()
