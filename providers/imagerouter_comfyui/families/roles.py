"""Which of the server's files are a family's text encoders and VAE. There are no metadata for that, only habits."""

from __future__ import annotations

import re
from collections.abc import Iterable

from imagerouter.names import stem

PATTERNS: dict[str, tuple[str, ...]] = {
    "clip_l": (r"^clip[_-]?l(?!.*hidream)", r"vit-l-14"),
    "clip_g": (r"^clip[_-]?g(?!.*hidream)", r"bigg"),
    "clip_l-hidream": (r"^clip[_-]?l.*hidream", r"^clip[_-]?l"),
    "clip_g-hidream": (r"^clip[_-]?g.*hidream", r"^clip[_-]?g"),
    "t5xxl": (r"(?<![um])t5[_-]?(v1[_.-]?1[_-]?)?xxl",),
    "llama3.1-8b": (r"llama[_-]?3[._-]?1[_-]8b",),
    "qwen2.5-vl-7b": (r"qwen[_-]?2[._-]?5[_-]?vl[_-]?7b",),
    "qwen3-4b": (r"qwen[_-]?3[_-]?4b",),
    "qwen3-8b": (r"qwen[_-]?3[_-]?8b",),
    "mistral-flux2": (r"mistral.*flux[_-]?2", r"mistral[_-]?3[_-]?small", r"mistral[_-]small[_-]?3"),
    "sd-vae": (r"vae-ft-(mse|ema)", r"kl-f8"),
    "sdxl-vae": (r"sd_?xl.*vae",),
    "flux-vae": (r"^ae$", r"flux[_.-]?1?[_-]?(dev[_-]|schnell[_-])?(ae|vae)", r"^ae(?![a-z])"),
    "flux2-vae": (r"flux[_.-]?2.*(vae|ae)(?![a-z])", r"full_encoder_small_decoder"),
    "qwen-image-vae": (r"qwen[_-]?image.*vae(?!.*layered)",),
    "sd3-vae": (r"sd[_-]?3.*vae", r"stable-diffusion-3.*vae"),
}
"""Role → patterns of file stems, the most certain one first."""

DESCRIPTIONS = {
    "clip_l": "CLIP-L (clip_l)",
    "clip_g": "CLIP-G (clip_g)",
    "clip_l-hidream": "HiDream's CLIP-L (clip_l_hidream)",
    "clip_g-hidream": "HiDream's CLIP-G (clip_g_hidream)",
    "t5xxl": "T5-XXL (t5xxl_…)",
    "llama3.1-8b": "Llama 3.1 8B (llama_3.1_8b_…)",
    "qwen2.5-vl-7b": "Qwen2.5-VL 7B (qwen_2.5_vl_7b…)",
    "qwen3-4b": "Qwen3 4B (qwen_3_4b…)",
    "qwen3-8b": "Qwen3 8B (qwen_3_8b…)",
    "mistral-flux2": "Mistral Small 3 (mistral_3_small_flux2_…)",
    "sd-vae": "Stable Diffusion 1.5's VAE (vae-ft-mse-840000…)",
    "sdxl-vae": "SDXL's VAE (sdxl_vae)",
    "flux-vae": "Flux's VAE (ae)",
    "flux2-vae": "Flux.2's VAE (flux2-vae)",
    "qwen-image-vae": "Qwen-Image's VAE (qwen_image_vae)",
    "sd3-vae": "Stable Diffusion 3's VAE (sd3_vae)",
}


def holder(role: str, names: Iterable[str]) -> str | None:
    """The file for a role; of several the one with the shortest name, which is the least special one."""
    ordered = sorted(names, key=lambda name: (len(stem(name)), name))
    for pattern in PATTERNS[role]:
        for name in ordered:
            if re.search(pattern, stem(name), re.IGNORECASE):
                return name
    return None
