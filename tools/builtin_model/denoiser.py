"""Trains the denoiser and the text encoder on pictures that are drawn afresh at every step."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.distributed as dist
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from transformers import CLIPTextModel, CLIPTokenizer

from . import autoencoder, model, samples, tokenizer
from .families import draw_any
from .scenes import Scene

# Latent grids (rows, columns) besides the native square, and how often a step uses one of them.
SQUARE = (16, 16)
OTHERS, OTHERS_SHARE = ((12, 20), (20, 12), (14, 18), (18, 14)), 0.2
# Shapes are learned sooner where little else varies: nothing but that for this share of all steps.
SIMPLE_STEPS = 0.15
EMPTY_CAPTIONS = 0.1
# The text encoder collapses to one vector for all shapes when it learns as fast as the rest.
TEXT_RATE = 0.05
# Noise laid over a picture in other colours than the prompt's, as when a person asks to change one: without these, a
# light edit keeps the old colours.
EDITS = 0.07
# Noise laid over a plain background with an area in nearly its tone, as when a mask is painted over: without these,
# the area keeps the tone that it began with, and its edge can be seen.
PATCHES = 0.15
# Between those training steps both happen; 650 is a strength of 0.65.
RETOUCHED_TIMES = (30, 650)
# Means over so many cells by so many are judged once more: a tone that is a little off over a large area is next to
# nothing of the loss, and is seen at once. Not at steps where the tone is still anybody's guess.
TONE_CELLS, TONE_TIMES = 4, 650


@dataclass(frozen=True)
class Plan:
    work: Path
    steps: int
    seed: int = 0
    batch: int = 16
    workers: int = 1
    drawers: int = 0
    """Processes that draw ahead of each worker; with none a worker draws for itself."""
    device: str = "cpu"
    rate: float = 1.5e-3
    start: Path | None = None
    """A saved pipeline to begin with, instead of weights that know nothing."""
    compiled: bool = False
    """Whether the native size runs through torch.compile: a quarter faster on a CPU, after two minutes of waiting."""
    save_seconds: float = 60.0
    look_steps: int = 1000


@dataclass(frozen=True)
class Lesson:
    """One step's pictures, as 8x8 box means (N, 3, H/8, W/8) in 0…255."""

    wanted: Tensor
    shown: Tensor
    """What the noise lies over: other colours, for those pictures that are being retouched."""
    retouched: Tensor
    """(N,), true for those."""
    captions: list[str]


class Pictures(Dataset[Lesson]):
    """The lesson of each step: the same step always draws the same pictures."""

    def __init__(self, plan: Plan, rank: int) -> None:
        self.plan, self.rank = plan, rank
        self.simple_steps = 0 if plan.start else round(SIMPLE_STEPS * plan.steps)

    def __getitem__(self, step: int) -> Lesson:
        simple = step < self.simple_steps
        choice = Random(f"grid/{self.plan.seed}/{step}")
        rows, columns = choice.choice(OTHERS) if not simple and choice.random() < OTHERS_SHARE else SQUARE
        random = Random(f"pictures/{self.plan.seed}/{step}/{self.rank}")
        factor = autoencoder.FACTOR
        scenes = [draw_any(random, columns * factor, rows * factor, simple) for _ in range(self.plan.batch)]
        captions = ["" if random.random() < EMPTY_CAPTIONS else scene.caption for scene in scenes]
        shown = [_shown(scene, caption, random) for scene, caption in zip(scenes, captions, strict=True)]
        retouched = torch.tensor([after is not scene for after, scene in zip(shown, scenes, strict=True)])
        wanted = [scene.eighth() for scene in scenes]
        painted = [
            after.eighth() if new else picture for after, new, picture in zip(shown, retouched, wanted, strict=True)
        ]
        return Lesson(autoencoder.stacked(wanted), autoencoder.stacked(painted), retouched, captions)

    def since(self, step: int) -> Iterator[Lesson]:
        loader = DataLoader(self, batch_size=None, sampler=range(step, self.plan.steps), num_workers=self.plan.drawers)
        return iter(loader)


def _shown(scene: Scene, caption: str, random: Random) -> Scene:
    """The scene itself, or what a person begins with who asks for it. What is unsaid can't be asked for."""
    chance = random.random()
    if caption and chance < EDITS:
        return scene.recoloured(random)
    return scene.patched(random) if scene.backdrop.is_plain and chance > 1 - PATCHES else scene


class Nets(nn.Module):
    def __init__(self, words: CLIPTokenizer) -> None:
        super().__init__()
        self.unet: UNet2DConditionModel = model.build_unet()
        self.text: CLIPTextModel = model.build_text_encoder(words)


class Trainer:
    """One worker's share; all workers hold equal weights because they average every gradient."""

    def __init__(self, plan: Plan, rank: int) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.rank, self.step = plan, rank, 0
        self.device = torch.device(plan.device, rank) if plan.device == "cuda" else torch.device(plan.device)
        self.words = tokenizer.reload(tokenizer.build())
        self.nets = Nets(self.words).to(self.device, memory_format=torch.channels_last)
        self.fast_unet = torch.compile(self.nets.unet) if plan.compiled else self.nets.unet
        self.average = {name: value.detach().clone() for name, value in self.nets.state_dict().items()}
        self.signal, self.noise = (table.to(self.device) for table in model.signal_and_noise())
        rates = ((self.nets.unet, 1.0), (self.nets.text, TEXT_RATE))
        groups = [{"params": [*net.parameters()], "share": share} for net, share in rates]
        self.optimiser = torch.optim.AdamW(groups, plan.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)

    def ids(self, captions: list[str]) -> Tensor:
        batch = self.words(captions, padding="max_length", truncation=True, return_tensors="pt")
        return batch.input_ids.to(self.device)

    def loss(self, lesson: Lesson) -> Tensor:
        wanted, shown = self._latents(lesson.wanted), self._latents(lesson.shown)
        torch.manual_seed(hash((self.plan.seed, self.step, self.rank)) % 2**31)
        noise = torch.randn_like(wanted)
        retouched = lesson.retouched.to(self.device)
        times = torch.randint_like(retouched, *RETOUCHED_TIMES, dtype=torch.long)
        t = torch.where(retouched, times, self._times(len(wanted)))
        signal, dirt = self.signal[t].view(-1, 1, 1, 1), self.noise[t].view(-1, 1, 1, 1)
        # On the way the old colours fade, so that any part of them may still be there.
        noise = noise + signal / dirt * (shown - wanted) * torch.rand(len(t), 1, 1, 1, device=self.device)
        hidden = self.nets.text(self.ids(lesson.captions)).last_hidden_state
        native = tuple(wanted.shape[2:]) == SQUARE
        unet = self.fast_unet if native else self.nets.unet
        guess = unet(signal * wanted + dirt * noise, t, encoder_hidden_states=hidden, return_dict=False)[0]
        error = guess - (signal * noise - dirt * wanted)
        tones = functional.avg_pool2d(error[:, :3], TONE_CELLS).square().mean(dim=(1, 2, 3))
        return error.square().mean() + (tones * (t < TONE_TIMES)).mean()

    def _latents(self, eighths: Tensor) -> Tensor:
        latents = autoencoder.to_latents(eighths.to(self.device).float() / 255)
        return latents.contiguous(memory_format=torch.channels_last)

    def _times(self, count: int) -> Tensor:
        """Even over all steps, plus more where layout and shape are decided, until they are known."""
        t = torch.randint(0, model.TRAIN_STEPS, (count,), device=self.device)
        middle = torch.randint(250, model.TRAIN_STEPS, (count,), device=self.device)
        share = 0.6 if self.step < 0.8 * self.plan.steps else 0.3
        return torch.where(torch.rand(count, device=self.device) < share, middle, t)

    def advance(self, lesson: Lesson) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate * group["share"] * _rate(self.step, self.plan.steps)
        self.optimiser.zero_grad()
        loss = self.loss(lesson)
        loss.backward()
        if self.plan.workers > 1:
            _average_gradients(self.nets, self.plan.workers)
        nn.utils.clip_grad_norm_(self.nets.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        self._follow()
        return loss.item()

    def _follow(self) -> None:
        """The moving average of the weights is what ships; it starts short so early saves are usable."""
        keep = min(0.998, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.nets.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - keep)

    def save(self) -> None:
        path = self.plan.work / "denoiser.pt"
        state = {"nets": self.nets.state_dict(), "optimiser": self.optimiser.state_dict()}
        more = {"average": self.average, "step": self.step, "vocabulary": self.words.get_vocab()}
        torch.save({**state, **more}, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self) -> None:
        path = self.plan.work / "denoiser.pt"
        if not path.exists():
            if self.plan.start:
                self._adopt(self.plan.start)
            return
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        if state["vocabulary"] != self.words.get_vocab():
            raise ValueError(f"`{path}` knows other words than scenes now use: start in a new directory")
        self.nets.load_state_dict(state["nets"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average = {name: value.clone() for name, value in state["average"].items()}
        self.step = state["step"]

    def _adopt(self, folder: Path) -> None:
        """Begins with saved weights; words that they do not know begin like the words they resemble."""
        unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", variant="fp16")
        text = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", variant="fp16", dtype=torch.float32)
        old = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer").get_vocab()
        table = self.nets.text.get_input_embeddings().weight
        with torch.no_grad():
            mine = self.words.get_vocab()
            for token in mine.keys() & old.keys():
                table[mine[token]] = text.get_input_embeddings().weight[old[token]]
            known = {token.removesuffix(tokenizer.LAST) for token in old if token.endswith(tokenizer.LAST)}
            model.liken(table, self.words, {word for word in tokenizer.words() if word not in known})
        learned = {name: value for name, value in text.state_dict().items() if "token_embedding" not in name}
        self.nets.text.load_state_dict(learned, strict=False)
        self.nets.unet.load_state_dict(unet.state_dict())
        self.average = {name: value.detach().clone() for name, value in self.nets.state_dict().items()}


def _rate(step: int, steps: int) -> float:
    """Warm up over 100 steps, fall to a fiftieth over the last three tenths."""
    return min(1.0, (step + 1) / 100, 0.02 + (1 - step / steps) / 0.3)


def _average_gradients(nets: nn.Module, workers: int) -> None:
    gradients = [p.grad for p in nets.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= workers
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def work(rank: int, plan: Plan) -> None:
    """One worker from start to end; also the whole of training when there is only one."""
    torch.set_float32_matmul_precision("high")
    if plan.workers > 1:
        torch.set_num_threads(1)
        rendezvous = f"file://{plan.work.resolve() / 'rendezvous'}"
        backend = "nccl" if plan.device == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=rendezvous, rank=rank, world_size=plan.workers)
    trainer = Trainer(plan, rank)
    trainer.resume()
    started, first, losses = time.monotonic(), trainer.step, []
    saved = started
    for lesson in Pictures(plan, rank).since(trainer.step):
        losses.append(trainer.advance(lesson))
        last = trainer.step == plan.steps
        look = rank == 0 and (last or trainer.step % plan.look_steps == 0)
        if rank == 0 and (look or time.monotonic() - saved > plan.save_seconds):
            trainer.save()
            saved = time.monotonic()
            speed = (trainer.step - first) * plan.batch * plan.workers / (saved - started)
            _log(plan, trainer.step, sum(losses) / len(losses), speed)
            losses.clear()
        if look:
            samples.look(plan.work, *trained(plan.work), trainer.device)
    if plan.workers > 1:
        dist.destroy_process_group()


def _log(plan: Plan, step: int, loss: float, speed: float) -> None:
    line = {"step": step, "of": plan.steps, "loss": round(loss, 4), "pictures_per_second": round(speed)}
    print("denoiser", json.dumps(line), flush=True)
    with (plan.work / "log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")


def train(plan: Plan) -> None:
    (plan.work / "rendezvous").unlink(missing_ok=True)
    if plan.workers == 1:
        work(0, plan)
    else:
        # Stopping this process must stop its workers too: daemons end with it, but only if it ends in order.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        torch.multiprocessing.spawn(work, (plan,), nprocs=plan.workers, daemon=True)


def trained(folder: Path) -> tuple[Nets, CLIPTokenizer, int]:
    """The averaged weights of the last save."""
    words = tokenizer.build()
    nets = Nets(words)
    state = torch.load(folder / "denoiser.pt", map_location="cpu", weights_only=True)
    nets.load_state_dict(state["average"])
    return nets, words, int(state["step"])
