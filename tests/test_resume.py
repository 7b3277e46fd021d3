"""A run that goes on from a saved state gives the bytes of one that was not interrupted, or says that it diverged."""

import dataclasses
import functools
import hashlib
import io
from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config.compose import compose_cell
from pipeline.config.params import load_params
from tom.core.adam import ReplicaAdam
from tom.core.finite import Diverged
from tom.core.networks import descend
from tom.settings.agent import AgentSettings, agent_settings
from tom.states import join, split
from tom.train import Evaluation, Final, Planned, Record, Round, Step, Trainer, train

PARAMS = load_params()
CPU = torch.device("cpu")
SEEDS = (3, 4)
SHORT = (
    "train.total_env_steps=350",
    "train.warmup_env_steps=250",
    "train.round_env_steps=30",
    "train.eval_every_env_steps=350",
    "backbone.updates_per_burst=5",  # one in ten env steps
)
PARTS = {
    "tom": ("weighting.pool_env_steps=25",),
    "pdml": ("weighting.min_rows=300",),
    "mbpo": (
        "backbone.rollout_length_last=3",
        "backbone.rollout_grows_from=200",
        "backbone.rollout_grows_until=310",
        "backbone.rounds_retained=1",
    ),
}
BETWEEN = range(291, 300)  # two bursts, and so two rounds
BATCHED = (  # every kind of state there is
    "tom",
    "tom_official",
    "pdml",
    "ampl_official",
    "rama_learned",
    "vagram_ensemble",
    "ma_official",
    "maac",
    "moto",
    "planner",
)
TOGETHER = 1e-3  # of a return: what is left of rounding (1e-7) after a hundred steps and ten updates
AFTER_BETWEEN = [(Round, 310), (Round, 340), (Evaluation, 350), (Final, 350)]


@functools.cache
def settings_of(method: str, env: str = "hopper") -> AgentSettings:
    """A run of 350 steps with rounds at 250, 280, ..., in which what one round keeps for the next one matters."""
    parts = {PARAMS.part(method, kind) for kind in ("weighting", "backbone")}
    own = [override for name, overrides in PARTS.items() if name in parts for override in overrides]
    return agent_settings(compose_cell(method, env, "smoke", [*SHORT, *own]))


def on_disk(state: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def from_disk(data: bytes) -> dict[str, Any]:
    return torch.load(io.BytesIO(data), weights_only=True)


def described(record: Record) -> list[tuple[Any, ...]]:
    """What the record is, and name, type, shape and a hash of the bytes of every array in it."""
    rows: list[tuple[Any, ...]] = [(type(record).__name__, record.env_steps)]
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        arrays = value if isinstance(value, dict) else {field.name: value}
        for name, array in arrays.items():
            if isinstance(array, np.ndarray):
                digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
                rows.append((name, str(array.dtype), array.shape, digest))
    return rows


def all_described(records: Sequence[Record]) -> list[list[tuple[Any, ...]]]:
    return [described(record) for record in records]


def run(settings: AgentSettings, stops: Container[int]) -> tuple[list[Record], dict[int, bytes]]:
    """All records, and the states after these env steps, by how many records came before."""
    records: list[Record] = []
    states: dict[int, bytes] = {}
    for record in train(settings, SEEDS, "cpu"):
        records.append(record)
        if isinstance(record, Step) and record.env_steps in stops:
            states[len(records)] = on_disk(record.state())
    return records, states


CELLS = [
    *((method, "hopper") for method in PARAMS.methods),
    ("tom", "ant"),
    ("mbpo", "ant"),
    ("vagram_ensemble", "ant"),
    ("tom", "humanoid"),
]


@pytest.mark.parametrize(("method", "env"), CELLS)
def test_what_follows_a_state_is_what_would_have_followed(method: str, env: str) -> None:
    settings = settings_of(method, env)
    records, states = run(settings, BETWEEN)
    before, data = next((k, data) for k, data in states.items() if min(from_disk(data)["episode_steps"]) > 0)
    state = from_disk(data)
    assert state["backbone"]["since_report"] > 0
    assert state["rounds"] == 2
    rest = list(train(settings, SEEDS, "cpu", from_disk(data)))
    first = next(record for record in rest if isinstance(record, Round))
    weighting = [value for name, value in first.numbers.items() if name.startswith("weighting/")]
    assert not weighting or any(np.isfinite(value).all() for value in weighting), "weights are not ones any more"
    assert [(type(r), r.env_steps) for r in rest if not isinstance(r, Step | Planned)] == AFTER_BETWEEN
    assert all_described(rest) == all_described(records[before:])
    policy = state["backbone"]["sac"]["policy"]
    assert isinstance(rest[-1], Final)
    assert all(not np.array_equal(policy[name].numpy(), value) for name, value in rest[-1].policy.items())


@pytest.mark.parametrize("method", BATCHED)
def test_replicas_can_be_taken_apart_and_put_together_again(method: str) -> None:
    """The states of seeds that trained together fit single runs, and joined they are what they were."""
    settings = settings_of(method)
    records, states = run(settings, [295])
    before, data = states.popitem()
    parts = [from_disk(on_disk(part)) for part in split(from_disk(data), len(SEEDS))]
    rest = list(train(settings, SEEDS, "cpu", join(parts)))
    assert all_described(rest) == all_described(records[before:])
    for replica, seed in enumerate(SEEDS):
        alone = list(train(settings, [seed], "cpu", from_disk(on_disk(split(from_disk(data), 2)[replica]))))
        returns, together = (next(r.returns for r in rs if isinstance(r, Evaluation)) for rs in (alone, rest))
        np.testing.assert_allclose(returns[0], together[replica], rtol=TOGETHER)


@pytest.mark.parametrize("method", BATCHED)
def test_seeds_that_train_together_do_what_each_does_alone(method: str) -> None:
    """Bit for bit until the first update. After that sums are taken in another order, and rounding grows with a run."""
    settings = settings_of(method)
    together = list(train(settings, SEEDS, "cpu"))
    for replica, seed in enumerate(SEEDS):
        for one, both in zip(train(settings, [seed], "cpu"), together, strict=True):
            assert (type(one), one.env_steps) == (type(both), both.env_steps)
            if isinstance(one, Step) and one.env_steps == settings.train.warmup_env_steps:
                rows, shared = one.state()["replay"]["rows"], both.state()["replay"]["rows"]
                assert torch.equal(rows[0, : one.env_steps], shared[replica, : one.env_steps])
            elif isinstance(one, Evaluation) and isinstance(both, Evaluation):
                np.testing.assert_allclose(one.returns[0], both.returns[replica], rtol=TOGETHER)
                np.testing.assert_array_equal(one.lengths[0], both.lengths[replica])
            elif isinstance(one, Final) and isinstance(both, Final):
                for name, value in one.policy.items():
                    np.testing.assert_allclose(value[0], both.policy[name][replica], rtol=TOGETHER, atol=1e-5)


def test_replicas_that_have_not_come_equally_far_are_not_joined() -> None:
    settings = settings_of("sac")
    _, states = run(settings, (260, 270))
    early, late = (split(from_disk(data), 2) for data in states.values())
    with pytest.raises(ValueError, match="the replicas have not come equally far: 260, 270"):
        join([early[0], late[1]])


def test_a_run_can_stop_before_learning_begins_where_a_round_is_due_and_at_its_end() -> None:
    settings = settings_of("tom")
    stops = (120, 250, 280, 350)
    records, states = run(settings, stops)
    assert len(states) == len(stops)
    for before, data in states.items():
        rest = list(train(settings, SEEDS, "cpu", from_disk(data)))
        assert all_described(rest) == all_described(records[before:]), records[before - 1].env_steps
    assert [type(record) for record in rest] == [Final]


def test_to_take_a_state_disturbs_nothing() -> None:
    settings = settings_of("tom")
    records, _ = run(settings, range(0, 350, 9))
    assert all_described(records) == all_described(list(train(settings, SEEDS, "cpu")))


def test_another_seed_s_state_leads_elsewhere() -> None:
    settings = settings_of("sac")
    records, states = run(settings, [295])
    state = from_disk(*states.values())
    state["streams"]["replay"]["generators"] = state["streams"]["replay"]["generators"].flip(0)
    rest = list(train(settings, SEEDS, "cpu", state))
    assert all_described(rest[-1:]) != all_described(records[-1:])


def nudged_observation(state: dict[str, Any]) -> None:
    value = state["observations"][1, 0]
    state["observations"][1, 0] = torch.nextafter(value, torch.tensor(torch.inf))


def other_action(state: dict[str, Any]) -> None:
    size = state["observations"].shape[1]
    state["replay"]["rows"][1, -1, size] += 0.25


def other_seed(state: dict[str, Any]) -> None:
    state["episode_seeds"][0] += 1


@pytest.mark.parametrize("tamper", [nudged_observation, other_action, other_seed])
def test_an_episode_that_does_not_repeat_is_refused(tamper: Callable[[dict[str, Any]], None]) -> None:
    settings = settings_of("sac")
    steps = (record for record in train(settings, SEEDS, "cpu") if isinstance(record, Step))
    data = next(on_disk(state) for step in steps if min((state := step.state())["episode_steps"]) > 5)
    state = from_disk(data)
    tamper(state)
    with pytest.raises(RuntimeError, match=r"does not repeat the episode that was saved.*resume=false"):
        next(train(settings, SEEDS, "cpu", state))
    assert isinstance(next(train(settings, SEEDS, "cpu", from_disk(data))), Step)


OPTIMIZERS: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "fused Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.1, fused=True),
    "Adam by replica": lambda parameters: ReplicaAdam(parameters, 2, learning_rate=0.1),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_expanded_gradient_is_descended_like_any_other(name: str) -> None:
    """The gradient of a sum is one number seen twelve times. Under a constant gradient Adam takes steps of its rate."""
    expanded, plain = (torch.zeros(2, 6).requires_grad_() for _ in range(2))
    first, second = OPTIMIZERS[name]([expanded]), OPTIMIZERS[name]([plain])
    for _ in range(3):
        descend(first, expanded.sum(1), [expanded])
        descend(second, (plain * torch.ones(2, 6)).sum(1), [plain])
    assert torch.equal(expanded, plain)
    torch.testing.assert_close(expanded.detach(), torch.full((2, 6), -0.3), atol=1e-6, rtol=0.0)


def trainer_of(method: str) -> tuple[Trainer, Round]:
    """A trainer after forty random steps, and the good round that followed."""
    trainer = Trainer(settings_of(method), SEEDS, CPU)
    for _ in range(40):
        trainer.step(explore=True)
    good = trainer.round()
    assert np.isnan(good.numbers["policy/critic_loss"]).all(), "no update yet: unknown, and no reason to stop"
    return trainer, good


PLACES: dict[str, Callable[[Trainer], Tensor]] = {
    "policy": lambda trainer: trainer.backbone.sac.policy.net.biases,
    "critics": lambda trainer: trainer.backbone.sac.critic.net.weights,
    "model": lambda trainer: trainer.model.net.biases,
    "temperature": lambda trainer: trainer.backbone.sac.log_temperature,
    "observations": lambda trainer: trainer.episodes.observations,
    "model outputs": lambda trainer: trainer.backbone.model_buffer.data,
}
ALONE = ("critics", "temperature", "observations", "model outputs")  # nothing else is computed from them in a round


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("place", PLACES)
def test_one_number_of_one_replica_that_is_not_finite_ends_the_run(place: str, value: float) -> None:
    trainer, good = trainer_of("mbpo")
    trainer.step(explore=True)
    PLACES[place](trainer).detach().view(2, -1)[1, 0] = value
    with pytest.raises(Diverged, match=rf"^diverged: (.*, )?{place}(, .*)? not finite at env step 41$") as caught:
        trainer.round()
    assert isinstance(caught.value, ArithmeticError)
    assert caught.value.env_steps == 41
    assert place in caught.value.where
    assert place not in ALONE or caught.value.where == [place]
    assert set(caught.value.numbers) == set(good.numbers)


def poison_q(trainer: Trainer) -> None:
    trainer.weighting.q.net.biases.detach()[1, -1] = np.nan


def poison_log_ratio(trainer: Trainer) -> None:
    """One number of one row."""
    log_ratio = trainer.weighting.log_ratio

    def poisoned(*given: Any) -> tuple[Tensor, Tensor]:
        found, held_out = log_ratio(*given)
        found[1, 7] = np.nan
        return found, held_out

    trainer.weighting.log_ratio = poisoned


@pytest.mark.parametrize(
    ("method", "poison", "more"),
    [("tom_mlp", poison_q, ["weighting"]), ("tom", poison_log_ratio, []), ("tom_official", poison_log_ratio, [])],
)
def test_a_weighting_that_is_not_finite_ends_the_run_in_its_next_round(
    method: str, poison: Callable[[Trainer], None], more: list[str]
) -> None:
    """Weights of one, which are MBPO's, would look as if nothing had happened."""
    trainer = Trainer(settings_of(method), SEEDS, CPU)
    for _ in range(280):
        trainer.step(explore=True)
    assert (trainer.round().numbers["weights/ess"] < 1.0).all()
    poison(trainer)
    with pytest.raises(Diverged, match="weights of weighting=tom") as caught:
        trainer.round()
    assert {"weights of weighting=tom", *more} <= set(caught.value.where)
    assert caught.value.replicas == [1]


def test_a_run_without_a_model_diverges_too() -> None:
    trainer, _ = trainer_of("sac")
    PLACES["critics"](trainer).detach()[-1, -1] = np.nan
    with pytest.raises(Diverged, match=r"^diverged: critics not finite at env step 40$"):
        trainer.round()


def test_a_number_of_a_round_may_be_unknown_but_not_infinite() -> None:
    trainer, good = trainer_of("tom")
    assert np.isnan(good.numbers["weighting/raw_mean"]).all()
    trainer.backbone.totals[1, 0], trainer.backbone.since_report = np.inf, 1
    with pytest.raises(Diverged, match=r"^diverged: policy/critic_loss not finite at env step 40$") as caught:
        trainer.round()
    assert caught.value.numbers["policy/critic_loss"].tolist() == [0.0, np.inf]
