"""Request + model + what the server has → an order with nothing left open. Refuses what can't be drawn as asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from imagerouter import ImageRequest, InvalidParameterError, MisconfiguredError, Operation, ProviderRejectedError
from imagerouter.canvas import LARGEST, Size, choose
from imagerouter.names import demand, find
from imagerouter_a1111 import options, parity, pictures, prompts
from imagerouter_a1111.config import A1111Config
from imagerouter_a1111.recipe import Order, Recipe, Sampler, SecondPass, Stock

EDIT_STRENGTH = 0.75
"""An edit without a mask keeps the composition; an area to repaint is drawn anew."""
INPAINT_STRENGTH = 1.0
HIRES_STRENGTH = 0.5
UPSCALER = "Latent"
"""Enlarges the unfinished picture itself."""
_ANYWHERE = "euler"
"""A sampler that draws with any model."""
_SPREADING = ("karras", "exponential")
"""Schedulers by which stable-diffusion.cpp divides by the number of steps less one: one step draws a single colour."""
_LARGEST_SOURCE = 4
"""An input picture sets the size up to so many times the native area."""
_LEAST_CANVAS = 64
"""Below it the networks have no picture left at their lowest level, and the server fails."""
_NO_VAE = ("Automatic", "None")
"""Values of ``sd_vae`` that are no file: the one that the owner has put beside the checkpoint, and its own."""


async def settle(request: ImageRequest, recipe: Recipe, stock: Stock, config: A1111Config, name: str) -> Order:
    """Raises `ProviderRejectedError` and `InvalidParameterError` with ``param``, or `MisconfiguredError`.

    :param name: of the provider.
    """
    _check(request, recipe, stock, config)
    further = options.checked(request.options, stock, config, recipe)
    source = await pictures.source(request)
    honoured = _Honoured(request, recipe, stock)
    sampler, canonical = honoured.sampler()
    size = _size(request, None if source is None else source.size, recipe)
    order = Order(
        request=request,
        recipe=recipe,
        size=size,
        steps=_steps(request, recipe),
        cfg_scale=_cfg_scale(request, recipe, stock),
        guidance=_guidance(request, recipe),
        sampler=sampler,
        strength=_strength(request),
        clip_skip=request.clip_skip if honoured.has("clip_skip") else None,
        vae=honoured.vae(name),
        loras=prompts.loras(request, stock) if honoured.has("loras") else (),
        hires=honoured.second_pass(size),
        options=_with_blur(further, request, config),
    )
    if source is not None:
        picture, mask = await pictures.sent(source, size)
        order = replace(order, picture=picture, mask=mask)
    return _told(order, canonical)


def _told(order: Order, canonical: tuple[str, str | None]) -> Order:
    """With what is told about it: the values that are really used, and the parameters that aren't."""
    honoured = frozenset(order.recipe.model.parameters) - _without_effect(order)
    applied = {name: value for name, value in _used(order, canonical).items() if value is not None and name in honoured}
    return replace(order, applied=applied, ignored=order.request.parameters - honoured)


def _check(request: ImageRequest, recipe: Recipe, stock: Stock, config: A1111Config) -> None:
    prompts.check(request.prompt, "prompt", stock, config)
    prompts.check(request.negative_prompt or "", "negative_prompt", stock, config)
    if len(request.images) > 1:
        message = f"{recipe.traits.title} takes 1 input image at most"
        raise ProviderRejectedError(message, param="images[1]")


@dataclass(frozen=True)
class _Honoured:
    """A request, as far as the model honours it, in the names of the server."""

    request: ImageRequest
    recipe: Recipe
    stock: Stock

    def has(self, parameter: str) -> bool:
        return parameter in self.recipe.model.parameters

    def sampler(self) -> tuple[Sampler, tuple[str, str | None]]:
        """As the server writes it, and the canonical names of sampler and scheduler."""
        samplers, usual = self.stock.choices, self.recipe.traits.usual
        wanted = self.request.sampler if self.has("sampler") else None
        scheduler = self.request.scheduler if self.has("scheduler") else None
        if wanted is None:
            preferred = (usual.sampler, _ANYWHERE, *samplers.samplers)
            wanted = next((name for name in preferred if name in samplers.samplers), _ANYWHERE)
        name = samplers.named(wanted)
        is_spread = not (self.stock.dialect.name == "sdcpp" and _steps(self.request, self.recipe) == 1)
        if scheduler is None and usual.scheduler in samplers.of(name) and is_spread:
            scheduler = usual.scheduler
        is_same = parity.wanted(self.request, self.recipe) is not None
        found = samplers.find(*parity.same(name, scheduler, samplers) if is_same else (name, scheduler))
        if not is_spread and found.scheduler in _SPREADING:
            raise ProviderRejectedError(f"`scheduler` can't be `{scheduler}` with one step", param="scheduler")
        return found, (name, scheduler or samplers.own(name))

    def vae(self, provider: str) -> str | None:
        dialect, own = self.stock.dialect, self.recipe.entry.vae
        there = (*self.stock.vaes, *(_NO_VAE if dialect.vae_setting == "sd_vae" else ()))
        if self.request.vae is not None and self.has("vae"):
            return demand(self.request.vae, there, "vae", "VAE")
        if own is None:
            return None
        found = find(own, there)
        if found is None:
            raise MisconfiguredError(f"provider `{provider}` has no VAE `{own}`, which `{self.recipe.model.id}` needs")
        return found

    def second_pass(self, size: Size) -> SecondPass | None:
        hires = self.request.hires
        if hires is None or self.request.operation is not Operation.GENERATE or not self.has("hires"):
            return None
        larger = size.scaled(hires.scale, self.recipe.model.size_multiple)
        if max(larger.canvas_width, larger.canvas_height) > LARGEST:
            raise InvalidParameterError(f"`hires.scale` makes it larger than {LARGEST} pixels", param="hires.scale")
        return SecondPass(
            width=larger.canvas_width,
            height=larger.canvas_height,
            steps=hires.steps or _steps(self.request, self.recipe),
            strength=_or(hires.strength, HIRES_STRENGTH),
            upscaler=upscaler(hires.upscaler or UPSCALER, self.stock.upscalers),
        )


def _size(request: ImageRequest, source: tuple[int, int] | None, recipe: Recipe) -> Size:
    model = recipe.model
    size = choose(
        request,
        source,
        native=(model.width, model.height),
        multiple=model.size_multiple,
        times=_LARGEST_SOURCE,
    )
    if max(size.canvas_width, size.canvas_height) > LARGEST:
        raise InvalidParameterError(f"`width` and `height` can't be more than {LARGEST} pixels", param="width")
    return replace(
        size,
        canvas_width=max(size.canvas_width, _LEAST_CANVAS),
        canvas_height=max(size.canvas_height, _LEAST_CANVAS),
    )


def _steps(request: ImageRequest, recipe: Recipe) -> int:
    return request.steps or recipe.traits.usual.steps


def _cfg_scale(request: ImageRequest, recipe: Recipe, stock: Stock) -> float:
    """1 switches it off, where the family has none; so does less than that in diffusers' pipelines."""
    usual = recipe.traits.usual.cfg_scale
    chosen = 1.0 if usual is None else _or(request.cfg_scale, usual)
    return max(1.0, chosen) if stock.dialect.name == "sdnext" else chosen


def _guidance(request: ImageRequest, recipe: Recipe) -> float | None:
    usual = recipe.traits.usual.guidance
    return None if usual is None else _or(request.guidance, usual)


def _strength(request: ImageRequest) -> float | None:
    if request.operation is Operation.GENERATE:
        return None
    return _or(request.strength, EDIT_STRENGTH if request.operation is Operation.EDIT else INPAINT_STRENGTH)


def _or(given: float | None, usual: float) -> float:
    return usual if given is None else given


def _with_blur(further: dict[str, Any], request: ImageRequest, config: A1111Config) -> Mapping[str, Any]:
    """The finished picture is put together with the same softened mask."""
    if request.operation is Operation.INPAINT and config.mask_blur:
        return {"mask_blur": config.mask_blur, **further}
    return further


def upscaler(wanted: str, there: tuple[str, ...]) -> str:
    """The server's name for one: "Latent (bicubic)" is SD.Next's "Latent Bicubic". Raises `ProviderRejectedError`."""
    found = find(wanted, there)
    if found is not None:
        return found
    words = _words(wanted)
    meant = next((one for one in there if _words(one) == words), None)
    return meant if meant is not None else demand(wanted, there, "hires.upscaler", "upscaler")


def _words(name: str) -> frozenset[str]:
    spaced = name.casefold().replace("antialiased", "antialias").translate(str.maketrans("()-_", "    "))
    words = frozenset(spaced.split()) - {"resize"}
    return words | {"bilinear"} if "latent" in words and words <= {"latent", "antialias"} else words


def _without_effect(order: Order) -> frozenset[str]:
    """Parameters that the model honours, but not in this request."""
    without = {"strength"} if order.strength is None else {"hires"}
    if order.cfg_scale == 1:
        without.add("negative_prompt")
    return frozenset(without)


def _used(order: Order, canonical: tuple[str, str | None]) -> dict[str, Any]:
    """Canonical parameter → the value that is really used; ``None`` where there is none."""
    request, hires, size = order.request, order.hires, pictures.delivered(order)
    sampler, scheduler = canonical
    return {
        "width": size.width,
        "height": size.height,
        "seed": request.seed,
        "steps": order.steps,
        "cfg_scale": order.cfg_scale,
        "guidance": order.guidance,
        "sampler": sampler,
        "scheduler": scheduler,
        "strength": order.strength,
        "clip_skip": order.clip_skip,
        "negative_prompt": request.negative_prompt or None,
        "vae": order.vae,
        "loras": [{"name": name, "weight": weight} for name, weight in order.loras] or None,
        "hires": None
        if hires is None or request.hires is None
        else {
            "scale": request.hires.scale,
            "steps": hires.steps,
            "strength": hires.strength,
            "upscaler": hires.upscaler,
        },
    }
