from datetime import date

from llm_assets.assets.partitions import partition_key, partitions_of
from llm_assets.assets.pictures import picture
from llm_assets.storage import Partition


def test_a_partition_comes_back_from_its_key() -> None:
    days = [Partition(application="help-desk", date=date(2026, 3, day)) for day in (1, 2)]
    assert partitions_of(str(partition_key(day)) for day in days) == days


def test_a_picture_is_markdown_that_holds_its_bytes() -> None:
    assert picture(b"\x89PNG", alt="a map").value == "![a map](data:image/png;base64,iVBORw==)"
