"""Prompt → embeddings for CLIP text encoders: any length, weights, clip skip.

diffusers cuts a prompt after 77 tokens, knows no weights, and its own ``clip_skip`` fails with current
transformers. Chunks, padding and weights here follow ComfyUI, so that the same prompt means the same there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_EMPHASIS = 1.1
_DEEPEST = 50
"""Brackets within brackets that are looked into; 1.1 to this power is far more than any model takes."""
_WORD = 8
"""A piece of fewer tokens isn't cut in two."""
_HIDDEN = (("\\)", "\0\1"), ("\\(", "\0\2"))
"""Escaped brackets, and what stands for them while the others are looked for."""
_SD2_LAYERS = 23
"""Of 24: files for diffusers leave out the last one, which nothing looks at."""


@dataclass(frozen=True)
class Span:
    """A piece of a prompt that has one weight."""

    text: str
    weight: float = 1.0


def parse(prompt: str) -> list[Span]:
    r"""``(a)`` weighs 1.1, ``(a:1.3)`` 1.3 wherever it stands, ``((a))`` 1.21; ``\(`` is an ordinary bracket.

    A bracket without its partner is an ordinary character: a prompt is never refused for its punctuation.
    """
    for written, hidden in _HIDDEN:
        prompt = prompt.replace(written, hidden)
    spans: list[Span] = []
    todo = [(piece, 1.0, 1) for piece in _pieces(prompt)][::-1]
    while todo:
        piece, weight, depth = todo.pop()
        if len(piece) > 1 and piece[0] == "(" and piece[-1] == ")" and depth <= _DEEPEST:
            inner, weight = _weighed(piece[1:-1], weight * _EMPHASIS)
            todo += [(part, weight, depth + 1) for part in _pieces(inner)][::-1]
        else:
            spans.append(Span(_shown(piece), weight))
    return spans or [Span("")]


def _pieces(text: str) -> Iterator[str]:
    """Outermost brackets with all that is in them, and what is between those."""
    start = depth = 0
    for place, sign in enumerate(text):
        if sign == "(":
            if depth == 0 and place > start:
                yield text[start:place]
                start = place
            depth += 1
        elif sign == ")":
            depth -= 1
            if depth == 0:
                yield text[start : place + 1]
                start = place + 1
    if start < len(text):
        yield text[start:]


def _weighed(inner: str, usual: float) -> tuple[str, float]:
    text, colon, number = inner.rpartition(":")
    try:
        return (text, float(number)) if colon and text else (inner, usual)
    except ValueError:
        return inner, usual


def _shown(text: str) -> str:
    for written, hidden in _HIDDEN:
        text = text.replace(hidden, written[-1])
    return text


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
    """Both prompts, at the same length. An empty one is encoded like any other."""
    import torch

    encoders = _encoders(pipe)
    is_xl = hasattr(pipe, "text_encoder_2")
    with torch.inference_mode():
        sides = []
        for text in (prompt, negative) if guided else (prompt,):
            spans = parse(text)
            done = [_encode_side(*pair, spans, _layer(clip_skip, pair[1], is_xl=is_xl)) for pair in encoders]
            sides.append((torch.cat([hidden for hidden, _ in done], dim=-1), done[-1][1] if is_xl else None))
        length = math.lcm(*(hidden.shape[1] for hidden, _ in sides))
        dtype = encoders[0][1].dtype
        # Attention over a text that is repeated is attention over the text.
        texts = [hidden.repeat(1, length // hidden.shape[1], 1).to(dtype) for hidden, _ in sides]
        pooled = [None if found is None else found.to(dtype) for _, found in sides]
    # Pipelines may write to what they are given, which they can't to tensors made in inference mode.
    parts = [None if part is None else part.clone() for part in (*texts, *pooled)]
    if not guided:
        return Embeddings(parts[0], None, parts[1])
    return Embeddings(*parts)


def _layer(clip_skip: int | None, encoder: Any, *, is_xl: bool) -> _Layer:
    """``clip_skip`` counts from the last layer that was trained, even where a file leaves that out."""
    if is_xl:
        # XL was trained on the last layer but one, without the final norm.
        return _Layer(max(clip_skip or 2, 2), normalise=False)
    if encoder.config.num_hidden_layers == _SD2_LAYERS:
        return _Layer(max(clip_skip or 2, 2) - 1, normalise=True)
    return _Layer(clip_skip or 1, normalise=True)


def _chunks(tokenizer: Any, spans: list[Span]) -> list[list[tuple[int, float]]]:
    """Token ids with weights, without start and end marks, in chunks that fit the encoder."""
    room = int(tokenizer.model_max_length) - 2
    chunks: list[list[tuple[int, float]]] = [[]]
    for span in spans:
        ids = tokenizer(span.text, add_special_tokens=False, verbose=False).input_ids if span.text else []
        tokens = [(int(token), span.weight) for token in ids]
        if len(tokens) < _WORD and len(tokens) > room - len(chunks[-1]):
            chunks.append([])
        while tokens:
            if len(chunks[-1]) == room:
                chunks.append([])
            free = room - len(chunks[-1])
            chunks[-1] += tokens[:free]
            tokens = tokens[free:]
    return chunks


def _encode_side(tokenizer: Any, encoder: Any, spans: list[Span], layer: _Layer) -> tuple[Any, Any]:
    """Hidden states (1, tokens, features) in single precision, and the first chunk's pooled text."""
    import torch

    chunks = _chunks(tokenizer, spans)
    hidden, pooled = _run(encoder, [_ids(tokenizer, chunk) for chunk in chunks], layer)
    weights = torch.ones(hidden.shape[:2])
    for index, chunk in enumerate(chunks):
        weights[index, 1 : len(chunk) + 1] = torch.tensor([weight for _, weight in chunk])
    if bool((weights != 1).any()):
        weights = weights.to(hidden.device)[..., None]
        empty, _ = _run(encoder, [_ids(tokenizer, [])], layer)
        hidden = torch.where(weights != 1, (hidden - empty) * weights + empty, hidden)
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
        return output.last_hidden_state.float(), pooled
    hidden = output.hidden_states[-min(layer.depth, len(output.hidden_states))]
    if layer.normalise:
        # Older transformers keep the text model one attribute deeper.
        hidden = getattr(encoder, "text_model", encoder).final_layer_norm(hidden)
    return hidden.float(), pooled
