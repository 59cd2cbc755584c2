"""Schedulers: where on the way from noise to picture each step begins. Pure functions on the model's sigma table.

The rules are ComfyUI's (``comfy/samplers.py``, ``comfy/model_sampling.py``), in single precision as there: sigmas that
differ in the last bit already give another Brownian motion. A sigma is noise per signal: 14.6 to 0.03, and at last 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

BETA_SCHEDULE, BETA_START, BETA_END = "scaled_linear", 0.00085, 0.012
"""What Stable Diffusion 1, 2 and XL were trained with; the only table that ComfyUI and A1111 know for them."""
BETAS = {"beta_schedule": BETA_SCHEDULE, "beta_start": BETA_START, "beta_end": BETA_END}

_STEPS = 1000
_RHO = 7.0
"""Of Karras et al. (2022)."""
_LAST_SIGNAL = 4.8973451890853435e-08
"""ComfyUI's stand-in for a terminal signal of zero, whose sigma would be infinite."""
_SAME = 1e-5


class Table:
    """The sigmas of all training steps, ascending, with what is computed from them."""

    def __init__(self, sigmas: Any) -> None:
        """:param sigmas: in double precision."""
        self.sigmas = sigmas.float()
        self._logs = sigmas.log().float()

    @cached_property
    def low(self) -> float:
        return float(self.sigmas[0])

    @cached_property
    def high(self) -> float:
        return float(self.sigmas[-1])

    def timestep(self, sigma: Any) -> int:
        """The training step that is nearest in log sigma: the networks are asked about whole steps only."""
        return int((sigma.log() - self._logs).abs().argmin())

    def sigma(self, timestep: Any) -> Any:
        """Between two training steps, log sigma is interpolated."""
        whole = timestep.floor().long()
        share = timestep.frac()
        logs = (1 - share) * self._logs[whole] + share * self._logs[timestep.ceil().long()]
        return logs.exp()

    def start(self, sigma: Any) -> Any:
        """What unit noise is multiplied with where a run begins at ``sigma``."""
        is_top = sigma > self.high or math.isclose(float(sigma), self.high, rel_tol=_SAME)
        return (1.0 + sigma**2.0).sqrt() if is_top else sigma


@lru_cache(maxsize=8)
def table(start: float = BETA_START, end: float = BETA_END, *, zero_snr: bool = False) -> Table:
    """For the first and the last of the betas; ``zero_snr`` for models whose last training step was pure noise."""
    import torch

    betas = torch.linspace(start**0.5, end**0.5, _STEPS, dtype=torch.float64) ** 2
    signal = (1.0 - betas).cumprod(0)
    if zero_snr:
        roots = signal.sqrt()
        signal = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
        signal[-1] = _LAST_SIGNAL
    return Table(((1 - signal) / signal).sqrt())


def sigmas(scheduler: str, steps: int, table: Table) -> Any:
    """Where each step begins, descending, and the 0 at which the last one ends: mostly ``steps + 1`` values."""
    import torch

    values = SCHEDULERS[scheduler](steps, table)
    return torch.cat([values, values.new_zeros(1)])


def _karras(steps: int, table: Table) -> Any:
    import torch

    low, high = table.low ** (1 / _RHO), table.high ** (1 / _RHO)
    return (high + torch.linspace(0, 1, steps) * (low - high)) ** _RHO


def _exponential(steps: int, table: Table) -> Any:
    import torch

    return torch.linspace(math.log(table.high), math.log(table.low), steps).exp()


def _normal(steps: int, table: Table) -> Any:
    import torch

    return _at(torch.linspace(_STEPS - 1, 0, steps), table)


def _sgm_uniform(steps: int, table: Table) -> Any:
    import torch

    return _at(torch.linspace(_STEPS - 1, 0, steps + 1)[:-1], table)


def _at(timesteps: Any, table: Table) -> Any:
    """One by one: all at once, the last bit is another one, and times half-way between two are rounded by it."""
    import torch

    return torch.stack([table.sigma(timestep) for timestep in timesteps])


def _simple(steps: int, table: Table) -> Any:
    return table.sigmas[[-1 - int(step * (_STEPS / steps)) for step in range(steps)]]


def _ddim_uniform(steps: int, table: Table) -> Any:
    """One more step than asked for where ``steps`` doesn't divide 1000."""
    return table.sigmas[list(range(1, _STEPS, max(_STEPS // steps, 1)))[::-1]]


def _beta(steps: int, table: Table, shape: float = 0.6) -> Any:
    """Quantiles of a beta distribution (arXiv:2407.12173); fewer steps than asked for where two would be the same."""
    import numpy as np
    from scipy.stats import beta

    quantiles = beta.ppf(1 - np.linspace(0, 1, steps, endpoint=False), shape, shape)
    times = np.rint(quantiles * (_STEPS - 1)).astype(int)
    return table.sigmas[list(dict.fromkeys(times.tolist()))]


SCHEDULERS: dict[str, Callable[[int, Table], Any]] = {
    "normal": _normal,
    "karras": _karras,
    "exponential": _exponential,
    "sgm_uniform": _sgm_uniform,
    "simple": _simple,
    "ddim_uniform": _ddim_uniform,
    "beta": _beta,
}
"""Canonical scheduler → (steps, table) → sigmas without the last 0."""
