"""In what the servers of the family differ, as facts; everything else is asked of the server itself.

Sources: ``modules/api`` and ``modules/processing.py`` of AUTOMATIC1111 1.7, Forge, reForge and SD.Next, and
``examples/server`` of stable-diffusion.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from imagerouter_a1111.config import DialectName


@dataclass(frozen=True)
class Dialect:
    """One member of the family."""

    name: DialectName
    title: str
    has_settings: bool = True
    """Whether it knows ``override_settings``, and with them more than one checkpoint."""
    restores: Literal["lazily", "eagerly"] = "lazily"
    """What ``override_settings_restore_afterwards`` does about the checkpoint. ``lazily``: only the setting goes back,
    and weights are swapped when a job needs others. ``eagerly``: they are swapped (SD.Next) or unloaded (Forge) right
    after every job."""
    vae_setting: Literal["sd_vae", "forge_additional_modules", ""] = "sd_vae"
    clip_skip: Literal["setting", "field"] = "setting"
    """Whether it is the setting ``CLIP_stop_at_last_layers`` or the field ``clip_skip`` of a request."""
    loras: Literal["tags", "list"] = "tags"
    """Whether LoRAs are tags in the prompt or a list of their own."""
    several: Literal["n_iter", "batch_size"] = "n_iter"
    """Which field draws several images from one request: one after the other, or at once."""
    hires_steps: Literal["hr_second_pass_steps", "hr_steps"] = "hr_second_pass_steps"
    multiple: int = 8
    """Sides that aren't divisible by it are rounded by the server, without a word."""
    most_steps: int = 200
    """Most servers would take any number, which nobody means."""
    has_task_ids: bool = True
    """Whether ``force_task_id`` names a job in ``/internal/progress``."""
    progress_of: Literal["job", "image"] = "job"
    """What the fraction in its progress is about; of the image it begins anew with each."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Settings that it may have without listing them, and what they are then."""
    closes_connections: bool = False
    """Whether it closes a connection after a failure without saying so; what is sent into it next is lost."""
    poll_seconds: float = 0.5
    """Between two questions about a running job."""


_DEFAULTS: Mapping[str, Any] = {
    "CLIP_stop_at_last_layers": 1,
    "comma_padding_backtrack": 20,
    "enable_pnginfo": True,
    "eta_ancestral": 1.0,
    "eta_ddim": 0.0,
    "eta_noise_seed_delta": 0,
    "img2img_extra_noise": 0.0,
    "img2img_fix_steps": False,
    "initial_noise_multiplier": 1.0,
    "randn_source": "GPU",
    "return_mask": False,
    "return_mask_composite": False,
    "s_min_uncond": 0.0,
    "samples_format": "png",
    "sd_vae": "Automatic",
    "sd_vae_overrides_per_model_preferences": True,
    "token_merging_ratio": 0.0,
    "token_merging_ratio_hr": 0.0,
    "token_merging_ratio_img2img": 0.0,
    "use_old_hires_fix_width_height": False,
}
"""``modules/shared_options.py``, as far as jobs are concerned. A web UI whose owner has never saved his settings lists
next to none of them."""

DIALECTS: dict[DialectName, Dialect] = {
    "a1111": Dialect("a1111", "AUTOMATIC1111", defaults=_DEFAULTS),
    "reforge": Dialect("reforge", "reForge", defaults=_DEFAULTS),
    "forge": Dialect(
        "forge",
        "Forge",
        restores="eagerly",
        vae_setting="forge_additional_modules",
        defaults={**_DEFAULTS, "forge_additional_modules": []},  # modules_forge/shared_options.py
        closes_connections=True,
    ),
    # It answers 300 requests a minute and throws finished pictures away beyond that, so it is asked less often.
    "sdnext": Dialect(
        "sdnext",
        "SD.Next",
        restores="eagerly",
        clip_skip="field",
        has_task_ids=False,
        progress_of="image",
        defaults={"sd_vae": "Automatic"},
        poll_seconds=1.0,
    ),
    "sdcpp": Dialect(
        "sdcpp",
        "stable-diffusion.cpp",
        has_settings=False,
        vae_setting="",
        clip_skip="field",
        loras="list",
        several="batch_size",
        hires_steps="hr_steps",
        multiple=64,
        most_steps=100,  # more are cut off without a word
        has_task_ids=False,
    ),
}
