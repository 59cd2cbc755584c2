"""Source → a `DiffusionPipeline` on its device. Offline, unless the configuration allows downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imagerouter import GenerationError
from imagerouter_diffusers import devices
from imagerouter_diffusers.config import DiffusersConfig
from imagerouter_diffusers.discovery import INDEX, Source, cached_snapshot
from imagerouter_diffusers.headers import read_header
from imagerouter_diffusers.traits import Traits

_DTYPE_SINCE = (0, 42)


def estimate(source: Source, dtype: Any) -> int:
    """Bytes that a model will take, told from its files, so that room can be made before it is loaded."""
    if source.path is None:
        return 0
    if source.is_file:
        return source.path.stat().st_size
    variant = _variant(source)
    sizes = [
        file.stat().st_size
        for file in source.path.glob("*/*.safetensors")
        if variant is None or f".{variant}." in file.name
    ]
    widened = 2 if variant == "fp16" and str(dtype) == "torch.float32" else 1
    return sum(sizes) * widened


def load(source: Source, traits: Traits, config: DiffusersConfig, device: str) -> Any:
    """The pipeline, ready to be called, in the number format that the source or the provider asks for."""
    dtype = devices.dtype(source.dtype or config.dtype, device)
    quiet()
    if source.is_file:
        pipe = _from_file(source, traits, config, dtype)
    else:
        pipe = _from_folder(source, config, dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def _from_folder(source: Source, config: DiffusersConfig, dtype: Any) -> Any:
    import diffusers

    return diffusers.DiffusionPipeline.from_pretrained(
        str(source.path),
        variant=_variant(source),
        use_safetensors=None if config.allow_pickle else True,
        local_files_only=True,
        **{_dtype_argument(): dtype},
        **_custom(source),
    )


def _custom(source: Source) -> dict[str, Any]:
    """Naming the file in the configuration is the consent that diffusers asks for."""
    if source.custom_pipeline is None:
        return {}
    path = Path(source.custom_pipeline).expanduser()
    return {"custom_pipeline": str(path), "trust_remote_code": True}


def download(source: Source) -> None:
    """A configured repository that isn't in the local cache yet."""
    import diffusers

    quiet()
    diffusers.DiffusionPipeline.download(source.repo, variant=source.variant, **_custom(source))


def _variant(source: Source) -> str | None:
    """The asked variant, or ``fp16`` where a folder has nothing else."""
    if source.variant is not None or source.path is None:
        return source.variant
    names = [file.name for file in source.path.glob("*/*.safetensors")]
    return "fp16" if names and all(".fp16." in name for name in names) else None


def _from_file(source: Source, traits: Traits, config: DiffusersConfig, dtype: Any) -> Any:
    import diffusers

    folder = _config_folder(source, traits, config)
    # Given a folder, diffusers doesn't ask the hub for the architecture, not even with local_files_only.
    pipe = getattr(diffusers, traits.pipeline).from_single_file(
        str(source.path), config=str(folder), local_files_only=True, **{_dtype_argument(): dtype}
    )
    _mark_prediction(pipe, source)
    return pipe


def _mark_prediction(pipe: Any, source: Source) -> None:
    """Checkpoints of the SDXL family that predict velocity say so by an empty tensor of this name."""
    header = read_header(source.path) if source.path and source.path.suffix != ".ckpt" else {}
    if "v_pred" in header:
        pipe.scheduler = type(pipe.scheduler).from_config(
            pipe.scheduler.config,
            prediction_type="v_prediction",
            rescale_betas_zero_snr="ztsnr" in header,
        )


def _config_folder(source: Source, traits: Traits, config: DiffusersConfig) -> Path:
    if source.config:
        folder = Path(source.config).expanduser()
        if (folder / INDEX).is_file():
            return folder
        raise GenerationError(f"model `{source.id}`: the folder named by `config` has no {INDEX}")
    cached = cached_snapshot(traits.repo) if traits.repo else None
    if cached is None and traits.repo and config.allow_download:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(traits.repo, allow_patterns=["*.json", "*/*.json", "*/*.txt", "*.txt"]))
    if cached is None:
        raise GenerationError(
            f"model `{source.id}` is a single file, and the configuration of its kind isn't on this machine: "
            f"set `config` to a diffusers folder of the same kind, or put `{traits.repo}` into the "
            "Hugging Face cache, or set `allow_download: true`"
        )
    return cached


def load_vae(pipe: Any, path: Path) -> Any:
    """Another VAE of the same class as the pipeline's own, from a diffusers folder or a single file."""
    own = pipe.vae
    if path.is_dir():
        vae = type(own).from_pretrained(str(path), local_files_only=True, **{_dtype_argument(): own.dtype})
    else:
        vae = type(own).from_config(own.config)
        vae.load_state_dict(_vae_weights(path, own.config))
    return vae.to(device=own.device, dtype=own.dtype).eval()


def _vae_weights(path: Path, config: Any) -> Any:
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
    from safetensors.torch import load_file

    weights = load_file(str(path))
    is_original = any(name.endswith("decoder.mid.block_1.norm1.weight") for name in weights)
    return convert_ldm_vae_checkpoint(weights, config) if is_original else weights


def _dtype_argument() -> str:
    """What this diffusers calls the number format."""
    import diffusers

    major, minor = (int(part) for part in diffusers.__version__.split(".")[:2])
    return "dtype" if (major, minor) >= _DTYPE_SINCE else "torch_dtype"


def quiet() -> None:
    """No progress bars: a server's log is no terminal."""
    import diffusers
    import transformers

    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.disable_progress_bar()
