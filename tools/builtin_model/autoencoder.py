"""The latents: a 16x16 thumbnail in three colour channels, and nine that say how each cell differs inside.

Together they are an 8x8 thumbnail, by a Haar transform: as fine a picture as latents of twice the side, at a
quarter of the denoiser's work. The encoder is not learned. Its weights are written by hand into a stock
AutoencoderTiny, so the first three channels are a linear picture (previews cost one 3x3 matrix) and only the
decoder has to be trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from .scenes import Picture

FACTOR = 16
CHANNELS = 12
WIDTH = 32
# Fixed once from drawn pictures, so that each colour channel has mean 0 and variance about 1. Changing them
# changes what the latents mean, and every trained weight with it.
MIX = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, -1.0], [-0.5, 1.0, -0.5]])
MEAN = torch.tensor([0.55, 0.07, -0.02])
SPREAD = torch.tensor([0.24, 0.42, 0.21])
# What a cell's four quarters (rows, columns) count for in its mean, and in its differences across, down and
# cornerwise. Differences are rare and small, and all that tells one shape from another: they count double.
HAAR = torch.tensor([[[1, 1], [1, 1]], [[1, -1], [1, -1]], [[1, 1], [-1, -1]], [[1, -1], [-1, 1]]]) / 4.0
WEIGHT = torch.tensor([1.0, 2.0, 2.0, 2.0])


def stacked(pictures: Sequence[Picture]) -> Tensor:
    """Pictures of one size, as networks want them: (N, 3, rows, columns), still bytes."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def to_latents(eighths: Tensor) -> Tensor:
    """Latents of pictures given as 8x8 box means (N, 3, H/8, W/8) in 0…1, just as the encoder makes them."""
    colour = torch.einsum("oc,nchw->nohw", MIX.to(eighths), eighths)
    colour = (colour - MEAN.to(colour).view(1, 3, 1, 1)) / SPREAD.to(colour).view(1, 3, 1, 1)
    cells = colour.unflatten(2, (-1, 2)).unflatten(4, (-1, 2))
    kernels = (HAAR * WEIGHT.view(4, 1, 1)).to(colour)
    return torch.einsum("kyx,nchywx->nkchw", kernels, cells).flatten(1, 2)


def preview() -> tuple[Tensor, Tensor]:
    """`rgb = latents[:3] @ matrix + offset`, rgb in 0…1."""
    back = torch.linalg.inv(MIX)
    return (back * SPREAD).T, back @ MEAN


def build() -> AutoencoderTiny:
    vae = AutoencoderTiny(
        encoder_block_out_channels=(16,) * 5,
        decoder_block_out_channels=(WIDTH,) * 5,
        num_encoder_blocks=(0,) * 5,
        num_decoder_blocks=(3, 3, 2, 1, 0),
        latent_channels=CHANNELS,
        scaling_factor=1.0,
    )
    with torch.no_grad():
        _write_encoder(vae.encoder.layers)
        _write_decoder(vae.decoder.layers)
    return vae


def _write_encoder(layers: nn.Sequential) -> None:
    first, half, quarter, eighth, sixteenth, last = layers
    for layer in (first, half, quarter, eighth, sixteenth, last):
        layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.zero_()
    for c in range(3):
        first.weight[c, c, 1, 1] = 1
        for conv in (half, quarter, eighth):
            conv.weight[c, c, 1:, 1:] = 0.25
        for k, kernel in enumerate(HAAR):
            sixteenth.weight[3 * k + c, c, 1:, 1:] = kernel
    for k, weight in enumerate(WEIGHT):
        last.weight[3 * k : 3 * k + 3, 3 * k : 3 * k + 3, 1, 1] = MIX / SPREAD[:, None] * weight
    last.bias[:3] = -MEAN / SPREAD


def _write_decoder(layers: nn.Sequential) -> None:
    """Starts as a blocky enlargement in the first three channels; training only has to sharpen it."""
    matrix, offset = preview()
    convs = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            layer.weight[:3].zero_()
        elif hasattr(layer, "conv"):
            layer.conv[4].weight.mul_(0.1)
            layer.conv[4].bias.zero_()
            layer.conv[4].weight[:3].zero_()
    first, *middle, last = convs
    first.weight[:3, :3, 1, 1] = matrix.T
    first.bias[:3] = offset
    for conv in middle:
        conv.weight[range(3), range(3), 1, 1] = 1
    last.weight.mul_(0.1)
    last.weight[range(3), range(3), 1, 1] = 1
    last.bias.zero_()
