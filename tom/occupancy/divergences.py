"""The divergences of the dual: f, its conjugate over x >= 0 and the conjugate's derivative, which is the weight.

D_f(d || q) = E_q f(d / q). With f*_+(y) = sup_{x >= 0} (x y - f(x)) the optimal ratio is d / q = (f*_+)'(y).
`kl_simplex` imposes in addition that d sums to one; its conjugate then couples all rows. `chi2_free` is the released
code's pair (smodice_pytorch.py:34-36@4d196c3): the conjugate allows negative x, the weight cuts them off afterwards.

| word       | f(x)              | f*_+(y)                            | weight               |
|------------|-------------------|------------------------------------|----------------------|
| chi2       | (x - 1)^2 / 2     | y^2 / 2 + y for y >= -1, else -1/2 | max(y + 1, 0)        |
| chi2_free  | (x - 1)^2 / 2     | y^2 / 2 + y (sup over all x)       | max(y + 1, 0)        |
| kl         | x log x - x + 1   | exp(y) - 1                         | exp(y)               |
| kl_simplex | x log x, sum d = 1| log E_q exp(y)                     | exp(y) / E_q exp(y)  |
"""

import torch
from torch import Tensor


def conjugate(divergence: str, y: Tensor, probability: Tensor) -> Tensor:
    """E_q f*_+(y) over rows y [..., N] that have q = probability [..., N]: [...]. The table above."""
    if divergence == "chi2":
        return (probability * (y.clamp(min=-1.0).add(1.0).square() - 1.0)).sum(-1) / 2.0
    if divergence == "chi2_free":
        return (probability * (y.square() / 2.0 + y)).sum(-1)
    if divergence == "kl":
        return (probability * torch.expm1(y)).sum(-1)
    return torch.logsumexp(y + probability.log(), -1)


def slope(divergence: str, y: Tensor, probability: Tensor) -> Tensor:
    """The derivative of the conjugate by each row's y, over its probability: the weight, unless that is cut off."""
    return y + 1.0 if divergence == "chi2_free" else weight(divergence, y, probability)


def curvature(divergence: str, y: Tensor) -> Tensor:
    """The second derivative of the conjugate by each row's y, over its probability; kl_simplex couples rows."""
    if divergence == "chi2":
        return (y > -1.0).to(y.dtype)
    return torch.ones_like(y) if divergence == "chi2_free" else y.exp()


def weight(divergence: str, y: Tensor, probability: Tensor) -> Tensor:
    """(f*_+)'(y), the ratio d / q of each row [..., N]; `probability` matters to kl_simplex alone."""
    if divergence in ("chi2", "chi2_free"):
        return torch.relu(y + 1.0)
    if divergence == "kl":
        return y.exp()
    return (y - torch.logsumexp(y + probability.log(), -1, keepdim=True)).exp()
