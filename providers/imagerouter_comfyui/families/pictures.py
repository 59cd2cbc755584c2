"""Input pictures in a graph: brought to size, turned into the sampler's start, and put back around what was drawn."""

from __future__ import annotations

import msgspec

from imagerouter import Operation
from imagerouter.canvas import Size
from imagerouter_comfyui.families.conditioning import Told
from imagerouter_comfyui.families.draft import Given, Out
from imagerouter_comfyui.families.loading import Parts
from imagerouter_comfyui.families.scene import Scene


class Original(msgspec.Struct, frozen=True):
    """What stays where the mask is black. Both have the asked size."""

    picture: Out
    mask: Out


class Start(msgspec.Struct, frozen=True):
    """What the sampler starts from."""

    told: Told
    latent: Out
    original: Original | None = None


def start(scene: Scene, parts: Parts, told: Told) -> Start:
    kit, settings = scene.kit, scene.settings
    size = settings.size
    from_text = settings.operation is Operation.EDIT and kit.family.edits != "noise"
    if settings.operation is Operation.GENERATE or from_text:
        return Start(told, _empty(scene))
    picture = _source(scene)
    pixels = picture if size.is_whole else _scaled(scene, "source_canvas", picture, _canvas(size))
    if settings.operation is Operation.EDIT:
        return Start(told, scene.add("start", "VAEEncode", pixels=pixels, vae=parts.vae).out())
    mask = _mask(scene)
    original = Original(picture, mask)
    if kit.family.inpaints != "masked":
        return _for_inpainting_model(scene, parts, told, pixels, original)
    encoded = scene.add("source_latent", "VAEEncode", pixels=pixels, vae=parts.vae).out()
    return Start(told, scene.add("start", "SetLatentNoiseMask", samples=encoded, mask=mask).out(), original)


def _empty(scene: Scene) -> Out:
    size = scene.settings.size
    width, height = Given("width", size.canvas_width), Given("height", size.canvas_height)
    return scene.add("start", scene.kit.family.latent, width=width, height=height, batch_size=1).out()


def _for_inpainting_model(scene: Scene, parts: Parts, told: Told, pixels: Out, original: Original) -> Start:
    node = scene.add(
        "start",
        "InpaintModelConditioning",
        positive=told.positive,
        negative=told.negative,
        vae=parts.vae,
        pixels=pixels,
        mask=original.mask,
        noise_mask=True,
    )
    return Start(Told(node.out(0), node.out(1)), node.out(2), original)


def _source(scene: Scene) -> Out:
    size, sources = scene.settings.size, scene.sources
    picture = scene.add("source", "LoadImage", image=Given("images[0]", sources.images[0])).out()
    if sources.image_size == (size.width, size.height):
        return picture
    return _scaled(scene, "source_scaled", picture, (size.width, size.height), crop="center")


def _mask(scene: Scene) -> Out:
    """The mask has the picture's shape, so it is cut in the same way."""
    size, sources = scene.settings.size, scene.sources
    mask = scene.add("mask", "LoadImageMask", image=Given("mask", sources.mask), channel="red").out()
    if sources.image_size == (size.width, size.height):
        return mask
    grey = scene.add("mask_picture", "MaskToImage", mask=mask).out()
    scaled = _scaled(scene, "mask_scaled", grey, (size.width, size.height), method="bilinear", crop="center")
    return scene.add("mask_fitted", "ImageToMask", image=scaled, channel="red").out()


def _scaled(
    scene: Scene, node_id: str, image: Out, size: tuple[int, int], *, method: str = "lanczos", crop: str = "disabled"
) -> Out:
    width, height = Given("width", size[0]), Given("height", size[1])
    return scene.add(
        node_id, "ImageScale", image=image, upscale_method=method, width=width, height=height, crop=crop
    ).out()


def _canvas(size: Size) -> tuple[int, int]:
    return size.canvas_width, size.canvas_height


def finish(scene: Scene, picture: Out, original: Original | None) -> Out:
    """Exactly the asked size, with the original around what was repainted."""
    settings = scene.settings
    size = settings.size if settings.hires is None else settings.hires.size
    if not size.is_whole and settings.operation is Operation.GENERATE:
        x, y = (size.canvas_width - size.width) // 2, (size.canvas_height - size.height) // 2
        picture = scene.add("cropped", "ImageCrop", image=picture, width=size.width, height=size.height, x=x, y=y).out()
    elif not size.is_whole:
        picture = _scaled(scene, "fitted", picture, (size.width, size.height))
    if original is None:
        return picture
    return scene.add(
        "composed",
        "ImageCompositeMasked",
        destination=original.picture,
        source=picture,
        x=0,
        y=0,
        resize_source=False,
        mask=original.mask,
    ).out()
