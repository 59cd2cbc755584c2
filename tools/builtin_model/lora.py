"""Trains a small LoRA on a saved pipeline: the same prompts, drawn as outlines.

`python -m tools.builtin_model.lora providers/imagerouter_diffusers/builtin outline.safetensors`
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor

from . import autoencoder, model, objects
from .scenes import Scene

STROKE = 0.055  # width of the line, in shares of the side
DRAWS = (objects.draw_central, objects.draw_central, objects.draw_central, objects.draw_placed, objects.draw_sized)
# A drawing style is a local matter: the finer half of the network decides it, and little more is changed.
TARGETS = r"(up_blocks\.[12]|down_blocks\.0)\..*conv[12]|up_blocks\.1\..*(to_k|to_v|to_q|to_out\.0)"


def outlined(scene: Scene) -> Scene:
    stroke = STROKE * min(scene.width, scene.height)
    return replace(scene, things=[replace(thing, stroke=stroke) for thing in scene.things])


def batch(step: int, seed: int, count: int) -> tuple[Tensor, list[str]]:
    """Latents and captions; the same step always draws the same pictures."""
    random = Random(f"lora/{seed}/{step}")
    scenes = [outlined(random.choice(DRAWS)(random, (256, 256))) for _ in range(count)]
    eighths = autoencoder.stacked([scene.eighth() for scene in scenes])
    captions = ["" if random.random() < 0.1 else scene.caption for scene in scenes]
    return autoencoder.to_latents(eighths.float() / 255), captions


def train(folder: Path, out: Path, options: argparse.Namespace) -> None:
    """Only the LoRA learns; what it is put on stays as it is."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, variant="fp16", dtype=torch.float32).to(options.device)
    torch.manual_seed(options.seed)
    unet, text = pipeline.unet.requires_grad_(False), pipeline.text_encoder.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=options.rank, lora_alpha=options.rank, target_modules=TARGETS))
    learned = [p for p in unet.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learned, options.rate, betas=(0.9, 0.99), weight_decay=0.0)
    signal, noise = (table.to(options.device) for table in model.signal_and_noise())
    average = [p.detach().clone() for p in learned]
    for step in range(options.steps):
        for group in optimiser.param_groups:
            group["lr"] = options.rate * min(1.0, (step + 1) / 20, 0.02 + (1 - step / options.steps) / 0.4)
        latents, captions = batch(step, options.seed, options.batch)
        ids = pipeline.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        hidden = text(ids.to(options.device)).last_hidden_state
        loss = _loss(unet, latents.to(options.device), hidden, signal, noise)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        keep = min(0.98, (1 + step) / (10 + step))
        torch._foreach_lerp_(average, [p.detach() for p in learned], 1 - keep)
        if step % 20 == 19:
            print(f"lora {step + 1}/{options.steps} loss {loss.item():.4f}", flush=True)
    with torch.no_grad():
        for parameter, mean in zip(learned, average, strict=True):
            parameter.copy_(mean)
    layers = {name: value.half().contiguous() for name, value in get_peft_model_state_dict(unet).items()}
    StableDiffusionPipeline.save_lora_weights(out.parent, unet_lora_layers=layers, weight_name=out.name)
    out.chmod(0o644)
    print(f"{out.name}: {out.stat().st_size} bytes")


def _loss(unet: torch.nn.Module, latents: Tensor, hidden: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    dirt = torch.randn_like(latents)
    t = torch.randint(0, model.TRAIN_STEPS, (len(latents),), device=latents.device)
    a, b = signal[t].view(-1, 1, 1, 1), noise[t].view(-1, 1, 1, 1)
    guess: Tensor = unet(a * latents + b * dirt, t, encoder_hidden_states=hidden).sample
    return (guess - (a * dirt - b * latents)).square().mean()


def main() -> None:
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the pipeline's folder")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default=best)
    options = parser.parse_args()
    train(options.model, options.out, options)


if __name__ == "__main__":
    main()
