"""Canonical sampler and scheduler names (ComfyUI's identifiers) and the spellings accepted for them.

A1111 says "DPM++ 2M Karras" where ComfyUI says ``dpmpp_2m`` with scheduler ``karras``. `split` turns either
into the canonical pair; how a pair is written on a backend is each adapter's own table.
"""

from __future__ import annotations

SAMPLERS: dict[str, tuple[str, ...]] = {
    "euler": ("Euler", "k_euler"),
    "euler_ancestral": ("Euler a", "Euler Ancestral", "k_euler_a", "euler_a"),
    "heun": ("Heun", "k_heun"),
    "dpm_2": ("DPM2", "KDPM2", "k_dpm_2"),
    "dpm_2_ancestral": ("DPM2 a", "KDPM2 a", "k_dpm_2_a", "dpm2_a"),
    "heunpp2": ("HeunPP2",),
    "lms": ("LMS", "k_lms", "LMSD"),
    "dpm_fast": ("DPM fast", "k_dpm_fast"),
    "dpm_adaptive": ("DPM adaptive", "k_dpm_ad"),
    "dpmpp_2s_ancestral": ("DPM++ 2S a", "k_dpmpp_2s_a", "dpm++2s_a"),
    "dpmpp_sde": ("DPM++ SDE", "k_dpmpp_sde"),
    "dpmpp_2m": ("DPM++ 2M", "k_dpmpp_2m", "dpm++2m"),
    "dpmpp_2m_sde": ("DPM++ 2M SDE", "k_dpmpp_2m_sde", "dpm++2m_sde"),
    "dpmpp_2m_sde_gpu": ("DPM++ 2M SDE GPU", "dpm++2m_sde_bt"),
    "dpmpp_2m_sde_heun": ("DPM++ 2M SDE Heun", "k_dpmpp_2m_sde_heun"),
    "dpmpp_3m_sde": ("DPM++ 3M SDE", "k_dpmpp_3m_sde"),
    "deis": ("DEIS",),
    "ddpm": ("DDPM",),
    "ddim": ("DDIM",),
    "ipndm": ("PNDM", "PLMS"),
    "ipndm_v": ("IPNDM_V",),
    "lcm": ("LCM", "k_lcm"),
    "tcd": ("TCD",),
    "uni_pc": ("UniPC", "unipc"),
    "uni_pc_bh2": ("UniPC BH2",),
    "res_multistep": ("Res Multistep",),
    "er_sde": ("ER-SDE",),
    "sa_solver": ("SA Solver",),
    "gradient_estimation": ("Gradient Estimation", "euler_ge"),
    "euler_cfg_pp": ("Euler CFG++",),
    "euler_ancestral_cfg_pp": ("Euler a CFG++", "euler_a_cfg_pp"),
    "dpmpp_2m_cfg_pp": ("DPM++ 2M CFG++",),
    "dpmpp_2s_ancestral_cfg_pp": ("DPM++ 2S a CFG++",),
}
"""Canonical sampler → A1111's label first, then other spellings."""

SCHEDULERS: dict[str, tuple[str, ...]] = {
    "normal": ("Automatic", "Uniform"),
    "karras": ("Karras",),
    "exponential": ("Exponential",),
    "polyexponential": ("Polyexponential",),
    "sgm_uniform": ("SGM Uniform",),
    "simple": ("Simple",),
    "ddim_uniform": ("DDIM", "DDIM Uniform"),
    "beta": ("Beta",),
    "linear_quadratic": ("Linear Quadratic",),
    "kl_optimal": ("KL Optimal",),
    "align_your_steps": ("Align Your Steps", "ays"),
}
"""Canonical scheduler → A1111's label first, then other spellings."""


def _fold(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ").strip()


def _index(table: dict[str, tuple[str, ...]]) -> dict[str, str]:
    return {_fold(spelling): name for name, labels in table.items() for spelling in (name, *labels)}


_SAMPLER_OF = _index(SAMPLERS)
_SCHEDULER_OF = _index(SCHEDULERS)


def scheduler(name: str) -> str:
    """The canonical name of a scheduler; a name that no table knows comes back unchanged."""
    return _SCHEDULER_OF.get(_fold(name), name)


def split(name: str) -> tuple[str, str | None]:
    """``"DPM++ 2M Karras"`` → ``("dpmpp_2m", "karras")``, ``"euler"`` → ``("euler", None)``.

    A name that no table knows comes back unchanged: a backend may have samplers of its own, and whether the
    target has this one is for routing to say.
    """
    folded = _fold(name)
    if folded in _SAMPLER_OF:
        return _SAMPLER_OF[folded], None
    for label, canonical in sorted(_SCHEDULER_OF.items(), key=lambda item: -len(item[0])):
        head = folded.removesuffix(" " + label)
        if head != folded and head in _SAMPLER_OF:
            return _SAMPLER_OF[head], canonical
    return name, None
