"""Rules as suites of Great Expectations, and which facts they do not hold for.

Its version 1.24 sends no telemetry. Its import takes over 3 CPU seconds, so it happens in the call.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from llm_assets.feedback.validation.rules import Rule


def broken(facts: pl.DataFrame, rules: Sequence[Rule]) -> dict[str, list[int]]:
    """Return the numbers of the rows that break each rule, by its name.

    Raises:
        RuntimeError: a rule could not be checked.
    """
    if facts.is_empty():
        return {rule.name: [] for rule in rules}
    names = [name for name in facts.columns if any(name in (r.column, r.same_as) for r in rules)]
    import great_expectations as gx

    batch = _batch(facts.select(names).to_pandas())
    expectations = [_expectation(rule) for rule in rules]
    found = batch.validate(
        gx.ExpectationSuite("rules", expectations=expectations),
        result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False},
    )
    rows: dict[str, list[int]] = {}
    for result in found.results:
        name = result.expectation_config.meta["rule"]
        if "unexpected_index_list" not in result.result:
            raise RuntimeError(f"rule {name!r} cannot be checked: {result.exception_info}")
        rows[name] = [int(row) for row in result.result["unexpected_index_list"]]
    assert set(rows) == {rule.name for rule in rules}
    return rows


def _batch(frame: Any) -> Any:
    # A context of its own: batches of a shared one are mixed up between threads.
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    asset = context.data_sources.add_pandas("facts").add_dataframe_asset("facts")
    definition = asset.add_batch_definition_whole_dataframe("all")
    return definition.get_batch(batch_parameters={"dataframe": frame})


def _expectation(rule: Rule) -> Any:
    import great_expectations as gx

    gxe: Any = gx.expectations

    meta = {"rule": rule.name}
    if rule.is_given:
        return gxe.ExpectColumnValuesToNotBeNull(column=rule.column, meta=meta)
    if rule.is_unique:
        return gxe.ExpectColumnValuesToBeUnique(column=rule.column, meta=meta)
    if rule.same_as is not None:
        return gxe.ExpectColumnPairValuesToBeEqual(
            column_A=rule.column, column_B=rule.same_as, meta=meta
        )
    if rule.among is not None:
        return gxe.ExpectColumnValuesToBeInSet(
            column=rule.column, value_set=list(rule.among), meta=meta
        )
    return gxe.ExpectColumnValuesToBeBetween(
        column=rule.column,
        min_value=rule.at_least,
        max_value=rule.below if rule.at_most is None else rule.at_most,
        strict_max=rule.below is not None,
        meta=meta,
    )
