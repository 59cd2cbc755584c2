"""Canonical samplers and schedulers → what runs them: our own solvers for models that ComfyUI and A1111 draw, too, else
diffusers' scheduler classes and options; tables, as data.

The timestep spacings are those under which diffusers draws what ComfyUI draws. A repository's own ``leading``
spacing draws something else entirely, so it is used only where it is asked for (``ddim_uniform``).
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from imagerouter import InvalidParameterError, ProviderRejectedError
from imagerouter.samplers import SCHEDULERS
from imagerouter_diffusers.solvers import SOLVERS, Solver
from imagerouter_diffusers.traits import Traits

SPACINGS: dict[str, dict[str, Any]] = {
    "normal": {"timestep_spacing": "linspace", "steps_offset": 0},
    "karras": {"timestep_spacing": "linspace", "steps_offset": 0, "use_karras_sigmas": True},
    "exponential": {"timestep_spacing": "linspace", "steps_offset": 0, "use_exponential_sigmas": True},
    "beta": {"timestep_spacing": "linspace", "steps_offset": 0, "use_beta_sigmas": True},
    "sgm_uniform": {"timestep_spacing": "trailing", "steps_offset": 0},
    "simple": {"timestep_spacing": "trailing", "steps_offset": 0},
    "ddim_uniform": {"timestep_spacing": "leading", "steps_offset": 1},
}
"""Canonical scheduler → options of the scheduler class."""

_NO_SIGMAS = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
_UNIFORM = ("normal", "sgm_uniform", "simple", "ddim_uniform")
_ALL = ("normal", "karras", "exponential", "beta", "sgm_uniform", "simple", "ddim_uniform")
_KARRAS = ("karras", "normal", "exponential", "beta", "sgm_uniform", "simple", "ddim_uniform")


@dataclass(frozen=True)
class Row:
    """How one canonical sampler is made."""

    scheduler: str
    """Class name without its ``Scheduler`` ending."""
    schedules: tuple[str, ...] = _ALL
    """Canonical schedulers that it can follow, its usual one first."""
    options: dict[str, Any] = field(default_factory=dict)
    needs: str | None = None
    """A package that the class needs beyond torch."""

    @property
    def class_name(self) -> str:
        return f"{self.scheduler}Scheduler"


TABLE: dict[str, Row] = {
    "euler": Row("EulerDiscrete"),
    "euler_ancestral": Row("EulerAncestralDiscrete", _UNIFORM),
    "heun": Row("HeunDiscrete"),
    "dpm_2": Row("KDPM2Discrete"),
    "dpm_2_ancestral": Row("KDPM2AncestralDiscrete"),
    "lms": Row("LMSDiscrete", needs="scipy"),
    "dpmpp_2m": Row("DPMSolverMultistep", _KARRAS, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "dpmpp_2m_sde": Row("DPMSolverMultistep", _KARRAS, {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}),
    "dpmpp_3m_sde": Row("DPMSolverMultistep", _KARRAS, {"algorithm_type": "sde-dpmsolver++", "solver_order": 3}),
    "dpmpp_sde": Row("DPMSolverSDE", _KARRAS, needs="torchsde"),
    "deis": Row("DEISMultistep"),
    "ddpm": Row("DDPM", _UNIFORM),
    "ddim": Row("DDIM", ("ddim_uniform", "normal", "sgm_uniform", "simple"), {"set_alpha_to_one": True}),
    "ipndm": Row("PNDM", ("ddim_uniform", "normal", "sgm_uniform", "simple"), {"skip_prk_steps": True}),
    "lcm": Row("LCM", ("normal",)),
    "tcd": Row("TCD", ("normal",)),
    # This solver divides by the last sigma.
    "uni_pc": Row("UniPCMultistep", options={"solver_type": "bh1", "final_sigmas_type": "sigma_min"}),
    "uni_pc_bh2": Row("UniPCMultistep", options={"solver_type": "bh2"}),
}

FLOW_TABLE: dict[str, Row] = {
    "euler": Row("FlowMatchEulerDiscrete", ("simple", "karras", "exponential", "beta")),
    "heun": Row("FlowMatchHeunDiscrete", ("simple",)),
}
"""For flow-matching models, which none of the samplers above can drive."""

_NEEDS_SCIPY = "beta"
_PORTABLE = ("dpmpp_2m", "karras")
"""The pair that draws the same picture on every backend."""
_KEEP_OWN = frozenset({"LCMScheduler", "TCDScheduler", "EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"})


@dataclass(frozen=True)
class Choice:
    """The sampler and scheduler that one request gets; both ``None`` means the model's own, untouched."""

    sampler: str | None
    scheduler: str | None
    row: Row | Solver | None


def available(traits: Traits) -> dict[str, Row | Solver]:
    """The rows that can run with what is installed."""
    if traits.is_flow:
        # Flux-like pipelines hand over their own sigmas, which Heun's class doesn't take.
        return {
            name: row
            for name, row in FLOW_TABLE.items()
            if name == "euler" or traits.pipeline.startswith("StableDiffusion3")
        }
    if traits.pipeline.startswith("LatentConsistency"):
        # These pipelines speak to their own scheduler class only.
        return {"lcm": TABLE["lcm"]}
    if not _can_exchange(traits):
        return {}
    table: dict[str, Row | Solver] = {**TABLE, **(SOLVERS if traits.is_canonical else {})}
    return {name: row for name, row in table.items() if row.needs is None or find_spec(row.needs)}


def schedules(traits: Traits) -> tuple[str, ...]:
    """Every scheduler that at least one available sampler can follow."""
    offered = {name for row in available(traits).values() for name in _schedules_of(row)}
    return tuple(name for name in SCHEDULERS if name in offered)


def _schedules_of(row: Row | Solver) -> tuple[str, ...]:
    return tuple(name for name in row.schedules if name != _NEEDS_SCIPY or find_spec("scipy"))


def _can_exchange(traits: Traits) -> bool:
    config = traits.scheduler_config or {}
    return "beta_schedule" in config or traits.scheduler in {row.class_name for row in TABLE.values()}


def default(traits: Traits) -> Choice:
    """What is used when the client names nothing.

    The model's own, if it was chosen with care (a distilled model, trailing spacing); else the portable pair.
    """
    rows = available(traits)
    classes = FLOW_TABLE if traits.is_flow else TABLE
    own = next((name for name, row in classes.items() if name in rows and row.class_name == traits.scheduler), None)
    if traits.is_flow:
        return Choice(own, "simple" if own else None, None)
    if not rows or traits.scheduler in _KEEP_OWN:
        return Choice(own, None, None)
    if own and (schedule := _from_pure_noise(traits)):
        row = rows[own]
        return Choice(own, schedule, row if isinstance(row, Solver) else None)
    return Choice(*_PORTABLE, rows[_PORTABLE[0]])


def choose(traits: Traits, sampler: str | None, scheduler: str | None) -> Choice:
    """The pair for a request; raises if it can't be had."""
    usual = default(traits)
    if sampler is None and scheduler is None:
        return usual
    rows = available(traits)
    name = sampler or usual.sampler
    if name not in rows:
        raise InvalidParameterError(
            f"sampler `{sampler}` must be one of {', '.join(rows) or '(none)'}", param="sampler"
        )
    row = rows[name]
    offered = _schedules_of(row)
    if scheduler is not None and scheduler not in offered:
        # Another backend may well have this pair.
        raise ProviderRejectedError(
            f"scheduler `{scheduler}` doesn't go with sampler `{name}`, which takes {', '.join(offered)}",
            param="scheduler",
        )
    return Choice(name, scheduler or _usual_schedule(traits, offered), row)


def _usual_schedule(traits: Traits, offered: tuple[str, ...]) -> str:
    own = _from_pure_noise(traits)
    return own if own in offered else offered[0]


def _from_pure_noise(traits: Traits) -> str | None:
    """The schedule of a model with trailing spacing: it was trained to start so, and needs it with every sampler."""
    config = traits.scheduler_config or {}
    if config.get("timestep_spacing") != "trailing":
        return None
    return "karras" if config.get("use_karras_sigmas") else "simple"


def build(choice: Choice, own: Any, steps: int) -> Any:
    """A fresh scheduler for one request: they are stateful and must not be shared."""
    if not isinstance(choice.row, Row):
        return type(own).from_config(own.config)
    import diffusers

    cls = getattr(diffusers, choice.row.class_name)
    options = {**_NO_SIGMAS, **SPACINGS.get(choice.scheduler or "", {}), **choice.row.options}
    if choice.row.scheduler in ("LCM", "TCD"):
        options = {"original_inference_steps": max(50, steps)}
    known = inspect.signature(cls.__init__).parameters
    return cls.from_config(own.config, **{name: value for name, value in options.items() if name in known})
