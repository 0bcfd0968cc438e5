import os
from pathlib import Path

from llm_assets.serving.status import ServingStatus
from llm_assets.storage import write_json_atomically


def test_where_no_controller_ever_ran_nothing_is_served(tmp_path: Path) -> None:
    status = ServingStatus.read(tmp_path)
    assert status.applications == {}
    assert not status.is_live


def test_a_status_outlives_its_controller_and_says_so(tmp_path: Path) -> None:
    for pid, is_live in ((os.getpid(), True), (2**22 + 1, False)):
        write_json_atomically(tmp_path / "run" / "status.json", {"controller_pid": pid})
        assert ServingStatus.read(tmp_path).is_live is is_live
