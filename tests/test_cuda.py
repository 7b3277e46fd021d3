"""What holds on a GPU: graphs do what plain steps do, nothing waits in the hot path. Skipped where there is none."""

import gc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config.compose import compose_cell
from tom.core.graphs import WARM_UP, Captured, uncollected, use_graphs
from tom.dynamics.descent import epoch, epochs
from tom.dynamics.fit import samples_of
from tom.settings.agent import agent_settings
from tom.train import Evaluation, Final, Round, Trainer, train

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
CALLS = 2 * WARM_UP + 2
PARITY = 1e-2  # of a return, after ten updates: kernels of a graph are chosen once, those of plain steps each time
SHORT = ("train.total_env_steps=350", "train.warmup_env_steps=250", "train.round_env_steps=50")
METHODS = ("mbpo", "tom", "tom_official", "vagram_ensemble", "sac", "maac", "dhmbpo", "moto", "planner")


@pytest.fixture
def plain() -> Iterator[Callable[[bool], None]]:
    yield use_graphs
    use_graphs(True)


def counted(state: Tensor) -> Callable[..., Tensor]:
    def step(x: Tensor, scale: float) -> Tensor:
        state.add_(scale * x.sum())
        return state * 2.0

    return step


def test_on_a_cpu_a_captured_step_is_the_step() -> None:
    state = torch.zeros(())
    step = Captured(counted(state), state.device)
    for call in range(1, CALLS):
        assert step(torch.ones(3), scale=1.0) == 6.0 * call
    assert not step.graphs


def test_no_garbage_is_collected_during_a_capture() -> None:
    found: list[str] = []
    gc.callbacks.append(lambda phase, _: found.append(phase))
    try:
        with uncollected():
            for _ in range(10 * gc.get_threshold()[0]):
                cycle: list[object] = []
                cycle.append(cycle)
            assert gc.get_count()[0] > gc.get_threshold()[0]
            assert not found
        assert gc.isenabled()
    finally:
        gc.callbacks.pop()


@needs_cuda
def test_a_graph_reads_its_inputs_and_keeps_its_state() -> None:
    state = torch.zeros((), device="cuda")
    step, expected = Captured(counted(state), state.device), 0.0
    for call in range(CALLS):
        for size, scale in ((3, 1.0), (5, 1.0), (5, 0.5)):
            expected += scale * size * call
            found = step(torch.full((size,), float(call), device="cuda"), scale=scale)
            assert float(found) == 2.0 * expected
    assert len(step.graphs) == 3


@needs_cuda
def test_graphs_can_be_switched_off(plain: Callable[[bool], None]) -> None:
    plain(False)
    state = torch.zeros((), device="cuda")
    step = Captured(counted(state), state.device)
    for _ in range(CALLS):
        step(torch.ones(3, device="cuda"), scale=1.0)
    assert not step.graphs
    assert float(state) == 3.0 * CALLS


@needs_cuda
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seeds", [(3,), (3, 4)])
def test_graphed_and_plain_runs_agree(method: str, seeds: tuple[int, ...], plain: Callable[[bool], None]) -> None:
    settings = agent_settings(compose_cell(method, "hopper", "smoke", SHORT))
    plain(True)
    graphed = list(train(settings, seeds, "cuda"))
    plain(False)
    for one, other in zip(graphed, train(settings, seeds, "cuda"), strict=True):
        if isinstance(one, Evaluation) and isinstance(other, Evaluation):
            np.testing.assert_allclose(one.returns, other.returns, rtol=PARITY)
        if isinstance(one, Round) and isinstance(other, Round):
            assert one.numbers.keys() == other.numbers.keys()
        if isinstance(one, Final) and isinstance(other, Final):
            for name, value in one.policy.items():
                np.testing.assert_allclose(value, other.policy[name], rtol=PARITY, atol=1e-4)


@needs_cuda
def test_the_hot_path_never_waits_for_the_gpu() -> None:
    """Bursts, minibatches, the discriminator and the dual, after a first round that made what they keep."""
    settings = agent_settings(compose_cell("tom_mlp", "hopper", "smoke", SHORT))
    trainer = Trainer(settings, [3, 4], torch.device("cuda"))
    for _ in range(300):
        trainer.step(explore=True)
    trainer.round()
    trainer.backbone.burst(trainer.replay, trainer.streams["replay"])
    view, stream, rows = trainer.view(), trainer.streams["weighting"].fork(), trainer.replay.all()
    weights = torch.ones_like(rows.reward)
    samples = samples_of(trainer.model, rows, weights, trainer.loss.columns(view))
    index = next(epochs(trainer.model, samples, stream))
    epoch(trainer.model, samples, index, trainer.loss)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.backbone.burst(trainer.replay, trainer.streams["replay"])
        epoch(trainer.model, samples, index, trainer.loss)
        trainer.weighting.log_ratio(view, None, stream)
        trainer.weighting.q.fit(trainer.replay, torch.zeros_like(weights), view.policy, stream)
    finally:
        torch.cuda.set_sync_debug_mode("default")
