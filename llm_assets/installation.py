"""One installation: its settings, its applications, and where each stage keeps its artifacts."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from llm_assets.applications import Application, load_applications
from llm_assets.base_model import BaseModelFile
from llm_assets.deployment.registry import Registry
from llm_assets.errors import UserError
from llm_assets.feedback.log import Log
from llm_assets.feedback.tables import FEEDBACK_SCHEMA, INTERACTION_SCHEMA
from llm_assets.manifest import application_of
from llm_assets.serving.served import ServedApplication, version_spec
from llm_assets.serving.spec import ModelServerSpec
from llm_assets.settings import Settings
from llm_assets.storage import Partition, Table


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
    def feedback_log(self) -> Log:
        """What the collector accepted of feedback."""
        return Log.feedback(self.home)

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
        """Return the feedback given on the days from first to last, oldest first."""
        return self._rows("feedback_logs", FEEDBACK_SCHEMA, application, first, last)

    def _rows(
        self, name: str, schema: pl.Schema, application: str, first: date, last: date
    ) -> pl.DataFrame:
        table = self.table(name)
        days = [day for day in table.dates(application) if first <= day <= last]
        frames = [table.read(Partition(application=application, date=day)) for day in days]
        found = [frame for frame in frames if frame is not None]
        return pl.concat(found) if found else pl.DataFrame(schema=schema)

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
