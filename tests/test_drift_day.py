"""Days of an installation held against what they should be like, with the real embedder."""

import math
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.bootstrap import register_base_models
from llm_assets.drift.baseline import Baseline, BaselineStore, first_prompts
from llm_assets.drift.config import Detector
from llm_assets.drift.embedding.embeddings import EmbeddingCache, embed
from llm_assets.drift_day import DayScorer, ScoredDay
from llm_assets.feedback.tables import interaction_table
from llm_assets.installation import Installation
from llm_assets.storage import Partition
from tests.installations import VERSION, an_installation
from tests.records import TIME, an_interaction

FIRST = TIME.date()
SPORTS = ("tennis", "chess", "football", "sailing", "rowing", "boxing")
MONEY = ("mortgage", "tax", "pension", "loan", "salary", "bank")
FORMS = ("what is {}", "who likes {}", "when did {} begin", "tell me about {} in Europe")


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def questions(things: Sequence[str]) -> list[str]:
    return [form.format(thing) for form in FORMS for thing in things]


def write_day(
    installation: Installation, number: int, prompts: Sequence[str], response: str = "sports"
) -> None:
    rows = [
        an_interaction(
            f"r{number}-{row}",
            time=TIME + timedelta(days=number),
            prompt=prompt,
            response=f"{response} {row % 4}",
        )
        for row, prompt in enumerate(prompts)
    ]
    partition = Partition(application="helpdesk", date=day(number))
    installation.table("interaction_logs").write(partition, interaction_table(rows))


def write_baseline(installation: Installation, prompts: Sequence[str]) -> None:
    embedder = installation.embedder("helpdesk")
    vectors = embed(prompts, cache=EmbeddingCache(installation.lance), embedder=embedder)
    BaselineStore(installation.lance).write(
        Baseline(model_version=VERSION, embedder=embedder.name, prompts=prompts, vectors=vectors)
    )


def scored(installation: Installation, number: int) -> ScoredDay:
    return DayScorer(installation, installation.application("helpdesk")).score(day(number))


def reasons(found: ScoredDay) -> set[str | None]:
    assert all(math.isnan(score.score) for score in found.scores)
    assert not any(score.is_drifted for score in found.scores)
    return {score.reason for score in found.scores}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def installation(
    request: pytest.FixtureRequest, folder: Path, tiny_base_model: BaseModelFile
) -> Iterator[Installation]:
    """Return an installation with two days of sports and a third of money."""
    drift = {"reference_days": 1, "min_prompts": 10, **getattr(request, "param", {})}
    with an_installation(folder, tiny_base_model, drift=drift) as made:
        register_base_models(made)
        write_day(made, 0, questions(SPORTS))
        write_day(made, 1, questions(SPORTS))
        write_day(made, 7, questions(MONEY), response="money")
        yield made


def test_a_day_of_another_topic_drifts_and_says_which(installation: Installation) -> None:
    write_baseline(installation, questions(SPORTS))
    found = scored(installation, 7)
    assert found.model_version == VERSION
    assert any(score.is_drifted for score in found.scores)
    assert sum(topic.num_prompts for topic in found.topics) > 12
    prompts = {prompt.prompt for topic in found.topics for prompt in topic.prompts}
    assert prompts <= set(questions(MONEY))
    assert found.map_png is not None
    assert found.map_png.startswith(b"\x89PNG")


def test_the_same_day_is_scored_the_same_again(installation: Installation) -> None:
    write_baseline(installation, questions(SPORTS))
    assert scored(installation, 7).scores == scored(installation, 7).scores


def test_a_day_of_the_baseline_is_not_held_against_itself(installation: Installation) -> None:
    write_baseline(installation, questions(SPORTS))
    assert reasons(scored(installation, 0)) == {f"the day belongs to the baseline of {VERSION}"}


def test_a_day_before_there_is_a_baseline_is_undefined(installation: Installation) -> None:
    assert reasons(scored(installation, 1)) == {f"{VERSION} has no baseline yet"}


def test_a_day_without_prompts_is_undefined(installation: Installation) -> None:
    write_day(installation, 2, ["", "  "])
    assert reasons(scored(installation, 2)) == {"no prompts on this day"}


def test_a_baseline_of_another_embedding_model_is_not_compared_with(
    installation: Installation,
) -> None:
    write_baseline(installation, questions(SPORTS))
    store = BaselineStore(installation.lance)
    known = store.read(VERSION)
    store.write(
        Baseline(
            model_version=VERSION,
            embedder="another",
            prompts=known.prompts,
            vectors=known.vectors,
        )
    )
    (reason,) = reasons(scored(installation, 7))
    assert reason is not None
    assert "embedded by 'another', cannot be compared with" in reason
    assert "materialize embedding_baseline again" in reason


@pytest.mark.parametrize("installation", [{"max_prompts": 12}], indirect=True)
def test_of_a_busy_day_only_a_part_is_looked_at(installation: Installation) -> None:
    write_baseline(installation, questions(SPORTS))
    assert {score.n for score in scored(installation, 7).scores} == {12}


@pytest.mark.parametrize(
    "installation", [{"reference": "same_weekday", "seasonal_weeks": 2}], indirect=True
)
def test_a_weekday_is_held_against_the_same_weekdays_before(installation: Installation) -> None:
    write_day(installation, 8, questions(SPORTS))
    quiet, loud = scored(installation, 8), scored(installation, 7)
    assert not any(score.is_drifted for score in quiet.scores)
    assert any(score.is_drifted for score in loud.scores)
    assert {score.num_baseline for score in quiet.scores if score.score == score.score} == {24}
    weeks = "no prompts on this weekday in 2 weeks before"
    assert reasons(scored(installation, 1)) == {weeks}


def test_answers_are_compared_with_those_of_the_first_days(installation: Installation) -> None:
    write_baseline(installation, questions(SPORTS))
    by_detector = {score.detector: score for score in scored(installation, 7).scores}
    changed = by_detector[Detector.RESPONSE_TOKEN_JS]
    assert changed.score > changed.threshold
    assert changed.num_baseline == 24


@pytest.mark.parametrize(
    "installation", [{"reference": "same_weekday", "reference_days": 9}], indirect=True
)
def test_the_first_days_of_answers_have_nothing_to_be_compared_with(
    installation: Installation,
) -> None:
    by_detector = {score.detector: score for score in scored(installation, 7).scores}
    assert not math.isnan(by_detector[Detector.MEAN_SHIFT].score)
    undefined = by_detector[Detector.REFUSAL_RATE]
    assert math.isnan(undefined.score)
    assert undefined.reason is not None
    assert undefined.reason.startswith(f"the answers of the first 9 days of {VERSION} are what")


def test_other_languages_are_told_with_their_shares(installation: Installation) -> None:
    write_baseline(installation, questions(SPORTS))
    german = [f"Können Sie mir bitte erklären, warum {thing} so beliebt ist?" for thing in SPORTS]
    write_day(installation, 2, [*questions(SPORTS)[:6], *german, *german])
    assert scored(installation, 1).languages == {}
    assert scored(installation, 2).languages["de"] == pytest.approx(12 / 18)


def test_a_baseline_of_traffic_is_a_fair_draw_of_bounded_size(installation: Installation) -> None:
    rows = [an_interaction(f"r{row}", prompt=f"question {row}") for row in range(10_050)]
    assert len(first_prompts(interaction_table(rows))) == 10_000
