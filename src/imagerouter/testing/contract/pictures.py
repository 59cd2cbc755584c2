"""Contract tests about pictures: how many, how large, and which seed gives which."""

from __future__ import annotations

import pytest
from msgspec import structs

from imagerouter.parameters import DECLARABLE
from imagerouter.provider import Model
from imagerouter.testing.contract.base import SAMPLES, AnyProvider, ContractBase, Recorder, can, honours
from imagerouter.testing.drawing import decode, make_image
from imagerouter.types import Image, ImageRequest, Images, Lora, Operation


async def draw(provider: AnyProvider, request: ImageRequest) -> Images:
    return await provider.generate(request, Recorder())


def sizes_of(images: Images) -> set[tuple[int, int]]:
    return {decode(image).size for image in images.images}


def files_of(images: Images) -> list[bytes]:
    return [image.data for image in images.images]


class PictureTests(ContractBase):
    """What comes back."""

    async def test_it_offers_at_least_one_model(self, provider: AnyProvider) -> None:
        models = await provider.models()
        assert models
        names = [model.id for model in models]
        assert len(set(names)) == len(names), "native names have to be unique"
        assert all(names)

    async def test_every_model_declares_what_it_can_do(self, provider: AnyProvider) -> None:
        for model in await provider.models():
            assert model.operations, f"{model.id!r} offers no operation"
            assert set(model.parameters) <= DECLARABLE
            assert min(model.width, model.height, model.size_multiple) > 0
            needed = {Operation.EDIT: {"images"}, Operation.INPAINT: {"images", "mask"}}
            for operation in model.operations:
                assert needed.get(operation, set()) <= set(model.parameters)

    async def test_every_declared_parameter_has_a_descriptor_that_can_be_met(self, provider: AnyProvider) -> None:
        for model in await provider.models():
            for name, limits in model.parameters.items():
                if limits.type == "range" and limits.min is not None and limits.max is not None:
                    assert limits.min <= limits.max, name
                if limits.type == "enum":
                    assert limits.values is not None, name
                if limits.default is not None:
                    assert limits.refusal(limits.default) is None, name

    async def test_what_it_has_beside_its_models_is_told_in_names(self, provider: AnyProvider) -> None:
        await provider.models()
        for kind, names in structs.asdict(await provider.extras()).items():
            assert all(isinstance(name, str) and name.strip() for name in names), kind
            assert len(set(names)) == len(names), f"{kind} are listed twice"

    async def test_a_listed_lora_can_be_asked_for(self, provider: AnyProvider, model: Model) -> None:
        honours(model, "loras")
        if not (names := (await provider.extras()).loras):
            pytest.skip("it lists no LoRA")
        images = await draw(provider, self.ask(model, loras=(Lora(names[0]),)))
        assert "loras" not in images.ignored

    async def test_it_draws_as_many_pictures_as_asked(self, provider: AnyProvider, model: Model) -> None:
        images = await draw(provider, self.ask(model, n=3))
        assert len(images.images) == 3
        assert len(set(files_of(images))) == 3, "images of one request must differ from each other"

    async def test_image_i_is_the_picture_that_its_own_seed_gives_alone(
        self, provider: AnyProvider, model: Model
    ) -> None:
        honours(model, "seed")
        together = await draw(provider, self.ask(model, n=3, seed=77))
        alone = [await draw(provider, self.ask(model, n=1, seed=77 + index)) for index in range(3)]
        assert files_of(together) == [file for images in alone for file in files_of(images)]

    async def test_seeds_wrap_around_at_32_bits(self, provider: AnyProvider, model: Model) -> None:
        honours(model, "seed")
        together = await draw(provider, self.ask(model, n=2, seed=2**32 - 1))
        second = await draw(provider, self.ask(model, n=1, seed=0))
        assert files_of(together)[1:] == files_of(second)

    async def test_the_same_request_gives_the_same_bytes(self, provider: AnyProvider, model: Model) -> None:
        honours(model, "seed")
        request = self.ask(model)
        assert files_of(await draw(provider, request)) == files_of(await draw(provider, request))

    async def test_another_seed_gives_another_picture(self, provider: AnyProvider, model: Model) -> None:
        honours(model, "seed")
        drawn = [await draw(provider, self.ask(model, seed=seed)) for seed in (1234, 4321)]
        assert files_of(drawn[0]) != files_of(drawn[1])

    async def test_another_prompt_gives_another_picture(self, provider: AnyProvider, model: Model) -> None:
        drawn = [await draw(provider, self.ask(model, prompt=prompt)) for prompt in ("a fox", "a lighthouse")]
        assert files_of(drawn[0]) != files_of(drawn[1])

    async def test_without_a_size_the_picture_has_the_models_own(self, provider: AnyProvider, model: Model) -> None:
        assert sizes_of(await draw(provider, self.ask(model))) == {(model.width, model.height)}

    @pytest.mark.parametrize("share", [(1, 1), (1, 0.5), (0.5, 1), (1, 0.62), (0.37, 1)], ids=str)
    async def test_the_asked_size_is_what_comes_back(
        self, provider: AnyProvider, model: Model, share: tuple[float, float]
    ) -> None:
        honours(model, "width", "height")
        width, height = (self.size(model, name, part) for name, part in zip(("width", "height"), share, strict=True))
        assert sizes_of(await draw(provider, self.ask(model, width=width, height=height))) == {(width, height)}

    async def test_every_picture_can_be_decoded_and_is_what_its_media_type_says(
        self, provider: AnyProvider, model: Model
    ) -> None:
        for image in (await draw(provider, self.ask(model, n=2))).images:
            assert image.media_type in ("image/png", "image/jpeg", "image/webp")
            decode(image)

    async def test_an_edit_depends_on_the_picture_that_it_was_given(self, provider: AnyProvider, model: Model) -> None:
        can(model, Operation.EDIT)
        request = {"strength": 0.5} if "strength" in model.parameters else {}
        drawn = [
            await draw(provider, self.ask(model, images=(self.source(model, colour),), **request))
            for colour in ("navy", "gold")
        ]
        assert files_of(drawn[0]) != files_of(drawn[1])
        assert "images" not in drawn[0].ignored

    async def test_an_inpaint_takes_a_mask(self, provider: AnyProvider, model: Model) -> None:
        can(model, Operation.INPAINT)
        mask = make_image(model.width, model.height, (0, 0, 0, 0))
        images = await draw(provider, self.ask(model, images=(self.source(model, "navy"),), mask=mask, n=2))
        assert len(images.images) == 2
        assert not images.ignored & {"images", "mask"}

    async def test_a_parameter_that_is_not_declared_comes_back_as_ignored(
        self, provider: AnyProvider, model: Model
    ) -> None:
        undeclared = {name: value for name, value in SAMPLES.items() if name not in model.parameters}
        if not undeclared:
            pytest.skip("this model honours everything")
        images = await draw(provider, self.ask(model, **undeclared))
        assert images.ignored >= set(undeclared)

    async def test_only_what_was_asked_for_is_reported_as_ignored(self, provider: AnyProvider, model: Model) -> None:
        request = self.ask(model)
        assert (await draw(provider, request)).ignored <= request.parameters

    async def test_what_was_really_used_is_reported_under_canonical_names(
        self, provider: AnyProvider, model: Model
    ) -> None:
        assert set((await draw(provider, self.ask(model))).applied) <= DECLARABLE

    def size(self, model: Model, name: str, share: float) -> int:
        """A length of about ``share`` of the native one that the model allows."""
        native = getattr(model, name)
        length = round(native * share / model.size_multiple) * model.size_multiple
        smallest = model.parameters[name].min or model.size_multiple
        multiples = -(-max(length, smallest) // model.size_multiple)
        return int(multiples * model.size_multiple)

    def source(self, model: Model, colour: str) -> Image:
        """An input picture of the model's own size."""
        return make_image(model.width, model.height, colour)
