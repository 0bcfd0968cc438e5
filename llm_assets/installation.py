"""One installation: its settings, its applications, and where each stage keeps its artifacts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import cast

import polars as pl

from llm_assets.applications import Application, load_applications
from llm_assets.base_model import BaseModelFile
from llm_assets.deployment.registry import Registry
from llm_assets.drift.embedding.embedders import embedder_named
from llm_assets.drift.embedding.embeddings import Embedder, EmbeddingCache
from llm_assets.errors import UserError
from llm_assets.feedback import unassigned
from llm_assets.feedback.cap import cap
from llm_assets.feedback.joining import CLOCK_TOLERANCE, JOINED_BY, join, known_ids
from llm_assets.feedback.log import Log
from llm_assets.feedback.orphans import orphans
from llm_assets.feedback.scrubbing.config import PATTERN_TYPES, PersonalDataConfig
from llm_assets.feedback.scrubbing.key import load_or_create_key
from llm_assets.feedback.scrubbing.scrubber import Scrubbers
from llm_assets.feedback.tables import FEEDBACK_SCHEMA, INTERACTION_SCHEMA
from llm_assets.manifest import application_of
from llm_assets.serving.served import ServedApplication, version_spec
from llm_assets.serving.spec import ModelServerSpec
from llm_assets.settings import Settings
from llm_assets.storage import Partition, Table
from llm_assets.tokens import Tokens


@dataclass(frozen=True)
class Installation:
    """The plain object that assets, sensors, and the command line work on."""

    settings: Settings

    @property
    def home(self) -> Path:
        """The folder that holds all data."""
        return self.settings.home

    def applications(self) -> dict[str, Application]:
        """Read the applications; a file added since the last call is seen."""
        return load_applications(self.settings.applications)

    def application(self, name: str) -> Application:
        """Return one application.

        Raises:
            UserError: there is no such application, or a file is wrong.
        """
        applications = self.applications()
        if name not in applications:
            raise UserError(f"application {name!r}: no {self.settings.applications}/{name}.yaml")
        return applications[name]

    def base_model(self, name: str) -> BaseModelFile:
        """Return the base model of an application.

        Raises:
            UserError: it is not there; the message names the application's file.
        """
        application = self.application(name)
        try:
            return application.base_model.resolve()
        except UserError as error:
            raise UserError(f"{self.settings.applications}/{name}.yaml: {error}") from None

    @property
    def interaction_log(self) -> Log:
        """What the collector accepted of interactions."""
        return Log.interactions(self.home)

    @property
    def shadow_log(self) -> Log:
        """What the collector accepted of answers that no user saw."""
        return Log.shadows(self.home)

    @property
    def feedback_log(self) -> Log:
        """What the collector accepted of feedback."""
        return Log.feedback(self.home)

    @property
    def scrubbers(self) -> Scrubbers:
        """What cleans records of personal data before they are written.

        Feedback whose application is not known yet is cleaned of all that any application removes.
        """
        configs = {n: a.feedback.personal_data for n, a in self.applications().items()}
        given = list(configs.values()) or [PersonalDataConfig()]
        configs[unassigned.APPLICATION] = PersonalDataConfig(
            remove=frozenset().union(*(config.remove for config in given)),
            fail_closed=any(config.fail_closed for config in given),
            # Where several models find names, that of an application which uses it.
            names_model=max(
                given, key=lambda config: len(config.remove - PATTERN_TYPES)
            ).names_model,
        )
        return Scrubbers(configs, load_or_create_key(self.home))

    @property
    def tokens(self) -> Tokens:
        """Who may send records and ask models."""
        return Tokens(self.home)

    def table(self, name: str) -> Table:
        """Return the table of an asset that is partitioned by application and day."""
        return Table(self.home / "tables" / name)

    @property
    def registry(self) -> Registry:
        """The model versions and who serves."""
        return Registry(self.home / "registry")

    @property
    def lance(self) -> Path:
        """The folder of the Lance tables: embeddings and curated data sets."""
        return self.home / "lance"

    @property
    def base_models(self) -> Path:
        """The cache of base models in the formats of training and serving."""
        return self.home / "models" / "base"

    def embedder(self, application: str) -> Embedder:
        """Return what turns an application's prompts into vectors; its models lie in the home."""
        name = self.application(application).drift.embedding_model
        return embedder_named(name, folder=self.home / "models" / "embedders")

    @property
    def embeddings(self) -> EmbeddingCache:
        """The vectors of the prompts of all applications."""
        return EmbeddingCache(self.lance)

    def model(self, model_version: str) -> Path:
        """Return the folder of a model version."""
        return self.home / "models" / model_version

    def report(self, model_version: str) -> Path:
        """Return the folder of a model version's evaluation."""
        return self.home / "reports" / model_version

    def interactions(
        self, application: str, first: date = date.min, last: date = date.max
    ) -> pl.DataFrame:
        """Return the interactions of the days from first to last, oldest first."""
        return self._rows("interaction_logs", INTERACTION_SCHEMA, application, first, last)

    def feedback(
        self, application: str, first: date = date.min, last: date = date.max
    ) -> pl.DataFrame:
        """Return the feedback given on the days from first to last, oldest first, as it counts.

        `request_id` is that of the interaction it speaks of (see `joining.join`), and
        `is_over_cap` tells which rows are too many of one user to count (see `cap.cap`). A day's
        rows are the same whatever other days are asked for with it.
        """
        config = self.application(application)
        given = self.feedback_as_given(application, first, last)
        days = given["time"].dt.date()
        asked = pl.DataFrame(schema=INTERACTION_SCHEMA)
        max_days = config.curation.late_feedback_days
        if given.height:
            asked = self._rows(
                "interaction_logs",
                INTERACTION_SCHEMA,
                application,
                cast(date, days.min()) - timedelta(days=max_days),
                cast(date, days.max()) + CLOCK_TOLERANCE,
                columns=JOINED_BY,
            )
        joined = join(given, asked, max_days=max_days)
        most = config.feedback.max_feedback_per_user_and_day
        return cap(joined, max_per_user_and_day=most)

    def feedback_as_given(
        self, application: str, first: date = date.min, last: date = date.max
    ) -> pl.DataFrame:
        """Return the feedback of the days from first to last with the ids that it came with."""
        return self._rows("feedback_logs", FEEDBACK_SCHEMA, application, first, last)

    def implicit_feedback(
        self, application: str, first: date = date.min, last: date = date.max
    ) -> pl.DataFrame:
        """Return the signals that rules saw in sessions on the days from first to last.

        They have the columns of feedback and stand apart from it, so that nothing that counts
        what users said takes them for it.
        """
        return self._rows("implicit_feedback", FEEDBACK_SCHEMA, application, first, last)

    def session_prompts(self, application: str, first: date, last: date) -> pl.DataFrame:
        """Return the session and the prompt of the interactions of the days from first to last."""
        columns = ("session_id", "prompt")
        return self._rows(
            "interaction_logs", INTERACTION_SCHEMA, application, first, last, columns=columns
        )

    def confidences(self, application: str, first: date, last: date) -> pl.DataFrame:
        """Return how sure the model was of the interactions of the days from first to last."""
        columns = ("request_id", "model_version", "status", "confidence")
        return self._rows(
            "interaction_logs", INTERACTION_SCHEMA, application, first, last, columns=columns
        )

    def known_ids(self, application: str) -> pl.DataFrame:
        """Return every id by which feedback may name an interaction (see `joining.known_ids`)."""
        columns = ("request_id", "session_id", "aliases")
        return known_ids(
            self._rows("interaction_logs", INTERACTION_SCHEMA, application, columns=columns)
        )

    def orphans(self, application: str, *, now: datetime) -> pl.DataFrame:
        """Return the feedback whose request has not come in the configured time, oldest first."""
        config = self.application(application).feedback
        waited_since = (now - timedelta(days=config.orphaned_after_days)).date()
        return orphans(
            self.feedback_as_given(application, last=waited_since),
            self.known_ids(application),
            now=now,
            orphaned_after_days=config.orphaned_after_days,
        )

    def _rows(
        self,
        name: str,
        schema: pl.Schema,
        application: str,
        first: date = date.min,
        last: date = date.max,
        *,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """Return the rows of days; a column that an older version did not write yet is null."""
        table = self.table(name)
        days = [day for day in table.dates(application) if first <= day <= last]
        partitions = [Partition(application=application, date=day) for day in days]
        return table.read_many(partitions, schema=schema, columns=columns)

    def served_applications(self) -> list[ServedApplication]:
        """Return the applications that are served here."""
        return [
            ServedApplication(
                application=name,
                base_model=self.base_model(name),
                serving=application.serving,
                system_prompt=application.system_prompt,
            )
            for name, application in self.applications().items()
            if application.serving is not None
        ]

    def model_server_spec(self, model_version: str) -> ModelServerSpec:
        """Return how a model version is served.

        Raises:
            UserError: as `version_spec`, or its application is served elsewhere.
        """
        application = application_of(model_version)
        for served in self.served_applications():
            if served.application == application:
                return version_spec(served, model_version, home=self.home)
        raise UserError(f"application {application!r}: has no serving section")
