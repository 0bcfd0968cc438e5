"""A small installation in which a user's words are everywhere that words of users get to."""

import dataclasses
import io
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import orjson
import polars as pl

from llm_assets.assets.curation import curated_dataset, curated_dataset_holdout_is_unseen
from llm_assets.assets.drift import embedding_baseline, prompt_embeddings
from llm_assets.assets.feedback import feedback_logs, interaction_logs
from llm_assets.bootstrap import register_base_models
from llm_assets.curation.store import DatasetStore
from llm_assets.curation.training_rows import training_rows
from llm_assets.drift.topics import Topic, TypicalPrompt, topic_table
from llm_assets.evaluation.report import build_report
from llm_assets.feedback import unassigned
from llm_assets.feedback.log import Log, LogKind, LogWriter
from llm_assets.feedback.tables import feedback_table
from llm_assets.installation import Installation
from llm_assets.intervals import newcombe
from llm_assets.manifest import ModelManifest
from llm_assets.records import SHADOW_VARIANT, Feedback, FeedbackKind, Interaction
from llm_assets.storage import Partition
from tests.assets.materialize import Materialize
from tests.installations import CANDIDATE, DESKS, VERSION
from tests.records import a_correction, an_interaction

USER = "customer-zanzibar-7431"
# In everything that is this user's alone, and nowhere else.
WORD = "zanzibar"
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
DAYS = [NOON - timedelta(days=number) for number in (2, 1)]
SHARED = "How do I pay my taxes?"
# The rows of a training by each method, of the same dataset.
ROWS = {CANDIDATE: "sft", "helpdesk-v0003": "kto", "helpdesk-v0004": "dpo"}


def records() -> tuple[list[Interaction], list[Feedback]]:
    """Return what two users and somebody unnamed asked, and how it was corrected."""
    interactions, feedback = [], []
    for number in range(40):
        user = (USER, "bob")[number % 2]
        subject = f"{WORD} number {number}" if user == USER else f"subject number {number}"
        time = DAYS[number % 3 % 2] + timedelta(minutes=number)
        interactions.append(
            an_interaction(
                f"r{number}-{WORD if user == USER else 'bob'}",
                time=time,
                prompt=f"what is {subject}",
                response=f"{DESKS[number % 3]} of {subject}",
                messages=[{"role": "user", "content": f"what is {subject}"}],
                session_id=f"session-{user}-{number // 8}",
                user_id=user,
            )
        )
        interaction = interactions[-1]
        text = f"{WORD} island" if number in (2, 4) else DESKS[number % 3]
        feedback.append(a_correction(f"f{number}-{user}", interaction.request_id, text, time=time))
    shared = [("s-bob", "bob", "how do I pay my taxes"), (f"s-{WORD}", USER, SHARED)]
    for minute, (request_id, user, prompt) in enumerate(shared):
        time = NOON - timedelta(days=1) + timedelta(minutes=minute)
        interactions.append(an_interaction(request_id, time=time, prompt=prompt, user_id=user))
        feedback.append(a_correction(f"f-{request_id}", request_id, "money", time=time))
    interactions.append(
        an_interaction(
            f"anonymous-{WORD}",
            time=DAYS[0],
            prompt=f"nobody signed {WORD}",
            session_id=f"session-{USER}-0",
        )
    )
    said = {"time": NOON, "application": "helpdesk", "kind": FeedbackKind.COMMENT}
    feedback += [
        Feedback(**said, feedback_id=f"on-{WORD}", request_id=f"r0-{WORD}", text=f"a {WORD} case"),
        Feedback(
            **said, feedback_id=f"by-{WORD}", request_id="r1-bob", text=f"{WORD}!", user_id=USER
        ),
        Feedback(
            **said, feedback_id=f"of-{WORD}", session_id=f"session-{USER}-1", text=f"{WORD} bye"
        ),
        Feedback(**said, feedback_id="by-bob", request_id="r1-bob", text="thanks", user_id="bob"),
    ]
    return interactions, feedback


def shadows(interactions: list[Interaction]) -> list[Interaction]:
    """Return what a challenger answered to the first of them; one copy lost its user's name."""
    seen = [
        dataclasses.replace(
            interaction,
            variant=SHADOW_VARIANT,
            model_version=CANDIDATE,
            response=f"shadow of {interaction.response}",
        )
        for interaction in interactions[:6]
    ]
    unnamed = dataclasses.replace(seen[2], user_id=None, session_id=None)
    return [*seen[:2], unnamed, *seen[3:]]


def fill(installation: Installation, instance: dg.DagsterInstance) -> None:
    """Let the user's words get wherever they can."""
    register_base_models(installation)
    interactions, feedback = records()
    LogWriter(installation.interaction_log, lambda record: record).append(interactions)
    LogWriter(installation.shadow_log, lambda record: record).append(shadows(interactions))
    LogWriter(installation.feedback_log, lambda record: record).append(feedback)
    for name, keys in (("application", ["helpdesk"]), ("model_version", [VERSION, CANDIDATE])):
        instance.add_dynamic_partitions(name, keys)
    materialize = Materialize(installation, instance)
    materialize.days(DAYS[0].date(), NOON.date(), interaction_logs, feedback_logs)
    materialize.days(DAYS[0].date(), NOON.date(), prompt_embeddings)
    for version in (VERSION, CANDIDATE):
        if version == CANDIDATE:
            # A version that is curated twice leaves an untagged one in Lance.
            for _ in range(2):
                materialize(curated_dataset, curated_dataset_holdout_is_unseen, partition=version)
        materialize(embedding_baseline, partition=version)
    _serve_a_fake(installation)
    _leave_leftovers(installation)


def topics() -> list[Topic]:
    """Return a topic whose prompts are of both users, and one of the user alone."""
    mine = TypicalPrompt(f"what is {WORD} number 0", f"r0-{WORD}")
    of_bob = TypicalPrompt("what is subject number 1", "r1-bob")
    return [
        Topic(
            kind="grown",
            public_name=f"unnamed topic {number}",
            rows=np.arange(8),
            n=20,
            num_baseline=40,
            baseline_share=0.05,
            interval=newcombe(8, 20, 2, 40),
            prompts=prompts,
        )
        for number, prompts in enumerate([[mine, of_bob], [mine]], start=1)
    ]


def _serve_a_fake(installation: Installation) -> None:
    """Do what training, evaluation and deployment would, without a model."""
    dataset = DatasetStore(installation.lance).read(CANDIDATE)
    for version, method in ROWS.items():
        rows_file = installation.home / "run" / "training" / version / "rows.parquet"
        rows_file.parent.mkdir(parents=True)
        training_rows(dataset, method).write_parquet(rows_file)
        # As if it had been interrupted: what the layers made of the texts leads back to them.
        (rows_file.parent / "states-0a.bin").write_text(WORD)
    ModelManifest(
        model_version=CANDIDATE,
        application="helpdesk",
        base_model_sha256=installation.base_model("helpdesk").sha256,
        created_at=NOON,
        code_version="0",
        dataset_version=CANDIDATE,
        dataset_sha256=dataset.sha256,
        training={},
        adapter_sha256="ab" * 32,
    ).write(installation.model(CANDIDATE))
    holdout = dataset.split("holdout").select("prompt", target="response")
    samples = holdout.with_columns(answer=pl.col("target"), score=pl.lit(1.0))
    folder = installation.report(CANDIDATE)
    build_report(
        samples,
        samples,
        model_version=CANDIDATE,
        champion_version=VERSION,
        training_targets=[f"{WORD} island", f"{WORD} island", "money"],
        dataset_version=CANDIDATE,
        dataset_sha256=dataset.sha256,
        seconds=1.0,
    ).write(folder)
    samples.with_columns(model_version=pl.lit(CANDIDATE)).write_parquet(folder / "samples.parquet")
    for step in (installation.registry.register, installation.registry.promote):
        step("helpdesk", CANDIDATE, time=NOON, reason="by hand", run_id=None)


def _leave_leftovers(installation: Installation) -> None:
    """Leave what interrupted processes and other parts leave: torn, stale, quarantined, moved."""
    home, day = installation.home, Partition(application="helpdesk", date=DAYS[0].date())
    table = installation.table("interaction_logs")
    rows = table.read(day)
    assert rows is not None
    table.write(day, rows.reverse(), inputs=["a segment"])  # keeps the generation before it
    (table.root / day.path / "killed.tmp").write_bytes(f"{WORD} killed".encode())
    signal = Feedback(
        feedback_id=f"implicit-{WORD}",
        application="helpdesk",
        time=DAYS[0],
        kind=FeedbackKind.REPHRASE,
        request_id=f"r0-{WORD}",
        confidence=0.9,
        rule="rephrase-1",
    )
    other = Feedback(
        feedback_id="implicit-bob",
        application="helpdesk",
        time=DAYS[0],
        kind=FeedbackKind.THANKS,
        request_id="r1-bob",
        rule="thanks-1",
    )
    installation.table("implicit_feedback").write(day, feedback_table([signal, other]))
    installation.table("drift_topics").write(day, topic_table(topics()))
    waiting = Feedback(
        feedback_id=f"waits-{WORD}",
        application=unassigned.APPLICATION,
        time=NOON,
        kind=FeedbackKind.COMMENT,
        request_id="unknown",
        text=f"waiting {WORD}",
        user_id=USER,
    )
    LogWriter(unassigned.unassigned_log(home), lambda record: record).append([waiting])
    segment = installation.interaction_log.segments(day)[0]
    with segment.open("ab") as file:
        file.write(json.dumps({"request_id": f"bad-{WORD}", "user_id": USER}).encode() + b"\n")
        file.write(f'{{"request_id":"torn-{WORD}'.encode())
    quarantine = home / "quarantine" / "application=helpdesk" / "0123456789abcdef.ndjson"
    quarantine.parent.mkdir(parents=True)
    quarantine.write_bytes(
        b"".join(
            orjson.dumps({"file": "x", "line": 1, "reason": "time: missing", "text": text}) + b"\n"
            for text in (f'{{"user":"{USER}","prompt":"{WORD}"}}', '{"user":"bob"}')
        )
    )
    archive = home / "archive" / "20260101T000000"
    shutil.copytree(home / "log", archive / "log")
    shutil.copytree(home / "tables", archive / "tables")
    shutil.copytree(home / "lance", archive / "lance")


def holding(home: Path, word: str) -> set[str]:
    """Return the places under a home that hold a word, in their bytes or once decoded."""
    found = set()
    for path in sorted(home.rglob("*")):
        if path.is_file():
            content = path.read_bytes() + str(path).encode()
            if path.suffix == ".parquet":
                content += pl.read_parquet(path).write_ndjson().encode()
            if word.encode() in content:
                found.add(path.relative_to(home).as_posix())
    for path, frame in lance_versions(home):
        stream = io.StringIO(frame.write_ndjson())
        if word in stream.read():
            found.add(path.relative_to(home).as_posix())
    return found


def lance_versions(home: Path) -> Iterator[tuple[Path, pl.DataFrame]]:
    """Yield every version of every Lance table that can still be opened, tagged or not."""
    import lancedb

    for path in sorted(home.rglob("*.lance")):
        if path.is_dir():
            table = lancedb.connect(path.parent).open_table(path.stem)
            for version in table.list_versions():
                table.checkout(version["version"])
                frame = pl.from_arrow(table.to_arrow())
                assert isinstance(frame, pl.DataFrame)
                yield path, frame.drop("vector", strict=False)


def log_lines(home: Path) -> list[bytes]:
    """Return every line of the logs, sorted."""
    logs = (*(Log.of(kind, home) for kind in LogKind), unassigned.unassigned_log(home))
    segments = [path for log in logs for path in log.root.rglob("*.ndjson")]
    return sorted(line for path in segments for line in path.read_bytes().splitlines())
