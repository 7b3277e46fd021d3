"""The ring of transitions: what stays, in what order, and whose it is."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tom.core.replay import RESETS_KEPT, Replay, Ring, Transitions, take

CPU = torch.device("cpu")
O, A = 3, 2  # noqa: E741
W = 2 * O + A + 3


def numbered(first: int, count: int, replicas: int = 2) -> torch.Tensor:
    """Rows [R, count, W] filled with their number, 1000 r + i."""
    numbers = torch.arange(first, first + count) + 1_000.0 * torch.arange(replicas)[:, None]
    return numbers[..., None].expand(replicas, count, W).clone()


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 7), min_size=1, max_size=12))
def test_the_ring_keeps_the_newest_rows_in_order(sizes: list[int]) -> None:
    ring, added = Ring(2, 7, O, A, CPU), 0
    for size in sizes:
        slots = ring.add(numbered(added, size))
        assert torch.equal(ring.data[:, slots], numbered(added, size))
        added += size
        kept = min(7, added)
        assert len(ring) == kept
        assert ring.all().data.shape == (2, kept, W)
        assert torch.equal(ring.all().data[:, ring.by_age()], numbered(added - kept, kept))


def test_a_row_is_read_back_by_name() -> None:
    row = torch.arange(float(W))
    rows = Transitions(row, O, A)
    assert rows.obs.tolist() == [0.0, 1.0, 2.0]
    assert rows.obs_action.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert rows.next_obs.tolist() == [5.0, 6.0, 7.0]
    assert (float(rows.reward), float(rows.terminated), float(rows.truncated)) == (8.0, 9.0, 10.0)


def test_take_indexes_each_replica_s_own_rows() -> None:
    rows, index = numbered(0, 10), torch.tensor([[[1, 2], [3, 3]], [[9, 0], [1, 5]]])
    taken = take(rows, index)
    assert taken.shape == (2, 2, 2, W)
    assert torch.equal(taken[..., 0], index + 1_000.0 * torch.arange(2)[:, None, None])


def test_rows_of_a_ring_that_is_not_contiguous_in_time() -> None:
    ring = Ring(2, 4, O, A, CPU)
    for first in range(0, 6, 2):
        ring.add(numbered(first, 2))
    assert ring.rows(torch.tensor([[0], [3]])).data[..., 0].tolist() == [[4.0], [1_003.0]]


def test_stamps_stay_with_their_rows() -> None:
    replay = Replay(2, 5, O, A, CPU)
    for step in range(12):
        replay.push(numbered(step, 1)[:, 0], env_step=step, policy_round=step // 4)
    assert torch.equal(replay.env_step.float(), replay.data[0, :, 0])
    assert replay.env_step[replay.by_age()].tolist() == [7, 8, 9, 10, 11]
    assert replay.policy_round[replay.by_age()].tolist() == [1, 2, 2, 2, 2]


def test_terminal_and_cut_transitions_are_told_apart() -> None:
    replay = Replay(1, 4, O, A, CPU)
    for ends in ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]):
        replay.push(torch.cat([torch.zeros(W - 2), torch.tensor(ends)])[None], 0, 0)
    assert replay.all().terminated.tolist() == [[0.0, 1.0, 0.0]]
    assert replay.all().truncated.tolist() == [[0.0, 0.0, 1.0]]


def test_reset_states_are_counted_for_each_replica_and_the_newest_kept() -> None:
    replay = Replay(2, 4, O, A, CPU)
    for number in range(RESETS_KEPT + 3):
        replay.push_reset(0, torch.full((O,), float(number)))
    replay.push_reset(1, torch.full((O,), -1.0))
    assert replay.resets_kept() == [RESETS_KEPT, 1]
    assert sorted(replay.resets[0, :, 0].tolist()) == [float(n) for n in range(3, RESETS_KEPT + 3)]
    assert replay.resets[1, :1].tolist() == [[-1.0] * O]
