"""Same seed, same picture: how a server of the web UI's line is made to draw what ComfyUI draws.

The settings below go with every request, so that none depends on what the owner, or a job before it, has set. None of
them loads anything, and all go back like the other settings of a job (`imagerouter_a1111.settings`). Sources are files
of AUTOMATIC1111 1.10.1; reForge and Forge have the same. SD.Next has others: sources are files of its version of
2026-07-23, commit 058a7f0c.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from imagerouter import ImageRequest, Parity, Reproducible, Tier
from imagerouter.families import Name as Family
from imagerouter.names import base, stem
from imagerouter_a1111.config import A1111Model
from imagerouter_a1111.recipe import Checkpoint, Order, Recipe, Stock
from imagerouter_a1111.samplers import Samplers


class Setting(NamedTuple):
    """One of the server's own settings, and what it is for pictures that others draw, too."""

    name: str
    value: Any
    why: str
    source: str


_STEPS = "modules/sd_samplers_common.py"
_SIGMAS = "modules/sd_samplers_kdiffusion.py"
_GUIDANCE = "modules/sd_samplers_cfg_denoiser.py"
_JOB = "modules/processing.py"
_HYPERTILE = "extensions-builtin/hypertile/hypertile.py"
_LORA = "extensions-builtin/Lora/extra_networks_lora.py"

SETTINGS = (
    Setting("randn_source", "CPU", "noise that is the same on every machine, not the GPU's", "modules/rng.py"),
    Setting("eta_noise_seed_delta", 1, "the noise of the steps has the next seed", "modules/rng.py"),
    Setting("sgm_noise_multiplier", True, "the first noise is as strong as sqrt(1 + sigma²), not sigma", _SIGMAS),
    Setting("no_dpmpp_sde_batch_determinism", False, "noise of SDE samplers comes from the image's own seed", _STEPS),
    Setting("initial_noise_multiplier", 1.0, "no other noise over an input picture", _JOB),
    Setting("img2img_extra_noise", 0.0, "nor any more of it", _SIGMAS),
    Setting("img2img_fix_steps", True, "a strength changes the schedule, not the number of steps", _STEPS),
    Setting("enable_quantization", True, "timesteps are whole numbers", _SIGMAS),
    Setting("use_old_karras_scheduler_sigmas", False, "the schedule spans the sigmas of the model", _SIGMAS),
    Setting("sigma_min", 0.0, "0 is the model's", _SIGMAS),
    Setting("sigma_max", 0.0, "0 is the model's", _SIGMAS),
    Setting("rho", 0.0, "0 is the schedule's", _SIGMAS),
    Setting("always_discard_next_to_last_sigma", False, "only samplers that need it leave a step out", _SIGMAS),
    Setting("use_downcasted_alpha_bar", False, "sigmas in full precision", "modules/sd_models.py"),
    Setting("sd_noise_schedule", "Default", "sigmas as the model was trained with", "modules/sd_models.py"),
    Setting("eta_ancestral", 1.0, "ancestral steps add all their noise", _STEPS),
    Setting("eta_ddim", 0.0, "DDIM adds none", _STEPS),
    Setting("s_churn", 0.0, "nor do steps that aren't ancestral", _STEPS),
    Setting("s_tmin", 0.0, "of the same", _STEPS),
    Setting("s_tmax", 0.0, "of the same; 0 is no limit", _STEPS),
    Setting("s_noise", 1.0, "of the same", _STEPS),
    Setting("s_min_uncond", 0.0, "the negative prompt counts in every step", _GUIDANCE),
    Setting("s_min_uncond_all", False, "the negative prompt counts in every step", _GUIDANCE),
    Setting("skip_early_cond", 0.0, "the negative prompt counts in every step", _GUIDANCE),
    Setting("pad_cond_uncond", False, "prompts of unequal length aren't filled up", _GUIDANCE),
    Setting("pad_cond_uncond_v0", False, "nor cut", _GUIDANCE),
    Setting("token_merging_ratio", 0.0, "no tokens are merged for speed", _JOB),
    Setting("token_merging_ratio_img2img", 0.0, "no tokens are merged for speed", _JOB),
    Setting("token_merging_ratio_hr", 0.0, "no tokens are merged for speed", _JOB),
    Setting("hypertile_enable_unet", False, "the network sees the whole picture at once", _HYPERTILE),
    Setting("hypertile_enable_vae", False, "the network sees the whole picture at once", _HYPERTILE),
    Setting("CLIP_stop_at_last_layers", 1, "unless the request says another", "modules/sd_hijack_clip.py"),
    Setting("sdxl_clip_l_skip", False, "SDXL's own layer", "modules/sd_hijack_clip.py"),
    Setting("sdxl_crop_left", 0, "nothing is cut off", "modules/sd_models_xl.py"),
    Setting("sdxl_crop_top", 0, "nothing is cut off", "modules/sd_models_xl.py"),
    Setting("sd_hypernetwork", "None", "no network that nobody asked for", "modules/extra_networks_hypernet.py"),
    Setting("sd_lora", "None", "no network that nobody asked for", _LORA),
    Setting("sd_vae_encode_method", "Full", "the model's own VAE, not an approximation", _STEPS),
    Setting("sd_vae_decode_method", "Full", "the model's own VAE, not an approximation", _STEPS),
    Setting("img2img_color_correction", False, "finished pictures stay as they are", _JOB),
    Setting("face_restoration", False, "finished pictures stay as they are", _JOB),
    Setting("tiling", False, "the picture has edges", _JOB),
    Setting("enable_prompt_comments", False, "`#` is text", "modules/processing_scripts/comments.py"),
)

LITERAL = (
    Setting("emphasis", "None", "brackets are text, and nothing is rescaled", "modules/sd_emphasis.py"),
    Setting("comma_padding_backtrack", 0, "long prompts are cut after 75 tokens", "modules/sd_hijack_clip.py"),
)
"""For prompts that are nothing but text. The server keeps encoded prompts, and doesn't look at the second when it uses
one again; it does at the first, so that ours aren't taken for its owner's (``processing.py``: ``cached_params``)."""

_DIFFUSERS = "modules/sd_samplers_diffusers.py"
_ENCODER = "modules/prompt_parser_diffusers.py"

SDNEXT_FIELDS = (
    Setting(
        "diffusers_generator_device", "CPU", "noise that is the same on every machine", "modules/processing_helpers.py"
    ),
    Setting("schedulers_prediction_type", "default", "what the network predicts is the model's", _DIFFUSERS),
    Setting("schedulers_beta_schedule", "default", "sigmas as the model was trained with", _DIFFUSERS),
    Setting("schedulers_beta_start", 0.0, "0 is the model's", _DIFFUSERS),
    Setting("schedulers_beta_end", 0.0, "0 is the model's", _DIFFUSERS),
    Setting("schedulers_rescale_betas", False, "sigmas as the model was trained with", _DIFFUSERS),
    Setting("schedulers_timesteps_range", 1000, "timesteps as the model was trained with", _DIFFUSERS),
    Setting("schedulers_timesteps", "", "timesteps are the schedule's", _DIFFUSERS),
    Setting("schedulers_timestep_spacing", "default", "from the first to the last of them", _DIFFUSERS),
    Setting("schedulers_sigma_adjust", 1.0, "sigmas are the schedule's", "modules/processing_callbacks.py"),
    Setting("schedulers_solver_order", 0, "0 is the sampler's", _DIFFUSERS),
    Setting("schedulers_use_loworder", True, "the last step is of the first order", _DIFFUSERS),
    Setting("schedulers_use_thresholding", False, "nothing is clipped", _DIFFUSERS),
    Setting("prompt_mean_norm", False, "a prompt's encoding isn't rescaled", _ENCODER),
    Setting("diffusers_zeros_prompt_pad", False, "an empty prompt is encoded like any other", _ENCODER),
    Setting("freeu_enabled", False, "the network as it was trained", "modules/sd_hijack_freeu.py"),
    Setting("hypertile_unet_enabled", False, "it sees the whole picture at once", "modules/sd_hijack_hypertile.py"),
    Setting("hypertile_vae_enabled", False, "it sees the whole picture at once", "modules/sd_hijack_hypertile.py"),
    Setting("token_merging_method", "None", "no tokens are merged for speed", "modules/token_merge.py"),
)
"""SD.Next's settings that are fields of its requests, too, which leave nothing behind."""
SDNEXT_SETTINGS = (
    # Its own way drops colons, signs after brackets and at the beginning, and cuts at each new line. As a field it says
    # which encoder is used, but not how prompts are read.
    Setting("prompt_attention", "a1111", "prompts are read to the letter", "modules/prompt_parser.py"),
    Setting("wildcards_enabled", False, "`__a__` is text", "modules/styles.py"),
)
"""Those that are none."""

_NOISY = "euler_ancestral dpm_2_ancestral dpmpp_2s_ancestral dpmpp_sde dpmpp_2m_sde ddim_uniform".split()
_TIERS = {
    "weights": Tier.NONE,  # multiplied with the prompt, and not with its distance from an empty one (sd_emphasis.py)
    "edit": Tier.CLOSE,  # a VAE's encoder draws noise of its own, the less the better it is (images_tensor_to_samples)
    "edit.dpmpp_sde": Tier.NONE,  # noise of the whole schedule, also where only its end is run (create_noise_sampler)
    "edit.dpmpp_2m_sde": Tier.NONE,
    "edit.ddim_uniform": Tier.NONE,  # a schedule of another length
    # Around a mask no noise is put back before each step, which only samplers that add none forgive (CFGDenoiser).
    **{f"inpaint.{name}": Tier.NONE for name in _NOISY},
}
"""What it does otherwise than others, whatever is set."""
_SDNEXT_UNLIKE = (
    "sampler.euler_ancestral sampler.dpm_2 sampler.dpm_2_ancestral sampler.dpmpp_2s_ancestral sampler.dpmpp_sde "
    "sampler.dpmpp_2m_sde sampler.ddim scheduler.normal scheduler.exponential scheduler.sgm_uniform scheduler.simple "
    "scheduler.ddim_uniform edit inpaint hires loras vae long_prompt weights cfg_below_1"
).split()
_SDNEXT_TIERS = {
    **dict.fromkeys(_SDNEXT_UNLIKE, Tier.NONE),
    # Their first noise is as strong as sigma, and their timesteps aren't whole numbers.
    **dict.fromkeys(("sampler.euler", "sampler.heun", "sampler.lms"), Tier.CLOSE),
}
"""SD.Next's: edits begin with other noise, weights below 1 and nested ones mean something else, long prompts are cut at
phrases (package ``compel``), and the rest is diffusers' own or was compared by nobody."""
_NEEDED = ("randn_source", "sgm_noise_multiplier", "enable_quantization")
"""Without them it is another picture."""
_SDNEXT_LOADED: Mapping[str, Any] = {
    "sd_unet": "Default",
    "sd_text_encoder": "Default",
    "sdnq_quantize_weights": [],
    "layerwise_quantization": [],
}
"""Settings by which the owner would have it load other weights than the checkpoint's."""
DDIM = ("euler", "ddim_uniform")
"""What DDIM is without noise in its steps. This schedule begins below the largest sigma: there ComfyUI's first noise is
as strong as sigma."""
_FLAGS: Mapping[str, tuple[str, ...]] = {
    "fp32": ("no_half", "all_in_fp32", "always_cpu"),
    "bf16": ("unet_in_bf16",),
    "fp16": ("unet_in_fp16", "all_in_fp16"),
}
_SDNEXT_DTYPES = {"FP32": "fp32", "FP16": "fp16", "BF16": "bf16"}
_PROFILES: Mapping[Family, str] = {"sd15": "sd1", "sd2": "sd2", "sdxl": "sdxl"}
_UNPROVEN = re.compile(r"in-?paint|pix2pix|v[-_ ]?pred", re.IGNORECASE)
"""Checkpoints that are drawn with in other ways."""
_SYNTAX = re.compile(r"[\[\]()#]|<\w+:|\b(AND|BREAK)\b")
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_BRACKET = re.compile(r"\\([()])")
_WEIGHT = re.compile(r":\s*[-+]?(\d+\.?|\d*\.\d+)\s*$")
"""A number that ends a prompt is its weight among those that ``AND`` joins, even if there is only one
(``modules/prompt_parser.py``: ``re_weight``); after another one it is text."""


def wanted(request: ImageRequest, recipe: Recipe) -> Reproducible | None:
    """What is proven of the model, if the request cares."""
    return None if request.parity is Parity.OFF else recipe.model.parity


def same(sampler: str, scheduler: str | None, samplers: Samplers) -> tuple[str, str | None]:
    """The pair by which a server draws a canonical pair. Its own DDIM leaves the last step out."""
    is_ddim = (sampler, scheduler) in (("ddim", None), ("ddim", DDIM[1]))
    return DDIM if is_ddim and DDIM[1] in samplers.of(DDIM[0]) else (sampler, scheduler)


def settings(order: Order, stock: Stock) -> dict[str, Any]:
    """What an order needs to be drawn as others draw it, known to the server or not; empty where nobody asks for it."""
    if (proven := wanted(order.request, order.recipe)) is None:
        return {}
    is_next = stock.dialect.name == "sdnext"
    rows = SDNEXT_SETTINGS if is_next else (*SETTINGS, *LITERAL) if _is_literal(order, stock) else SETTINGS
    found = _values(rows)
    if order.applied.get("scheduler") == DDIM[1]:
        found["sgm_noise_multiplier"] = False
    if order.request.parity is Parity.STRICT and stock.dialect.vae_setting == "sd_vae":
        # Only where it is a must: the server may have to load it, and its owner's again.
        own = "Default" if is_next else "None"
        found |= {"sd_vae": proven.vae or own, "sd_vae_overrides_per_model_preferences": True}
    return found


def fields(order: Order, stock: Stock) -> dict[str, Any]:
    """What SD.Next needs for the same, as fields of a request; a client's settings go first."""
    if stock.dialect.name != "sdnext" or wanted(order.request, order.recipe) is None:
        return {}
    free = stock.fields - order.options.get("override_settings", {}).keys()
    return {name: value for name, value in _values(SDNEXT_FIELDS).items() if name in free}


def _values(rows: Iterable[Setting]) -> dict[str, Any]:
    return {row.name: row.value for row in rows}


def prompts(order: Order, stock: Stock) -> tuple[str, str]:
    """Prompt and negative prompt as they are sent."""
    prompt, negative = order.request.prompt, order.request.negative_prompt or ""
    if (proven := wanted(order.request, order.recipe)) is None:
        return prompt, negative
    if _is_literal(order, stock):
        prompt, negative = _BRACKET.sub(r"\1", prompt), _BRACKET.sub(r"\1", negative)
        prompt += ":1" if _WEIGHT.search(prompt) else ""
    # An empty one is zeros to SDXL here (``modules/sd_models_xl.py``), and encoded like any other elsewhere.
    return prompt, negative or (" " if proven.profile == "sdxl" else "")


def _is_literal(order: Order, stock: Stock) -> bool:
    """Whether nothing in the prompts means more than it says; then a server can be told so."""
    texts = (order.request.prompt, order.request.negative_prompt or "")
    return stock.knows_setting("emphasis") and not any(_SYNTAX.search(_ESCAPED.sub("", text)) for text in texts)


def declared(checkpoint: Checkpoint, entry: A1111Model, family: Family, stock: Stock) -> Reproducible | None:
    """What is proven of a model; nothing where its owner has said himself how it is drawn."""
    is_next = stock.dialect.name == "sdnext"
    usual = _values((*SDNEXT_FIELDS, *SDNEXT_SETTINGS) if is_next else SETTINGS)
    own = {name for name, value in entry.settings.items() if name != "sd_vae" and usual.get(name) != value}
    profile = _PROFILES.get(family)
    if profile is None or own or not _can(stock) or _UNPROVEN.search(checkpoint.file):
        return None
    if is_next:
        return _declared_next(profile, _owners_vae(checkpoint, entry, stock), stock)
    dtype = stock.dtype if stock.settings.get("fp8_storage", "Disable") == "Disable" else ""
    tiers = dict(_TIERS)
    if stock.dialect.name == "forge" or not stock.knows_setting("emphasis"):
        tiers["long_prompt"] = Tier.NONE  # cut at commas: Forge doesn't look at its setting (classic_engine.py)
    if DDIM[1] not in stock.choices.of(DDIM[0]):
        tiers["sampler.ddim"] = Tier.CLOSE
    if profile == "sdxl":
        tiers["clip_skip"] = Tier.NONE
    return Reproducible(profile=profile, dtype=dtype, vae=_owners_vae(checkpoint, entry, stock), tiers=tiers)


def _can(stock: Stock) -> bool:
    """Whether the server can be told all without which it is another picture."""
    if stock.dialect.name != "sdnext":
        return all(stock.knows_setting(name) for name in _NEEDED)
    is_plain = all(stock.settings.get(name, usual) == usual for name, usual in _SDNEXT_LOADED.items())
    return is_plain and "diffusers_generator_device" in stock.fields and stock.knows_setting("prompt_attention")


def _declared_next(profile: str, vae: str, stock: Stock) -> Reproducible | None:
    """SD.Next's; of SDXL nobody has looked at it."""
    dtype = stock.dtype or _SDNEXT_DTYPES.get(stock.settings.get("cuda_dtype", ""), "")
    return Reproducible(profile=profile, dtype=dtype, vae=vae, tiers=_SDNEXT_TIERS) if profile == "sd1" else None


def _owners_vae(checkpoint: Checkpoint, entry: A1111Model, stock: Stock) -> str:
    """The VAE that replaces the checkpoint's own, by the server's rules (``modules/sd_vae.py``: ``resolve_vae``)."""
    if stock.dialect.vae_setting == "forge_additional_modules":
        return " ".join(base(str(name)) for name in entry.modules or stock.settings.get("forge_additional_modules", ()))
    chosen = entry.vae or entry.settings.get("sd_vae") or stock.settings.get("sd_vae")
    if chosen not in (None, "", "Automatic"):
        return "" if chosen in ("None", "Default") else str(chosen)
    beside = (name for name in stock.vaes if base(name).startswith(stem(checkpoint.file)))
    return next(beside, "")


def dtype_of(dialect: str, flags: Mapping[str, Any]) -> str:
    """What the network computes in, by the server's command line (``/sdapi/v1/cmd-flags``); empty where it chooses."""
    told = (name for name, names in _FLAGS.items() if any(flags.get(flag) for flag in names))
    return next(told, "fp16" if dialect == "a1111" and "no_half" in flags else "")
