from llm_assets.feedback.ingestion.report import IngestReport


def test_at_most_ten_lines_tell_of_reasons() -> None:
    report = IngestReport()
    for number in range(2000):
        for _ in range(2 if number == 7 else 1):
            report.count_reason(f"rule {number}")
    assert report.num_quarantined == 2001
    lines = report.describe().splitlines()
    assert len(lines) == 11
    assert lines[1] == "  1000 other reasons"
    assert lines[2] == "  2 rule 7"
    assert lines[-1] == "  992 for 992 reasons more"


def test_it_is_in_vain_only_if_there_was_something_to_read() -> None:
    report = IngestReport()
    assert not report.is_in_vain
    report.count_reason("is not JSON")
    assert report.is_in_vain
    report.num_passed_over = 1
    assert not report.is_in_vain
