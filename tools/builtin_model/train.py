"""One command: draw, train, save. Stop it at any time; the same command goes on where it stopped.

`python -m tools.builtin_model.train --out build/builtin`
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from . import autoencoder, decoder, denoiser, model


def main() -> None:
    options = _options()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.only in ("all", "decoder"):
        decoder.train(options.work, options.decoder_steps, options.seed, torch.device(options.device))
    if options.only in ("all", "denoiser"):
        denoiser.train(
            denoiser.Plan(
                work=options.work,
                steps=options.steps,
                seed=options.seed,
                batch=options.batch,
                workers=options.workers,
                drawers=options.drawers,
                device=options.device,
                rate=options.rate,
                start=options.start,
                compiled=options.compile,
            )
        )
    if options.only in ("all", "export"):
        export(options.work, options.out)


def export(work: Path, out: Path) -> None:
    """Writes the pipeline directory from whatever has been trained so far."""
    nets, words, step = denoiser.trained(work)
    vae = autoencoder.build()
    vae.load_state_dict(torch.load(work / "decoder.pt", map_location="cpu", weights_only=True)["vae"])
    model.save_pipeline(out, nets.unet, nets.text, vae, words)
    print(f"{out}: denoiser after {step} steps", flush=True)


def _options() -> argparse.Namespace:
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    drawers = 0 if best == "cpu" else max(1, (os.cpu_count() or 1) - 1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/builtin"), help="the pipeline directory to write")
    parser.add_argument("--work", type=Path, default=Path("build/builtin-work"), help="where checkpoints live")
    parser.add_argument("--only", choices=("all", "decoder", "denoiser", "export"), default="all")
    parser.add_argument("--steps", type=int, default=6000, help="denoiser steps in all, resumed ones included")
    parser.add_argument("--decoder-steps", type=int, default=2500)
    parser.add_argument("--batch", type=int, default=16, help="pictures per worker and step")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the work; on CPU, one per core")
    parser.add_argument("--drawers", type=int, default=drawers, help="processes that draw ahead for each worker")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="the highest learning rate")
    parser.add_argument("--start", type=Path, help="a saved pipeline to train further, with whatever new words")
    parser.add_argument("--compile", action="store_true", help="use torch.compile, which needs a C++ compiler")
    parser.add_argument("--device", default=best)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
