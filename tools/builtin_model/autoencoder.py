"""The latents: an 8x8 thumbnail in three colour channels, and one channel that says where edges are.

The encoder is not learned. Its weights are written by hand into a stock AutoencoderTiny, so the first three
channels are a linear picture (previews cost one 3x3 matrix) and only the decoder has to be trained.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

FACTOR = 8
CHANNELS = 4
WIDTH = 32
# Fixed once from drawn pictures, so that each channel has mean 0 and variance about 1. Changing them
# changes what the latents mean, and every trained weight with it.
MIX = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, -1.0], [-0.5, 1.0, -0.5]])
MEAN = torch.tensor([0.51, 0.05, -0.02])
SPREAD = torch.tensor([0.23, 0.41, 0.20])
EDGE_CAP, EDGE_MEAN, EDGE_SPREAD = 0.6, 0.05, 0.40


def to_latents(quarters: Tensor) -> Tensor:
    """Latents of pictures given as 4x4 box means (N, 3, H/4, W/4) in 0…1, just as the encoder makes them."""
    cells = quarters.unflatten(2, (-1, 2)).unflatten(4, (-1, 2))
    colour = cells.mean(dim=(3, 5))
    down = (cells[:, :, :, 0] - cells[:, :, :, 1]).mean(dim=-1).abs()
    across = (cells[..., 0] - cells[..., 1]).mean(dim=3).abs()
    edge = (down + across).sum(dim=1, keepdim=True).clamp(max=EDGE_CAP) / EDGE_CAP
    mixed = torch.einsum("oc,nchw->nohw", MIX.to(colour), colour)
    mixed = (mixed - MEAN.to(colour).view(1, 3, 1, 1)) / SPREAD.to(colour).view(1, 3, 1, 1)
    return torch.cat([mixed, (edge - EDGE_MEAN) / EDGE_SPREAD], dim=1)


def preview() -> tuple[Tensor, Tensor]:
    """`rgb = latents[:3] @ matrix + offset`, rgb in 0…1."""
    back = torch.linalg.inv(MIX)
    return (back * SPREAD).T, back @ MEAN


def build() -> AutoencoderTiny:
    vae = AutoencoderTiny(
        encoder_block_out_channels=(16, 16, 16, 16),
        decoder_block_out_channels=(WIDTH,) * 4,
        num_encoder_blocks=(0, 0, 0, 1),
        num_decoder_blocks=(3, 2, 1, 0),
        latent_channels=CHANNELS,
        scaling_factor=1.0,
    )
    with torch.no_grad():
        _write_encoder(vae.encoder.layers)
        _write_decoder(vae.decoder.layers)
    return vae


def _write_encoder(layers: nn.Sequential) -> None:
    first, half, quarter, eighth, block, last = layers
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.zero_()
            if layer.bias is not None:
                layer.bias.zero_()
    for c in range(3):
        first.weight[c, c, 1, 1] = 1
        for conv in (half, quarter, eighth):
            conv.weight[c, c, 1:, 1:] = 0.25
        # Channels 3…8 hold the signed differences within a cell, left-right and top-bottom.
        eighth.weight[3 + c, c, 1:, 1:] = torch.tensor([[0.5, -0.5], [0.5, -0.5]])
        eighth.weight[6 + c, c, 1:, 1:] = torch.tensor([[0.5, 0.5], [-0.5, -0.5]])
    sides, cap, join = (block.conv[i] for i in (0, 2, 4))
    for c in range(6):
        sides.weight[c, 3 + c, 1, 1] = 1
        sides.weight[6 + c, 3 + c, 1, 1] = -1
    # min(edge, cap) is relu(edge) - relu(edge - cap).
    cap.weight[:2, :12, 1, 1] = 1
    cap.bias[1] = -EDGE_CAP
    join.weight[9, 0, 1, 1], join.weight[9, 1, 1, 1] = 1, -1
    last.weight[:3, :3, 1, 1] = MIX / SPREAD[:, None]
    last.bias[:3] = -MEAN / SPREAD
    last.weight[3, 9, 1, 1] = 1 / (EDGE_CAP * EDGE_SPREAD)
    last.bias[3] = -EDGE_MEAN / EDGE_SPREAD


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
