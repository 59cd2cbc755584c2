"""Samplers as the generators that they are: each yields what the model is to look at, and gets back a clean picture.

``x`` is a batch of latents in single precision: picture plus sigma times noise. The formulas are k-diffusion's, which
ComfyUI and A1111 share (``k_diffusion/sampling.py``); where the last bit of a sigma counts, they are computed in its
order. Whoever runs them calls the model, so that none has to know of prompts, masks or devices.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

Run = Generator[tuple[Any, Any], Any, Any]
"""Yields latents and their sigma, is sent the clean latents that the model sees in them, returns the result."""
Noise = Callable[[Any, Any], Any]
"""(sigma before, sigma after) → unit noise for the step between them."""

_UNIFORM_FIRST = ("normal", "karras", "exponential", "beta", "sgm_uniform", "simple", "ddim_uniform")
_KARRAS_FIRST = ("karras", "normal", "exponential", "beta", "sgm_uniform", "simple", "ddim_uniform")


@dataclass(frozen=True)
class Solver:
    """How one canonical sampler draws with Stable Diffusion 1, 2 and XL."""

    run: Callable[[Any, Sequence[Any], Noise], Run]
    """Takes start latents, sigmas that end in 0, and noise."""
    schedules: tuple[str, ...] = _UNIFORM_FIRST
    """Canonical schedulers that it can follow, its usual one first."""
    noise: Literal["", "fresh", "brownian"] = ""
    """What is added between steps: a draw for each, or what one Brownian motion did meanwhile."""
    calls: int = 1
    """Calls of the model for each step but the last, which takes one."""
    skips_last_sigma: bool = False
    """Whether it goes from the last sigma but one straight to 0."""
    redraws_mask: bool = False
    """Whether the noise around a mask is a draw of its own."""

    @property
    def needs(self) -> str | None:
        """A package that it needs beyond torch."""
        return "torchsde" if self.noise == "brownian" else None


def _euler(x: Any, sigmas: Sequence[Any], _noise: Noise) -> Run:
    for now, after in pairwise(sigmas):
        clean = yield x, now
        x = x + (x - clean) / now * (after - now)
    return x


def _euler_ancestral(x: Any, sigmas: Sequence[Any], noise: Noise) -> Run:
    for now, after in pairwise(sigmas):
        clean = yield x, now
        down, up = _ancestral(now, after)
        x = x + (x - clean) / now * (down - now) + noise(now, after) * up if after > 0 else clean
    return x


def _ancestral(now: Any, after: Any) -> tuple[Any, Any]:
    """The sigma to step down to, and how much noise then leads up again to ``after``."""
    up = min(after, (after**2 * (now**2 - after**2) / now**2) ** 0.5)
    return (after**2 - up**2) ** 0.5, up


def _heun(x: Any, sigmas: Sequence[Any], _noise: Noise) -> Run:
    for now, after in pairwise(sigmas):
        clean = yield x, now
        slope = (x - clean) / now
        if after > 0:
            ahead = x + slope * (after - now)
            clean = yield ahead, after
            slope = (slope + (ahead - clean) / after) / 2
        x = x + slope * (after - now)
    return x


def _dpm_2(x: Any, sigmas: Sequence[Any], _noise: Noise) -> Run:
    for now, after in pairwise(sigmas):
        x = yield from _through_the_middle(x, now, after)
    return x


def _dpm_2_ancestral(x: Any, sigmas: Sequence[Any], noise: Noise) -> Run:
    for now, after in pairwise(sigmas):
        down, up = _ancestral(now, after)
        x = yield from _through_the_middle(x, now, down)
        if after > 0:
            x = x + noise(now, after) * up
    return x


def _through_the_middle(x: Any, now: Any, after: Any) -> Run:
    """One step along the slope that the model sees half-way, in log sigma."""
    clean = yield x, now
    slope = (x - clean) / now
    if after > 0:
        middle = now.log().lerp(after.log(), 0.5).exp()
        ahead = x + slope * (middle - now)
        clean = yield ahead, middle
        slope = (ahead - clean) / middle
    return x + slope * (after - now)


def _lms(x: Any, sigmas: Sequence[Any], _noise: Noise) -> Run:
    slopes: list[Any] = []
    for step, (now, after) in enumerate(pairwise(sigmas)):
        clean = yield x, now
        slopes = [(x - clean) / now, *slopes[:3]]
        if after == 0:
            return clean
        known = [float(sigma) for sigma in sigmas[max(0, step - 3) : step + 1]][::-1]
        x = x + sum(share * slope for share, slope in zip(_lagrange_areas(known, float(after)), slopes, strict=True))
    return x


def _lagrange_areas(known: Sequence[float], end: float) -> list[float]:
    """What each slope counts for: integral of its Lagrange polynomial, from the first known sigma to ``end``."""
    from numpy.polynomial import Polynomial

    areas = []
    for index, own in enumerate(known):
        others = [sigma for place, sigma in enumerate(known) if place != index]
        curve = Polynomial([1.0])
        for other in others:
            curve = curve * Polynomial([-other, 1.0]) / (own - other)
        whole = curve.integ(lbnd=known[0])
        areas.append(float(whole(end)))
    return areas


_ADAMS_BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def _ipndm(x: Any, sigmas: Sequence[Any], _noise: Noise) -> Run:
    slopes: list[Any] = []
    for now, after in pairwise(sigmas):
        clean = yield x, now
        slopes = [(x - clean) / now, *slopes[:3]]
        shares = _ADAMS_BASHFORTH[len(slopes) - 1]
        mean = sum(share * slope for share, slope in zip(shares, slopes, strict=True))
        x = x + mean * (after - now) if after > 0 else clean
    return x


def _dpmpp_2s_ancestral(x: Any, sigmas: Sequence[Any], noise: Noise) -> Run:
    for now, after in pairwise(sigmas):
        clean = yield x, now
        if after == 0:
            return clean
        down, up = _ancestral(now, after)
        middle = ((now.log() + down.log()) / 2).exp()
        clean = yield middle / now * x + (1 - middle / now) * clean, middle
        x = down / now * x + (1 - down / now) * clean + noise(now, after) * up
    return x


def _dpmpp_2m(x: Any, sigmas: Sequence[Any], _noise: Noise) -> Run:
    last: Any = None
    width: Any = None
    for now, after in pairwise(sigmas):
        clean = yield x, now
        aim, before = clean, width
        width = now.log() - after.log()
        if last is not None and after > 0:
            aim = clean + (clean - last) * (width / before / 2)
        x = after / now * x - (-width).expm1() * aim
        last = clean
    return x


def _dpmpp_sde(x: Any, sigmas: Sequence[Any], noise: Noise) -> Run:
    for now, after in pairwise(sigmas):
        clean = yield x, now
        if after == 0:
            return clean
        start, end = -now.log(), -after.log()
        middle = (-(start + (end - start) * 0.5)).exp()
        down, up = _ancestral(now, middle)
        ahead = down / now * x + (1 - down / now) * clean + noise(now, middle) * up
        clean = yield ahead, middle
        down, up = _ancestral(now, after)
        x = down / now * x + (1 - down / now) * clean + noise(now, after) * up
    return x


def _dpmpp_2m_sde(x: Any, sigmas: Sequence[Any], noise: Noise) -> Run:
    last: Any = None
    before: Any = None
    for now, after in pairwise(sigmas):
        clean = yield x, now
        if after == 0:
            return clean
        width = now.log() - after.log()
        reach = -(-2 * width).expm1()
        aim = clean if last is None else clean + (clean - last) * (width / before / 2)
        x = after / now * (-width).exp() * x + reach * aim + noise(now, after) * after * reach.sqrt()
        last, before = clean, width
    return x


def _dpmpp_3m_sde(x: Any, sigmas: Sequence[Any], noise: Noise) -> Run:
    cleans: list[Any] = []
    widths: list[Any] = []
    for now, after in pairwise(sigmas):
        clean = yield x, now
        if after == 0:
            return clean
        width = now.log() - after.log()
        cleans, reach = [clean, *cleans[:2]], -(-2 * width).expm1()
        x = after / now * (-width).exp() * x + reach * clean
        x = x + _bend(cleans, [width, *widths]) + noise(now, after) * after * reach.sqrt()
        widths = [width, *widths[:1]]
    return x


def _bend(cleans: Sequence[Any], widths: Sequence[Any]) -> Any:
    """What the last clean pictures tell beyond the newest, by their divided differences; up to three of them."""
    if len(cleans) == 1:
        return 0
    width = widths[0]
    second = (-2 * width).expm1() / (2 * width) + 1
    near = widths[1] / width
    first_slope = (cleans[0] - cleans[1]) / near
    if len(cleans) == 2:
        return second * first_slope
    far = widths[2] / width
    curve = (first_slope - (cleans[1] - cleans[2]) / far) / (near + far)
    return second * (first_slope + curve * near) - (second / (2 * width) - 0.5) * curve


def _ddpm(x: Any, sigmas: Sequence[Any], noise: Noise) -> Run:
    for now, after in pairwise(sigmas):
        clean = yield x, now
        if after == 0:
            return clean
        share = after**2 / now**2
        x = clean + (x - clean) * share + noise(now, after) * (after**2 * (1 - share)).sqrt()
    return x


def _lcm(x: Any, sigmas: Sequence[Any], noise: Noise) -> Run:
    for now, after in pairwise(sigmas):
        clean = yield x, now
        x = clean + noise(now, after) * after if after > 0 else clean
    return x


SOLVERS: dict[str, Solver] = {
    "euler": Solver(_euler),
    "euler_ancestral": Solver(_euler_ancestral, noise="fresh"),
    "heun": Solver(_heun, calls=2),
    "dpm_2": Solver(_dpm_2, calls=2, skips_last_sigma=True),
    "dpm_2_ancestral": Solver(_dpm_2_ancestral, noise="fresh", calls=2, skips_last_sigma=True),
    "lms": Solver(_lms),
    "dpmpp_2s_ancestral": Solver(_dpmpp_2s_ancestral, _KARRAS_FIRST, noise="fresh", calls=2),
    "dpmpp_2m": Solver(_dpmpp_2m, _KARRAS_FIRST),
    "dpmpp_2m_sde": Solver(_dpmpp_2m_sde, _KARRAS_FIRST, noise="brownian"),
    "dpmpp_3m_sde": Solver(_dpmpp_3m_sde, _KARRAS_FIRST, noise="brownian"),
    "dpmpp_sde": Solver(_dpmpp_sde, _KARRAS_FIRST, noise="brownian", calls=2),
    "ipndm": Solver(_ipndm),
    "ddpm": Solver(_ddpm, noise="fresh"),
    # Without noise of its own it is Euler's method, only that its usual steps are others.
    "ddim": Solver(_euler, ("ddim_uniform", *_UNIFORM_FIRST[:-1]), redraws_mask=True),
    "lcm": Solver(_lcm, ("sgm_uniform", "simple", "normal", "karras", "exponential", "beta", "ddim_uniform"), "fresh"),
}
"""Canonical sampler → how it is run."""
