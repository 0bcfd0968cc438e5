import json
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import polars as pl
import pytest

from llm_assets import drift_view
from llm_assets.base_model import BaseModelFile
from llm_assets.bootstrap import prepare_dagster_home
from llm_assets.cli import main
from llm_assets.curation.dataset import Dataset
from llm_assets.curation.store import DatasetStore
from llm_assets.drift.baseline import BaselineStore
from llm_assets.drift.embedding.embeddings import EmbeddingCache
from llm_assets.erase import run as erase_run
from llm_assets.erase.run import Outcome, erase
from llm_assets.erasures import Erasures
from llm_assets.errors import UserError
from llm_assets.evaluation import erasure as evaluation_erasure
from llm_assets.evaluation.report import EvalReport
from llm_assets.feedback.log import Log, LogWriter
from llm_assets.installation import Installation
from llm_assets.reproduce import reproduce_version
from llm_assets.status import describe, gather
from llm_assets.storage import Partition, Table
from llm_assets.versioned_table import VersionedTable
from tests import erasing
from tests.erasing import DAYS, NOON, USER, WORD, holding, lance_versions, log_lines
from tests.installations import (
    CANDIDATE,
    VERSION,
    a_dagster_instance,
    an_installation,
    environment,
)
from tests.records import an_interaction

Capture = pytest.CaptureFixture[str]


class Platform(NamedTuple):
    """A copy of the installation that a test may erase from."""

    installation: Installation
    instance: dg.DagsterInstance

    @property
    def home(self) -> Path:
        return self.installation.home

    def erase(self, say: Callable[[str], None] = lambda _: None, **options: Any) -> Outcome:
        chosen = {"user": USER, "application": None, "pause_seconds": 0.01, **options}
        return erase(self.installation, self.instance, say=say, **chosen)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, tiny_base_model: BaseModelFile) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    with (
        an_installation(folder, tiny_base_model) as installation,
        a_dagster_instance(installation) as instance,
    ):
        erasing.fill(installation, instance)
    return folder


@pytest.fixture
def platform(filled: Path, tmp_path: Path) -> Iterator[Platform]:
    folder = tmp_path / "copy"
    shutil.copytree(filled, folder)
    with environment(folder) as settings:
        prepare_dagster_home(settings)
        with dg.DagsterInstance.get() as instance:
            yield Platform(Installation(settings), instance)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_nothing_of_the_user_is_left_under_the_home(platform: Platform) -> None:
    before = holding(platform.home, WORD)
    logs = {"interactions", "shadows", "feedback", "unassigned"}
    assert {place.split("/")[1] for place in before if place.startswith("log/")} == logs
    stores = {"log", "tables", "lance", "quarantine", "run", "reports", "archive"}
    assert {place.split("/")[0] for place in before} == stores
    outcome = platform.erase()
    assert holding(platform.home, WORD) == set()
    assert holding(platform.home, USER) == set()
    assert outcome.left == []


def test_lance_keeps_one_file_for_each_tag_and_nothing_older(platform: Platform) -> None:
    platform.erase()
    for folder in platform.home.rglob("*.lance"):
        if folder.is_dir():
            frames = [frame for path, frame in lance_versions(platform.home) if path == folder]
            tags = list(folder.glob("_refs/tags/*.json"))
            assert len(frames) == len(list(folder.glob("_versions/*.manifest"))) == (len(tags) or 1)
            files = list(folder.glob("data/*"))
            assert len(files) == sum(not frame.is_empty() for frame in frames)


def test_the_records_of_others_are_as_they_were(platform: Platform) -> None:
    others = [line for line in log_lines(platform.home) if WORD.encode() not in line]
    tables = ("interaction_logs", "feedback_logs", "implicit_feedback")
    rows = {name: _rows(platform, name) for name in tables}
    platform.erase()
    assert log_lines(platform.home) == others
    for name, before in rows.items():
        key = "request_id" if name == "interaction_logs" else "feedback_id"
        columns = [pl.col(column).fill_null("") for column in (key, "request_id", "user_id")]
        of_others = before.filter(~pl.concat_str(*columns).str.contains(WORD))
        assert _rows(platform, name).equals(of_others)
        assert 0 < of_others.height < before.height


def _rows(platform: Platform, name: str) -> pl.DataFrame:
    table = platform.installation.table(name)
    frames = [table.read(partition) for partition in table.partitions()]
    return pl.concat(frame for frame in frames if frame is not None)


def test_dataset_rows_of_others_stay_and_a_shared_one_takes_their_words(platform: Platform) -> None:
    store = DatasetStore(platform.installation.lance)
    before = store.read(CANDIDATE).rows
    platform.erase()
    after = store.read(CANDIDATE).rows
    mine = pl.col("request_ids").list.join(" ").str.contains(WORD)
    assert after.filter(pl.col("prompt") != "how do I pay my taxes").equals(before.filter(~mine))
    (shared,) = after.filter(pl.col("request_ids").list.contains("s-bob")).to_dicts()
    assert shared["prompt"] == "how do I pay my taxes"
    assert (shared["request_ids"], shared["feedback_ids"]) == (["s-bob"], ["f-s-bob"])
    (shared_before,) = before.filter(pl.col("request_ids").list.contains("s-bob")).to_dicts()
    assert shared_before["prompt"] == erasing.SHARED


def test_judged_answers_of_others_stay_and_shared_ones_take_their_words(platform: Platform) -> None:
    store = DatasetStore(platform.installation.lance)
    before = store.read(CANDIDATE).judged
    assert any("judged_answers_helpdesk" in place for place in holding(platform.home, WORD))
    platform.erase()
    after = store.read(CANDIDATE).judged
    mine = pl.col("request_ids").list.join(" ").str.contains(WORD)
    is_shared = pl.col("request_ids").list.contains("s-bob")
    assert after.filter(~is_shared).equals(before.filter(~mine))
    assert 0 < after.height < before.height
    assert set(before.filter(is_shared)["prompt"]) == {erasing.SHARED}
    assert sorted(after.filter(is_shared).drop("split").rows()) == [
        ("how do I pay my taxes", "money", True, ["s-bob"], ["f-s-bob"]),
        ("how do I pay my taxes", "sports", False, ["s-bob"], ["f-s-bob"]),
    ]


@pytest.mark.parametrize("version", erasing.ROWS)
def test_the_rows_of_each_kind_of_training_keep_what_is_of_others(
    platform: Platform, version: str
) -> None:
    path = platform.home / "run" / "training" / version / "rows.parquet"
    before = pl.read_parquet(path)
    assert path.relative_to(platform.home).as_posix() in holding(platform.home, WORD)
    mine = pl.col("request_ids").list.join(" ").str.contains(WORD)
    files = path.parent.parent.glob("*/rows.parquet")
    num_mine = sum(pl.read_parquet(file).filter(mine).height for file in files)
    outcome = platform.erase()
    after = pl.read_parquet(path)
    is_shared = pl.col("request_ids").list.contains("s-bob")
    assert after.schema == before.schema
    assert after.filter(~is_shared).equals(before.filter(~mine))
    assert 0 < after.height < before.height
    assert outcome.erasure.counts["training_rows"] == num_mine


def test_a_version_that_only_judged_the_users_answers_is_listed(platform: Platform) -> None:
    store = DatasetStore(platform.installation.lance)
    dataset = store.read(CANDIDATE)
    theirs = pl.col("request_ids").list.join(" ").str.contains(WORD)
    store.write(
        Dataset(dataset.rows.filter(~theirs), dataset.judged), model_version="helpdesk-v0003"
    )
    erasure = platform.erase().erasure
    mark = erasure.versions["helpdesk-v0003"]
    assert mark.num_learnt + mark.num_holdout == 21
    assert holding(platform.home, WORD) == set()


def test_every_version_that_the_data_reached_is_listed(platform: Platform) -> None:
    erasure = platform.erase().erasure
    assert set(erasure.versions) == {VERSION, CANDIDATE} | {
        f"archive/20260101T000000/{version}" for version in (VERSION, CANDIDATE)
    }
    base, candidate = erasure.versions[VERSION], erasure.versions[CANDIDATE]
    assert (base.num_learnt, base.num_holdout, base.has_checkpoint) == (0, 0, False)
    assert base.num_baseline > 0
    assert base.has_served
    assert not base.is_champion
    # 20 questions of the user and one that another asked too; the unnamed one was not corrected.
    assert candidate.num_learnt + candidate.num_holdout == 21
    assert min(candidate.num_learnt, candidate.num_holdout, candidate.num_samples) > 0
    assert (candidate.has_checkpoint, candidate.is_champion) == (True, True)
    # A line that is no valid record counts in the log.
    assert erasure.counts["log/interactions"] == 23
    assert erasure.counts["tables/interaction_logs"] == 22
    assert erasure.counts["log/shadows"] == 3
    assert erasure.counts["curated_dataset"] == 21
    assert set(erasure.days["helpdesk"]) == {*(day.date() for day in DAYS), NOON.date()}


def test_the_record_leads_to_nobody(platform: Platform) -> None:
    platform.erase()
    (path,) = Erasures.of(platform.home).root.glob("*.json")
    content = json.loads(path.read_text())
    assert content["traces"] is None
    assert len(content["user"]) == 16
    assert content["finished_at"] is not None
    assert "r1-bob" not in path.read_text()


def test_status_and_the_ui_say_what_was_made_of_erased_data(platform: Platform) -> None:
    erasure = platform.erase().erasure
    status = gather(platform.installation.settings)
    line = f"{CANDIDATE} (champion) was trained on data of 1 user that was erased, last on"
    assert line in describe(status)
    assert f"{VERSION} measures drift from data of 1 user" in describe(status)
    mark = erasure.versions[CANDIDATE]
    for asset, partition, num_rows in (
        ("curated_dataset", CANDIDATE, mark.num_learnt + mark.num_holdout),
        ("finetuned_checkpoint", CANDIDATE, mark.num_learnt),
        ("deployed_endpoint", "helpdesk", mark.num_learnt),
        ("embedding_baseline", VERSION, erasure.versions[VERSION].num_baseline),
    ):
        records = platform.instance.fetch_observations(
            dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[partition]), limit=5
        ).records
        (observation,) = [record.asset_observation for record in records]
        assert observation is not None
        assert observation.metadata["num_rows"].value == num_rows
        assert "erased_at" in observation.metadata


def test_a_version_with_erased_data_cannot_be_made_again_and_says_so(platform: Platform) -> None:
    platform.erase()
    expected = f"{CANDIDATE}: cannot be made again, because data was erased from its dataset: 21"
    with pytest.raises(UserError, match=expected):
        reproduce_version(platform.installation, CANDIDATE)


def test_the_report_keeps_its_numbers_and_loses_the_users_words(platform: Platform) -> None:
    folder = platform.installation.report(CANDIDATE)
    before = EvalReport.read(folder)
    platform.erase()
    after = EvalReport.read(folder)
    assert (after.n, after.candidate, after.difference) == (
        before.n,
        before.candidate,
        before.difference,
    )
    assert before.majority_target == f"{WORD} island"
    assert after.majority_target == "(erased)"
    samples = pl.read_parquet(folder / "samples.parquet")
    assert 0 < samples.height < before.n


def test_what_erasing_leaves_can_be_worked_with(platform: Platform) -> None:
    installation = platform.installation
    platform.erase()
    assert installation.interactions("helpdesk").height == 21
    assert set(installation.feedback("helpdesk")["user_id"].drop_nulls()) == {"bob"}
    for version in (VERSION, CANDIDATE):
        baseline = BaselineStore(installation.lance).read(version)
        assert len(baseline.prompts) == len(baseline.vectors) > 0
    for partition in installation.table("interaction_logs").partitions():
        generation = installation.table("interaction_logs").generation(partition)
        assert generation is not None
        assert generation.inputs


def test_topics_of_drift_keep_their_numbers_and_lose_the_users_prompts(platform: Platform) -> None:
    table = platform.installation.table("drift_topics")
    (day,) = table.partitions()
    before = table.read(day)
    outcome = platform.erase()
    after = table.read(day)
    assert before is not None
    assert after is not None
    assert after.equals(before.filter(pl.col("request_id").fill_null("r1-bob") == "r1-bob"))
    assert after.select("topic", "rank").rows() == [(1, 0), (1, 2), (2, 0)]
    assert outcome.erasure.counts["tables/drift_topics"] == 2
    shown = drift_view.topics_of(after)
    assert [topic["name"] for topic in shown] == ["unnamed topic 1", "unnamed topic 2"]


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def _only_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let the first call work and the process die at the second one."""
    calls = iter([function])

    def called(*arguments: Any, **options: Any) -> Any:
        return next(calls, _killed)(*arguments, **options)

    return called


@pytest.mark.parametrize(
    ("owner", "name", "is_only_once"),
    [
        (Log, "rewrite", True),
        (Table, "_publish", True),
        (VersionedTable, "_write", True),
        (EmbeddingCache, "remove", False),
        (evaluation_erasure, "remove", False),
        (erase_run, "_observe", False),
    ],
)
def test_an_interrupted_erasure_is_ended_by_the_next_one(
    platform: Platform, owner: Any, name: str, is_only_once: bool
) -> None:
    expected = erase_run.preview(
        platform.installation, user=USER, application=None, now=NOON
    ).erasure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, _only_once(getattr(owner, name)) if is_only_once else _killed)
        with pytest.raises(KeyboardInterrupt):
            platform.erase()
    assert "an erasure was interrupted" in describe(gather(platform.installation.settings))
    erasure = platform.erase().erasure
    assert holding(platform.home, WORD) == set()
    assert (erasure.counts, erasure.days) == (expected.counts, expected.days)
    assert erasure.versions == expected.versions
    assert [record.finished_at is None for record in Erasures.of(platform.home).all()] == [False]


def test_what_a_run_in_progress_writes_back_is_erased_when_it_has_ended(platform: Platform) -> None:
    store = DatasetStore(platform.installation.lance)
    dataset = store.read(CANDIDATE)
    dg_run = dg.DagsterRun(job_name="improvement_cycle", status=dg.DagsterRunStatus.STARTED)
    platform.instance.add_run(dg_run)
    told: list[str] = []

    def end_the_run(text: str) -> None:
        told.append(text)
        store.write(dataset, model_version=CANDIDATE)
        platform.instance.report_run_canceled(dg_run)

    platform.erase(say=end_the_run)
    assert told == ["waiting for 1 runs in progress, which may have read the data"]
    assert holding(platform.home / "lance", WORD) == set()


def test_a_run_that_never_ends_is_named(platform: Platform) -> None:
    dg_run = dg.DagsterRun(job_name="improvement_cycle", status=dg.DagsterRunStatus.STARTED)
    platform.instance.add_run(dg_run)
    with pytest.raises(UserError, match=f"run {dg_run.run_id} is still in progress"):
        platform.erase(wait_seconds=0.05)
    assert Erasures.of(platform.home).all()[0].finished_at is None


def test_records_that_arrive_meanwhile_are_not_lost(platform: Platform) -> None:
    is_done = threading.Event()
    written: list[str] = []

    def write() -> None:
        writer = LogWriter(platform.installation.interaction_log, lambda record: record)
        while not is_done.is_set():
            request_id = f"late-{len(written)}"
            writer.append([an_interaction(request_id, time=DAYS[0], user_id="carol")])
            written.append(request_id)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        platform.erase()
    finally:
        is_done.set()
        thread.join()
    day = Partition(application="helpdesk", date=DAYS[0].date())
    found = {record.record_id for record in platform.installation.interaction_log.read(day)[0]}
    assert found >= set(written)
    assert len(written) > 1


def test_a_preview_changes_nothing(platform: Platform, capsys: Capture) -> None:
    before = {path: path.read_bytes() for path in _files(platform.home)}
    assert run("erase", "--user", USER, "--dry-run") == 0
    assert {path: path.read_bytes() for path in _files(platform.home)} == before
    output = capsys.readouterr().out
    assert "would erase the data of 1 user" in output
    assert "      3  log/shadows\n" in output
    assert f"{CANDIDATE}: trained on" in output


def _files(home: Path) -> list[Path]:
    kept_apart = ("dagster", "secrets")
    return [
        path
        for path in home.rglob("*")
        if path.is_file() and not path.name.startswith(".")
        if path.relative_to(home).parts[0] not in kept_apart
    ]


def test_the_command_says_what_it_did_and_not_to_whom(platform: Platform, capsys: Capture) -> None:
    assert run("erase", "--user", USER, "--json") == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert told["counts"]["tables/interaction_logs"] == 22
    assert told["versions"][CANDIDATE]["has_checkpoint"]
    assert WORD not in captured.out + captured.err
    assert run("erase", "--user", USER) == 0
    assert capsys.readouterr().out.startswith("nothing was found; this user was erased on ")


def test_an_unknown_user_is_an_error_that_does_not_repeat_the_id(
    platform: Platform, capsys: Capture
) -> None:
    assert run("erase", "--user", "typo-7431") == 1
    error = capsys.readouterr().err
    assert "nothing was found of this user" in error
    assert "typo" not in error
    assert Erasures.of(platform.home).all() == []


def test_an_application_is_erased_from_alone(platform: Platform, capsys: Capture) -> None:
    other = platform.installation.settings.applications / "other.yaml"
    shutil.copy(other.with_name("helpdesk.yaml"), other)
    record = an_interaction(
        "other-1", application="other", prompt=f"{WORD} elsewhere", user_id=USER, time=DAYS[0]
    )
    LogWriter(platform.installation.interaction_log, lambda record: record).append([record])
    assert run("erase", "--user", USER, "--application", "helpdesk") == 0
    held = holding(platform.home, WORD)
    assert {place.split("/")[2] for place in held} == {"application=other"}
    assert run("erase", "--user", USER, "--application", "nowhere") == 1


def test_a_file_that_nothing_rewrites_is_told_of(platform: Platform, capsys: Capture) -> None:
    log = platform.home / "run" / "logs" / "odd.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"a library said: what is {WORD} number 12\n")
    assert run("erase", "--user", USER) == 1
    assert f"still holds some of it: {log}" in capsys.readouterr().out


def test_dagsters_databases_hold_no_words_of_users(platform: Platform) -> None:
    databases = [path for path in (platform.home / "dagster").rglob("*.db") if path.stat().st_size]
    assert databases
    for path in databases:
        with closing(sqlite3.connect(path)) as connection:
            assert WORD not in "\n".join(connection.iterdump())


def test_a_user_is_found_by_the_id_as_it_is_stored(platform: Platform) -> None:
    installation = platform.installation
    writer = LogWriter(installation.interaction_log, installation.scrubbers)
    writer.append([an_interaction("e1", prompt="a letter", user_id="eve@example.com")])
    assert platform.erase(user="eve@example.com").erasure.counts == {"log/interactions": 1}
    assert platform.erase(user="eve@example.com").erasure.is_empty
