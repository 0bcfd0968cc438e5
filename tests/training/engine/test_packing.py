from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llm_assets.training.config import TrainingConfig
from llm_assets.training.engine.packing import common_prefix, pack, share
from llm_assets.training.tokens import TokenRow

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=12)


@given(LENGTHS, st.integers(0, 30))
def test_every_row_has_a_place_and_only_a_row_alone_may_exceed_the_capacity(
    lengths: list[int], capacity: int
):
    sequences = share(lengths, capacity=capacity)
    assert sorted(row for members in sequences for row in members) == list(range(len(lengths)))
    for members in sequences:
        assert len(members) == 1 or sum(lengths[row] for row in members) <= capacity


@given(st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=8), min_size=1, max_size=5))
def test_the_common_prefix_is_shared_maximal_and_leaves_the_last_prompt_token(
    rows_ids: list[list[int]],
):
    rows = [TokenRow(ids=ids, num_prompt=len(ids) - 1) for ids in rows_ids]
    num_shared = common_prefix(rows)
    assert all(row.ids[:num_shared] == rows[0].ids[:num_shared] for row in rows)
    assert all(num_shared < row.num_prompt for row in rows)
    if all(num_shared + 1 < row.num_prompt for row in rows):
        assert len({row.ids[num_shared] for row in rows}) > 1


@given(st.integers(0, 4), LENGTHS)
def test_a_token_sees_the_prefix_and_its_own_row_so_far(num_prefix: int, lengths: list[int]):
    import torch

    # Each token's value tells its row and its position there.
    prefix = torch.arange(num_prefix)
    rests = [torch.arange(n) + 100 * (row + 1) + num_prefix for row, n in enumerate(lengths)]
    packed = pack(prefix, rests, tokens=16)
    for row, (sequence, begin) in enumerate(packed.places):
        for offset in range(lengths[row]):
            place = begin + offset
            assert packed.values[sequence, place] == rests[row][offset]
            assert packed.position_ids[sequence, place] == num_prefix + offset
            seen = packed.values[sequence, : place + 1]
            if packed.mask is not None:
                assert not packed.mask[sequence, 0, place, place + 1 :].any()
                seen = seen[packed.mask[sequence, 0, place, : place + 1]]
            assert seen.tolist() == [*prefix.tolist(), *rests[row][: offset + 1].tolist()]
    assert packed.mask is None or packed.mask.any(-1).all()


def test_packed_rows_come_out_of_a_model_as_if_they_were_alone(tiny_hf: Any):
    import torch

    from llm_assets.training.engine.base import load_base

    model = load_base(tiny_hf, TrainingConfig(), device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    prefix = torch.randint(3, 1000, (5,), generator=generator)
    rests = [torch.randint(3, 1000, (n,), generator=generator) for n in (3, 9, 4, 30, 1)]
    packed = pack(prefix, rests, tokens=20)
    assert 1 < len(packed.values) < len(rests)
    with torch.no_grad():
        together = model(
            input_ids=packed.values,
            attention_mask=packed.mask,
            position_ids=packed.position_ids,
        ).logits
        for rest, (sequence, begin) in zip(rests, packed.places, strict=True):
            alone = model(input_ids=torch.cat([prefix, rest])[None]).logits[0]
            found = together[sequence, begin : begin + len(rest)]
            torch.testing.assert_close(found, alone[len(prefix) :], atol=1e-4, rtol=1e-4)


def test_rows_that_share_nothing_need_no_mask():
    import torch

    packed = pack(torch.arange(0), [torch.arange(n) for n in (9, 12, 12)], tokens=12)
    assert packed.mask is None
    assert packed.values.shape == (3, 12)


def test_what_needs_no_mask_counts_on_in_its_padding():
    import torch

    # transformers would take a step back for the beginning of another row, and make a mask.
    packed = pack(torch.arange(0), [torch.arange(20), torch.arange(12)], tokens=8)
    assert packed.mask is None
    assert packed.position_ids.tolist() == [list(range(20))] * 2
