"""What servers of each dialect list, in small: samplers and schedulers as they write them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from imagerouter import ImageRequest
from imagerouter.families import TRAITS, Name
from imagerouter_a1111.config import A1111Config, A1111Model
from imagerouter_a1111.describe import model
from imagerouter_a1111.dialects import DIALECTS
from imagerouter_a1111.recipe import Checkpoint, Recipe, Stock

CONFIG = A1111Config()

_COMMON = (
    "alwayson_scripts batch_size cfg_scale denoising_strength disable_extra_networks do_not_save_grid "
    "do_not_save_samples enable_hr eta height hr_negative_prompt hr_prompt hr_resize_x hr_sampler_name hr_scale "
    "hr_upscaler include_init_images init_images inpaint_full_res inpainting_fill mask mask_blur n_iter "
    "negative_prompt override_settings override_settings_restore_afterwards prompt refiner_checkpoint "
    "refiner_switch_at resize_mode restore_faces s_churn sampler_index sampler_name save_images script_args "
    "script_name seed send_images steps styles subseed subseed_strength tiling width"
)
FIELDS = frozenset(f"{_COMMON} force_task_id firstpass_image hr_checkpoint_name infotext mask_blur_x".split())
NEWER_FIELDS = FIELDS | {"scheduler", "hr_scheduler"}
FORGE_FIELDS = NEWER_FIELDS | {"distilled_cfg_scale", "hr_cfg"}
SDNEXT_FIELDS = frozenset(
    f"{_COMMON} clip_skip cfg_end grading_lut_file samples_format schedulers_sigma sd_model_checkpoint "
    "width_after".split()
)

_SETTINGS = {"CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic", "eta_ancestral": 1.0, "samples_format": "png"}

_PLAIN = (
    "Euler a, Euler, LMS, Heun, DPM2, DPM2 a, DPM++ 2S a, DPM++ 2M, DPM++ SDE, DPM++ 2M SDE, DPM++ 2M SDE Heun, "
    "DPM++ 3M SDE, DPM fast, DPM adaptive, DDIM, PLMS, UniPC, LCM"
)
_KARRAS = (
    "DPM++ 2M Karras, DPM++ SDE Karras, DPM++ 2M SDE Karras, DPM++ 2M SDE Heun Karras, DPM++ 3M SDE Karras, "
    "LMS Karras, DPM2 Karras, DPM2 a Karras, DPM++ 2S a Karras, Restart"
)
_EXPONENTIAL = "DPM++ 2M SDE Exponential, DPM++ 2M SDE Heun Exponential, DPM++ 3M SDE Exponential"
_NEWER = "Euler a, Euler, LMS, Heun, DPM++ 2M SDE Heun, DPM fast, DPM adaptive, DDIM, DDIM CFG++, PLMS, UniPC, LCM"
_NEWER_KARRAS = "DPM++ 2M, DPM++ SDE, DPM++ 2S a, DPM2, DPM2 a, Restart"
_NEWER_EXPONENTIAL = "DPM++ 2M SDE, DPM++ 3M SDE"
_NEWER_SCHEDULERS = (
    "Automatic, Uniform, Karras, Exponential, Polyexponential, SGM Uniform, KL Optimal, Align Your Steps, Simple, "
    "Normal, DDIM, Beta"
)
_FORGE = f"{_NEWER}, HeunPP2, IPNDM, DEIS, DDPM, Euler CFG++, [Forge] Flux Realistic"
_FORGE_SCHEDULERS = f"{_NEWER_SCHEDULERS}, Turbo, Bong Tangent"
_SDCPP = (
    "default, euler, euler_a, heun, dpm2, dpm++2s_a, dpm++2m, dpm++2mv2, ipndm, ipndm_v, lcm, ddim_trailing, tcd, "
    "res_multistep, res_2s, er_sde, euler_cfg_pp, euler_a_cfg_pp, euler_ge, dpm++2m_sde, dpm++2m_sde_bt, lms"
)
_SDCPP_SCHEDULERS = (
    "default, discrete, normal, karras, exponential, ays, gits, sgm_uniform, simple, smoothstep, kl_optimal, lcm, "
    "bong_tangent, ltx2, logit_normal, flux2, flux, beta"
)
_KARRAS_EXPONENTIAL_BETA = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
_SDNEXT = (
    ("UniPC", {**_KARRAS_EXPONENTIAL_BETA, "use_flow_sigmas": False}),
    ("DDIM", {}),
    ("Euler", _KARRAS_EXPONENTIAL_BETA),
    ("Euler a", {"timestep_spacing": "linspace"}),
    ("Euler EDM", {"sigma_schedule": "karras"}),
    ("DPM++ 2M", {**_KARRAS_EXPONENTIAL_BETA, "use_lu_lambdas": False}),
    ("PNDM", {}),
    ("IPNDM", {}),
    ("── Other ──", {}),
)


def _rows(labels: str, scheduler: str | None = None) -> tuple[dict[str, Any], ...]:
    options = {} if scheduler is None else {"scheduler": scheduler}
    return tuple({"name": label, "aliases": [], "options": options} for label in labels.split(", "))


def _schedulers(labels: str) -> tuple[dict[str, Any], ...]:
    return tuple({"name": label.lower().replace(" ", "_"), "label": label} for label in labels.split(", "))


A1111_1_7 = Stock(
    dialect=DIALECTS["a1111"],
    fields=FIELDS,
    routes=frozenset(),
    settings={**_SETTINGS, "k_sched_type": "Automatic"},
    checkpoints=(Checkpoint("tinyA.safetensors", "tinyA", "tinyA.safetensors"),),
    samplers=(*_rows(_PLAIN), *_rows(_KARRAS, "karras"), *_rows(_EXPONENTIAL, "exponential")),
    vaes=("tinyvae.safetensors",),
    loras={"ink": "ink", "ink.safetensors": "ink", "brush": "brush"},
    upscalers=("Latent", "Latent (bicubic)", "None", "Lanczos", "ESRGAN_4x"),
    scripts=frozenset({"refiner", "controlnet"}),
)
OLDEST = replace(A1111_1_7, settings=_SETTINGS)
"""Without ``k_sched_type``."""
A1111_1_10 = replace(
    A1111_1_7,
    fields=NEWER_FIELDS,
    settings=_SETTINGS,
    samplers=(*_rows(_NEWER), *_rows(_NEWER_KARRAS, "karras"), *_rows(_NEWER_EXPONENTIAL, "exponential")),
    schedulers=_schedulers(_NEWER_SCHEDULERS),
)
FORGE = replace(
    A1111_1_10,
    dialect=DIALECTS["forge"],
    fields=FORGE_FIELDS,
    samplers=(*_rows(_FORGE), *_rows(_NEWER_KARRAS, "karras"), *_rows(_NEWER_EXPONENTIAL, "exponential")),
    schedulers=_schedulers(_FORGE_SCHEDULERS),
    vaes=("ae.safetensors", "clip_l.safetensors"),
)
SDNEXT = Stock(
    dialect=DIALECTS["sdnext"],
    fields=SDNEXT_FIELDS,
    routes=frozenset(),
    settings={"sd_model_checkpoint": "Diffusers/tiny/sdA [fedcba9876]"},
    samplers=tuple({"name": label, "options": options} for label, options in _SDNEXT),
    loras={"ink": "ink"},
    upscalers=("Resize Lanczos", "Latent Nearest exact", "Latent Bilinear", "Latent Bilinear antialias"),
)
SDCPP = Stock(
    dialect=DIALECTS["sdcpp"],
    fields=frozenset(),
    routes=frozenset(),
    settings={"samples_format": "png", "sd_model_checkpoint": "random-sd15-f16"},
    samplers=_rows(_SDCPP),
    schedulers=_schedulers(_SDCPP_SCHEDULERS),
    loras={"ink": "loras/ink.safetensors"},
    upscalers=("Latent", "Lanczos", "Nearest"),
)
STOCKS = {
    "oldest": OLDEST,
    "1.7": A1111_1_7,
    "1.10": A1111_1_10,
    "forge": FORGE,
    "sdnext": SDNEXT,
    "sdcpp": SDCPP,
}


def recipe(stock: Stock, family: Name = "sd15", entry: A1111Model | None = None) -> Recipe:
    """The one model of a server, with all that the server can do for it."""
    entry = entry or A1111Model()
    checkpoint = Checkpoint("tinyA.safetensors", "tinyA", "tinyA.safetensors")
    return Recipe(model(checkpoint.file, checkpoint, entry, TRAITS[family], stock), checkpoint, entry, TRAITS[family])


def asked(**given: Any) -> ImageRequest:
    return ImageRequest(**{"model": "tinyA.safetensors", "prompt": "a cat", "seed": 7, **given})
