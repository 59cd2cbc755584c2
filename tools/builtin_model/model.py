"""The networks, all of stock classes, and how they become a directory that AutoPipeline can load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, EulerDiscreteScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from . import autoencoder, lexicon
from .tokenizer import CONTEXT, likenesses, plurals, words

TEXT_WIDTH = 128
TRAIN_STEPS = 1000
BETAS = (0.00085, 0.02)


def build_unet() -> UNet2DConditionModel:
    """Attention only at the two coarsest grids: at the finest one it costs a third of the speed (measured)."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=autoencoder.CHANNELS,
        out_channels=autoencoder.CHANNELS,
        block_out_channels=(48, 64, 96),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=4,
        norm_num_groups=8,
        cross_attention_dim=TEXT_WIDTH,
        # The whole prompt also steers every layer: without it shapes are learned far more slowly.
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
        time_embedding_dim=256,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    encoder = CLIPTextModel(config)
    _spread_words(encoder, tokenizer)
    return encoder


def _spread_words(encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
    """Orthogonal word vectors: with a usual start all prompts look alike, and shapes are never learned."""
    tokens = encoder.get_input_embeddings().weight
    positions = next(p for name, p in encoder.named_parameters() if "position_embedding" in name)
    key = [tokenizer(word).input_ids[1] for word in words()][:TEXT_WIDTH]
    with torch.no_grad():
        tokens.normal_(std=0.5)
        basis = torch.linalg.qr(torch.randn(TEXT_WIDTH, TEXT_WIDTH)).Q
        # Most of a prompt is padding; a short end token lets it show what it gathered from the words.
        tokens[tokenizer.eos_token_id] *= 0.3
        tokens[key] = basis[: len(key)] * 0.5 * TEXT_WIDTH**0.5
        positions.normal_(std=0.15)
        liken(tokens, tokenizer, set(words()))


def liken(tokens: Tensor, tokenizer: CLIPTokenizer, fresh: set[str]) -> None:
    """Gives each `fresh` word the vector of the word it is like; a plural is its singular and a shared turn."""
    ids = {word: tokenizer(word).input_ids[1] for word in words()}
    several = torch.randn(TEXT_WIDTH, generator=torch.Generator().manual_seed(0)).to(tokens) * 0.25
    for word, name in likenesses().items():
        if word in fresh & ids.keys():
            tokens[ids[word]] = tokens[ids[name]] * 0.9 + tokens[ids[word]] * 0.2
    for word, name in plurals().items():
        if word in fresh & ids.keys():
            tokens[ids[word]] = tokens[ids[name]] * 0.9 + several


def build_scheduler() -> EulerDiscreteScheduler:
    """With Karras' sigmas down to the least noise of training: in their last steps tones settle, and with evenly spaced
    ones what is repainted keeps a tone of its own.
    """
    return EulerDiscreteScheduler(
        num_train_timesteps=TRAIN_STEPS,
        beta_start=BETAS[0],
        beta_end=BETAS[1],
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        use_karras_sigmas=True,
        sigma_min=(BETAS[0] / (1 - BETAS[0])) ** 0.5,
    )


def signal_and_noise() -> tuple[Tensor, Tensor]:
    """How much picture and how much noise there is at each of the training steps."""
    betas = torch.linspace(BETAS[0] ** 0.5, BETAS[1] ** 0.5, TRAIN_STEPS, dtype=torch.float64) ** 2
    kept = torch.cumprod(1 - betas, dim=0)
    return kept.sqrt().float(), (1 - kept).sqrt().float()


def save_pipeline(
    folder: Path,
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    vae: AutoencoderTiny,
    tokenizer: CLIPTokenizer,
) -> None:
    """Writes next to the old directory and swaps, so a reader never sees half a model."""
    pipeline = StableDiffusionPipeline(
        vae=vae.half(),
        text_encoder=text.half(),
        tokenizer=tokenizer,
        unet=unet.half(),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    pipeline.save_pretrained(fresh, variant="fp16", safe_serialization=True)
    known = [word for word in words() if word.isalnum()]
    table = {"known": sorted(known), "means": lexicon.means(set(known))}
    (fresh / "words.json").write_text(json.dumps(table, indent=0) + "\n")
    for path in fresh.rglob("*"):
        # The weights are written as private files, but a package is for everybody.
        path.chmod(0o755 if path.is_dir() else 0o644)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
