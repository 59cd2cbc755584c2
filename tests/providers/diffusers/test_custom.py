"""Pipelines that diffusers itself doesn't know, and models that have to be downloaded first."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from imagerouter import GenerationError, ImageRequest, Operation
from imagerouter_diffusers import DiffusersConfig, DiffusersProvider, discovery, loading

PIPELINE = """
import torch
from diffusers import DiffusionPipeline
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput

class Painter(DiffusionPipeline):
    def __init__(self, unet, scheduler):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)

    @torch.no_grad()
    def __call__(self, prompt, generator=None, num_inference_steps=4, width=64, height=64):
        picture = torch.rand(1, height, width, 3, generator=generator)
        self.scheduler.set_timesteps(num_inference_steps)
        sample = torch.zeros(1, 4, 8, 8)
        for time in self.scheduler.timesteps:
            sample = self.scheduler.step(sample, time, sample).prev_sample
        return ImagePipelineOutput(images=self.numpy_to_pil(picture.numpy()))
"""


@pytest.fixture
def painter(folder: Path, tmp_path: Path) -> dict[str, Any]:
    home = tmp_path / "painter"
    for part in ("unet", "scheduler"):
        shutil.copytree(folder / "sd1" / part, home / part)
    index = {
        "_class_name": "Painter",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    (home / "model_index.json").write_text(json.dumps(index))
    (tmp_path / "painter.py").write_text(PIPELINE)
    return {"source": str(home), "custom_pipeline": str(tmp_path / "painter.py")}


async def started(**keys: Any) -> DiffusersProvider:
    defaults = {"device": "cpu", "hub_cache": False, "builtin": False}
    provider = DiffusersProvider("local", DiffusersConfig.model_validate(defaults | keys))
    await provider.start()
    return provider


async def test_a_class_that_nobody_knows_draws_from_text_with_what_it_takes(
    painter: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    provider = await started(models={"painter": painter})
    (model,) = await provider.models()
    assert model.operations == {Operation.GENERATE}
    steps: list[int] = []
    request = ImageRequest(model="painter", prompt="x", seed=1, steps=3, n=2, width=40, height=24)
    images = await provider.generate(request, lambda progress: steps.append(progress.step))
    assert len({image.data for image in images.images}) == 2
    assert images.applied["width"] == 40
    assert steps == [0, 1, 2, 3, 1, 2, 3]
    await provider.aclose()


async def test_what_is_only_found_is_not_offered_unless_it_draws_pictures(painter: dict[str, Any]) -> None:
    provider = await started(folders=[str(Path(painter["source"]).parent)])
    assert await provider.models() == []
    await provider.aclose()


async def test_a_configured_repository_is_downloaded_once_it_is_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "hub_cache", lambda: tmp_path)

    def download(source: discovery.Source) -> None:
        shutil.copytree(folder / "sd1", tmp_path / "models--org--tiny" / "snapshots" / "abc")

    monkeypatch.setattr(loading, "download", download)
    provider = await started(models={"tiny": "org/tiny"}, allow_download=True)
    images = await provider.generate(ImageRequest(model="tiny", prompt="x", seed=1, steps=1), lambda progress: None)
    assert (images.applied["width"], images.applied["sampler"]) == (64, "dpmpp_2m")
    await provider.aclose()


async def test_two_repositories_of_one_name_stay_two_models(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "hub_cache", lambda: tmp_path)
    for owner in ("ann", "bob"):
        shutil.copytree(folder / "sd1", tmp_path / f"models--{owner}--tiny" / "snapshots" / "abc")
    provider = await started(hub_cache=True)
    assert [(model.id, model.name) for model in await provider.models()] == [
        ("ann/tiny", "tiny"),
        ("bob/tiny", "bob/tiny"),
    ]
    await provider.aclose()


async def test_a_download_that_fails_is_said_without_details(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(source: discovery.Source) -> None:
        raise OSError("no route to https://somewhere/secret")

    monkeypatch.setattr(loading, "download", download)
    provider = await started(models={"tiny": "no-such-org/no-such-model"}, allow_download=True)
    with pytest.raises(GenerationError, match=r"can't be downloaded: OSError$"):
        await provider.generate(ImageRequest(model="tiny", prompt="x", seed=1), lambda progress: None)
    await provider.aclose()
