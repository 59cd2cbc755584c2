"""Prompt → embeddings for CLIP text encoders: any length, weights, clip skip.

diffusers cuts a prompt after 77 tokens, knows no weights, and its own ``clip_skip`` fails with current
transformers. Chunks, padding and weights here follow ComfyUI, so that the same prompt means the same there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_TOKENS = re.compile(r"\\[()\\]|\(|\)|:\s*([+-]?\d*\.?\d+)\s*\)|[^\\():]+|:|\\")
_EMPHASIS = 1.1


@dataclass(frozen=True)
class Span:
    """A piece of a prompt that has one weight."""

    text: str
    weight: float = 1.0


def parse(prompt: str) -> list[Span]:
    r"""``(a)`` weighs 1.1, ``(a:1.3)`` 1.3, nested ones multiply, ``\(`` is an ordinary bracket.

    A bracket without its partner is an ordinary character: a prompt is never refused for its punctuation.
    """
    pieces: list[tuple[str, list[float]]] = []
    opened: list[int] = []
    for match in _TOKENS.finditer(prompt):
        token, weight = match[0], match[1]
        if token == "(":  # noqa: S105 - not a password
            opened.append(len(pieces))
            pieces.append(("", []))
        elif opened and (token == ")" or weight is not None):  # noqa: S105
            start = opened.pop()
            for _, weights in pieces[start:]:
                weights.append(float(weight) if weight is not None else _EMPHASIS)
        else:
            pieces.append((token[1:] if len(token) == 2 and token[0] == "\\" else token, []))
    for start in opened:
        pieces[start] = ("(", pieces[start][1])
    return _merge(pieces)


def _merge(pieces: list[tuple[str, list[float]]]) -> list[Span]:
    spans: list[Span] = []
    for text, weights in pieces:
        weight = 1.0
        for factor in weights:
            weight *= factor
        if text and spans and spans[-1].weight == weight:
            spans[-1] = Span(spans[-1].text + text, weight)
        elif text:
            spans.append(Span(text, weight))
    return spans or [Span("")]


@dataclass(frozen=True)
class Embeddings:
    """What a CLIP-conditioned pipeline takes instead of prompts."""

    positive: Any
    negative: Any
    pooled: Any = None
    negative_pooled: Any = None

    def arguments(self) -> dict[str, Any]:
        named = {
            "prompt_embeds": self.positive,
            "negative_prompt_embeds": self.negative,
            "pooled_prompt_embeds": self.pooled,
            "negative_pooled_prompt_embeds": self.negative_pooled,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class _Layer:
    """Which hidden states condition the model."""

    depth: int
    """1 is the last layer."""
    normalise: bool


def can_encode(pipe: Any) -> bool:
    """Whether this pipeline is conditioned by CLIP alone (Stable Diffusion 1.x, 2.x, XL and their like)."""
    encoders = _encoders(pipe)
    return (
        bool(encoders)
        and type(pipe).__name__.startswith(("StableDiffusion", "LatentConsistency"))
        and not hasattr(pipe, "text_encoder_3")
        and all(type(encoder).__name__.startswith("CLIPText") for _, encoder in encoders)
    )


def _encoders(pipe: Any) -> list[tuple[Any, Any]]:
    pairs = [
        (getattr(pipe, "tokenizer", None), getattr(pipe, "text_encoder", None)),
        (getattr(pipe, "tokenizer_2", None), getattr(pipe, "text_encoder_2", None)),
    ]
    return [(tokenizer, encoder) for tokenizer, encoder in pairs if tokenizer is not None and encoder]


def encode(pipe: Any, prompt: str, negative: str, clip_skip: int | None, *, guided: bool) -> Embeddings:
    """Both prompts, padded to the same number of chunks. An empty one is encoded like any other."""
    import torch

    positive_spans, negative_spans = parse(prompt), parse(negative)
    is_xl = hasattr(pipe, "text_encoder_2")
    positives, negatives = [], []
    pooled: tuple[Any, Any] = (None, None)
    with torch.inference_mode():
        for tokenizer, encoder in _encoders(pipe):
            sides = [_chunks(tokenizer, spans) for spans in (positive_spans, negative_spans)]
            count = max(len(side) for side in sides)
            layer = _layer(clip_skip, is_xl=is_xl)
            done = [_encode_side(tokenizer, encoder, side, count, layer) for side in sides]
            positives.append(done[0][0])
            negatives.append(done[1][0])
            pooled = (done[0][1], done[1][1])
    both = [torch.cat(parts, dim=-1).clone() for parts in (positives, negatives)]
    if not is_xl:
        return Embeddings(both[0], both[1] if guided else None)
    return Embeddings(both[0], both[1] if guided else None, pooled[0].clone(), pooled[1].clone() if guided else None)


def _layer(clip_skip: int | None, *, is_xl: bool) -> _Layer:
    if is_xl:
        # XL was trained on the last layer but one, without the final norm.
        return _Layer(max(clip_skip or 2, 2), normalise=False)
    return _Layer(clip_skip or 1, normalise=True)


def _chunks(tokenizer: Any, spans: list[Span]) -> list[list[tuple[int, float]]]:
    """Token ids with weights, without start and end marks, in chunks that fit the encoder."""
    room = int(tokenizer.model_max_length) - 2
    tokens = [
        (int(token), span.weight)
        for span in spans
        for token in tokenizer(span.text, add_special_tokens=False, verbose=False).input_ids
    ]
    return [tokens[start : start + room] for start in range(0, len(tokens), room)] or [[]]


def _encode_side(
    tokenizer: Any, encoder: Any, chunks: list[list[tuple[int, float]]], count: int, layer: _Layer
) -> tuple[Any, Any]:
    import torch

    chunks = chunks + [[]] * (count - len(chunks))
    hidden, pooled = _run(encoder, [_ids(tokenizer, chunk) for chunk in chunks], layer)
    weights = torch.ones(hidden.shape[:2], device=hidden.device, dtype=hidden.dtype)
    for index, chunk in enumerate(chunks):
        for position, (_, weight) in enumerate(chunk, start=1):
            weights[index, position] = weight
    if bool((weights != 1).any()):
        empty, _ = _run(encoder, [_ids(tokenizer, [])], layer)
        hidden = torch.where(weights[..., None] != 1, empty + weights[..., None] * (hidden - empty), hidden)
    return hidden.reshape(1, -1, hidden.shape[-1]), pooled[:1]


def _ids(tokenizer: Any, chunk: list[tuple[int, float]]) -> list[int]:
    end = tokenizer.eos_token_id
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
    ids = [tokenizer.bos_token_id, *(token for token, _ in chunk), end]
    return [*ids, *[padding] * (int(tokenizer.model_max_length) - len(ids))]


def _run(encoder: Any, ids: list[list[int]], layer: _Layer) -> tuple[Any, Any]:
    """Hidden states of one layer, and the pooled text."""
    import torch

    output = encoder(torch.tensor(ids, device=encoder.device), output_hidden_states=True)
    pooled = output.text_embeds if "text_embeds" in output else output.pooler_output
    if layer.depth == 1:
        return output.last_hidden_state, pooled
    hidden = output.hidden_states[-min(layer.depth, len(output.hidden_states))]
    if layer.normalise:
        # Older transformers keep the text model one attribute deeper.
        hidden = getattr(encoder, "text_model", encoder).final_layer_norm(hidden)
    return hidden, pooled
