from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.cycle_requests import CycleRequest, mark_served, open_requests, request_cycle
from llm_assets.errors import UserError

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)


def test_a_request_is_open_until_a_cycle_was_started_for_it(tmp_path: Path) -> None:
    assert open_requests(tmp_path, "helpdesk") == []
    first = request_cycle(tmp_path, "helpdesk", "new desks", now=NOW)
    second = request_cycle(tmp_path, "helpdesk", "more", now=NOW + timedelta(hours=1))
    request_cycle(tmp_path, "bank", "other", now=NOW)
    waiting = open_requests(tmp_path, "helpdesk")
    assert waiting[0] == CycleRequest(
        request_id=first, application="helpdesk", because="new desks", requested_at=NOW
    )
    assert waiting[1].request_id == second
    mark_served(tmp_path, waiting[:1], now=NOW)
    assert open_requests(tmp_path, "helpdesk") == waiting[1:]
    mark_served(tmp_path, waiting, now=NOW)
    assert open_requests(tmp_path, "helpdesk") == []
    assert len(open_requests(tmp_path, "bank")) == 1


def test_a_request_is_one_file_with_nothing_beside_it(tmp_path: Path) -> None:
    request_id = request_cycle(tmp_path, "helpdesk", "new desks", now=NOW)
    folder = tmp_path / "cycle_requests" / "helpdesk"
    assert {path.name for path in folder.iterdir()} == {f"{request_id}.json", ".lock"}


def test_requests_of_the_same_moment_are_two(tmp_path: Path) -> None:
    ids = [request_cycle(tmp_path, "helpdesk", f"{n}", now=NOW) for n in range(3)]
    assert len(set(ids)) == 3
    assert len(open_requests(tmp_path, "helpdesk")) == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(because=st.text(max_size=600))
def test_a_reason_is_one_line_or_refused(tmp_path: Path, because: str) -> None:
    reason = " ".join(because.split())
    if 0 < len(reason) <= 500:
        request_id = request_cycle(tmp_path, "helpdesk", because, now=NOW)
        kept = {r.request_id: r.because for r in open_requests(tmp_path, "helpdesk")}
        assert kept[request_id] == reason
    else:
        with pytest.raises(UserError, match=r"because must have 1 to 500 characters, got \d+"):
            request_cycle(tmp_path, "helpdesk", because, now=NOW)


def test_a_damaged_request_is_named(tmp_path: Path) -> None:
    request_id = request_cycle(tmp_path, "helpdesk", "new desks", now=NOW)
    path = tmp_path / "cycle_requests" / "helpdesk" / f"{request_id}.json"
    path.write_text("{")
    with pytest.raises(UserError, match=f"^{path}: "):
        open_requests(tmp_path, "helpdesk")
