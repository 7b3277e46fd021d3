"""A trained policy as a file that other programs run: observations in, the deterministic action out."""

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from tom.core.networks import Policy
from tom.policy import load_policy
from tom.settings.fields import SettingsError


def exported(run: Path, out: Path) -> str:
    """Writes the policy of a run to `out`, .pt (TorchScript) or .onnx; the line about it. SettingsError if it cannot.

    It maps observations [rows, O] to actions [rows, A], float32, in [-1, 1], which `tom.make` scales.
    """
    if out.suffix not in WRITERS or not out.parent.is_dir():
        raise SettingsError(f"{out} must end in {' or '.join(WRITERS)} and lie in an existing folder")
    policy = load_policy(run)
    example = torch.zeros(2, policy.spec.observation_dim)
    WRITERS[out.suffix](plain(policy.module), example, out)
    return (
        f"wrote {out}: observations [rows, {policy.spec.observation_dim}] of {policy.env} to actions "
        f"[rows, {policy.spec.action_dim}] in [-1, 1]"
    )


def plain(policy: Policy) -> nn.Sequential:
    """The mode of a policy of one replica, tanh of the mean, in layers that every format knows: [B, O] -> [B, A]."""
    layers: list[nn.Module] = []
    for weight, bias in policy.net.layers():
        linear = nn.Linear(weight.shape[1], weight.shape[2])
        linear.load_state_dict({"weight": weight[0].T, "bias": bias[0, 0]})
        layers += [linear, nn.ReLU()]
    last = layers[-2]
    assert isinstance(last, nn.Linear)
    half = last.out_features // 2  # means come first, then logarithms of standard deviations
    mean = nn.Linear(last.in_features, half)
    mean.load_state_dict({name: value[:half] for name, value in last.state_dict().items()})
    return nn.Sequential(*layers[:-2], mean, nn.Tanh()).eval()


def torch_script(module: nn.Module, example: Tensor, out: Path) -> None:
    """A file for `torch.jit.load`, in Python and in C++."""
    torch.jit.script(module).save(out)


def onnx(module: nn.Module, example: Tensor, out: Path) -> None:
    """A file for any runtime of ONNX; input `obs`, output `action`."""
    if importlib.util.find_spec("onnxscript") is None:
        raise SettingsError(f"{out}: torch writes ONNX with onnxscript; install it, or nearest valid choice: .pt")
    rows = torch.export.Dim("rows")
    torch.onnx.export(
        module,
        (example,),
        out,
        input_names=["obs"],
        output_names=["action"],
        dynamic_shapes=({0: rows},),
        external_data=False,
        verbose=False,
    )


WRITERS = {".pt": torch_script, ".onnx": onnx}
