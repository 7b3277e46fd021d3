"""Random streams: what one part draws changes nothing for another part or another replica."""

import pytest
import torch

from tom.core.streams import PURPOSES, Stream, streams

CPU = torch.device("cpu")


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_purpose_does_not_notice_what_others_draw(purpose: str) -> None:
    quiet, busy = streams([3, 4], CPU), streams([3, 4], CPU)
    for other in set(PURPOSES) - {purpose}:
        busy[other].normal(1_000)
        busy[other].permutation(17)
    assert torch.equal(quiet[purpose].normal(5), busy[purpose].normal(5))


def test_purposes_and_seeds_give_different_draws() -> None:
    first = {(seed, p): tuple(streams([seed], CPU)[p].uniform(4)[0].tolist()) for seed in range(50) for p in PURPOSES}
    assert len(set(first.values())) == 50 * len(PURPOSES)


def test_a_replica_depends_on_its_own_seed_alone() -> None:
    together = streams([7, 8, 9], CPU)
    for index, seed in ((0, 7), (1, 8), (2, 9)):
        alone = streams([seed], CPU)
        for purpose in PURPOSES:
            a, b = together[purpose].fork(), alone[purpose].fork()
            for draw in ("normal", "uniform"):
                assert torch.equal(getattr(a, draw)(3, 2)[index], getattr(b, draw)(3, 2)[0])
            assert torch.equal(a.below(100, 6)[index], b.below(100, 6)[0])
            assert torch.equal(a.permutation(20)[index], b.permutation(20)[0])
            assert a.seeds(3)[index] == b.seeds(3)[0]
            together[purpose] = streams([7, 8, 9], CPU)[purpose]


def test_a_fork_depends_on_the_state_and_then_goes_its_own_way() -> None:
    def parent() -> Stream:
        return streams([0, 1], CPU)["model"]

    one, other = parent(), parent()
    one.fork().normal(1_000)
    forked = other.fork()
    assert torch.equal(one.normal(8), other.normal(8))
    assert not torch.equal(forked.normal(8), other.fork().normal(8))
    assert torch.equal(parent().fork().normal(8), parent().fork().normal(8))


def test_a_fork_gives_replicas_with_different_seeds_different_draws() -> None:
    draws = streams([0, 1], CPU)["rollout"].fork().uniform(8)
    assert not torch.equal(draws[0], draws[1])


def test_integers_are_uniform_below_each_replica_s_own_count() -> None:
    draws = streams([0, 1], CPU)["replay"].below([4, 10], 40_000)
    for row, count in zip(draws, (4, 10), strict=True):
        frequencies = torch.bincount(row, minlength=count)
        assert len(frequencies) == count
        # chi-square with count - 1 degrees of freedom: mean + 5 standard deviations
        expected = 40_000 / count
        statistic = float(((frequencies - expected) ** 2 / expected).sum())
        assert statistic < (count - 1) + 5.0 * (2.0 * (count - 1)) ** 0.5


def test_draws_have_their_moments() -> None:
    stream, count = streams([5], CPU)["policy"], 100_000
    normal, uniform = stream.normal(count)[0], stream.uniform(count)[0]
    assert abs(float(normal.mean())) < 5.0 / count**0.5
    assert abs(float(normal.var()) - 1.0) < 5.0 * (2.0 / count) ** 0.5
    assert abs(float(uniform.mean()) - 0.5) < 5.0 * (1.0 / 12.0 / count) ** 0.5
    assert float(uniform.min()) >= 0.0
    assert float(uniform.max()) < 1.0
    assert sorted(stream.permutation(50)[0].tolist()) == list(range(50))
