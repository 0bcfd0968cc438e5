from dataclasses import replace

from llm_assets.serving.spec import ModelServerSpec
from llm_assets.serving.temporary import alone


def test_a_version_that_is_evaluated_may_answer_nothing_and_is_not_recorded(
    spec: ModelServerSpec,
) -> None:
    served = alone(replace(spec, collector_url="http://127.0.0.1:1"))
    assert spec.serving.refuse_empty_answers
    assert not served.serving.refuse_empty_answers
    assert served.collector_url is None
    assert (served.model_version, served.base_model) == (spec.model_version, spec.base_model)
