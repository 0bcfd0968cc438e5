from datetime import timedelta

import pytest

from llm_assets.assets.drift import drift_scores, embedding_baseline, prompt_embeddings
from llm_assets.assets.feedback import interaction_logs
from llm_assets.feedback.log import LogWriter
from llm_assets.installation import Installation
from llm_assets.storage import Partition
from tests.assets.materialize import Materialize
from tests.installations import VERSION
from tests.records import TIME, an_interaction

FIRST = TIME.date()
SECOND = FIRST + timedelta(days=1)
TOPICS = ("tennis", "loans", "planets", "taxes", "chess", "volcanoes")


@pytest.mark.parametrize("model", [VERSION, "vendor-model-2026"])
def test_a_day_is_scored_whatever_name_its_model_goes_by(
    model: str, installation: Installation, materialize: Materialize
) -> None:
    interactions = [
        an_interaction(
            f"{day}-{topic}-{word}",
            time=TIME + timedelta(days=day),
            model_version=model,
            prompt=f"{word} do you know about {topic}",
        )
        for day in (0, 1)
        for topic in TOPICS
        for word in ("what", "what else")
    ]
    LogWriter(installation.interaction_log, lambda record: record).append(interactions)
    materialize.days(FIRST, SECOND, interaction_logs, prompt_embeddings)
    materialize(embedding_baseline, partition=VERSION)
    materialize.days(FIRST, SECOND, drift_scores)
    scores = installation.table("drift_scores").read(Partition(application="helpdesk", date=SECOND))
    assert scores is not None
    assert set(scores["model_version"]) == {VERSION}
    deciding = scores.filter("decides")
    assert deciding["detector"].to_list() == ["mean_shift", "novelty", "topic_growth"]
    assert set(deciding["num_baseline"]) == {12}
    assert deciding["score"].is_not_nan().all()
