"""ComfyUI's path file: the semantics measured on the real program, and leniency where that one crashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagerouter_diffusers.extra_paths import read


def written(folder: Path, text: str) -> Path:
    path = folder / "extra_model_paths.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def names(folder: Path, text: str, kind: str = "checkpoints") -> list[str]:
    return [path.relative_to(folder).as_posix() for path in read(written(folder, text))[kind]]


def test_lines_are_relative_to_the_base_path_and_that_to_the_file(tmp_path: Path) -> None:
    text = "a1111:\n  base_path: sd\n  checkpoints: models/Stable-diffusion\n  loras: |\n    one\n    two\n"
    assert names(tmp_path, text) == ["sd/models/Stable-diffusion"]
    assert names(tmp_path, text, "loras") == ["sd/one", "sd/two"]


def test_without_a_base_path_lines_are_relative_to_the_file(tmp_path: Path) -> None:
    assert names(tmp_path, "any:\n  checkpoints: here/./there\n") == ["here/there"]


def test_an_absolute_line_wins_over_the_base_path(tmp_path: Path) -> None:
    text = f"any:\n  base_path: sd\n  vae: {tmp_path}/elsewhere\n"
    assert names(tmp_path, text, "vae") == ["elsewhere"]


def test_variables_are_expanded_in_the_base_path_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SD_HOME", str(tmp_path / "home"))
    text = "any:\n  base_path: $SD_HOME\n  checkpoints: $SD_HOME\n"
    assert names(tmp_path, text) == ["home/$SD_HOME"]


def test_default_folders_come_first_and_several_of_them_reversed(tmp_path: Path) -> None:
    text = "a:\n  checkpoints: plain\nb:\n  is_default: true\n  checkpoints: |\n    one\n    two\n"
    assert names(tmp_path, text) == ["two", "one", "plain"]


def test_a_folder_named_twice_moves_to_the_front_only_as_default(tmp_path: Path) -> None:
    text = "a:\n  checkpoints: |\n    x\n    y\n"
    assert names(tmp_path, text + "b:\n  checkpoints: y\n") == ["x", "y"]
    assert names(tmp_path, text + "b:\n  is_default: true\n  checkpoints: y\n") == ["y", "x"]


def test_the_old_names_of_folders_are_understood(tmp_path: Path) -> None:
    found = read(written(tmp_path, "a:\n  unet: one\n  clip: two\n"))
    assert set(found) == {"diffusion_models", "text_encoders"}


@pytest.mark.parametrize("text", ["", "a:\n", "a: 3\n", "a:\n  checkpoints:\n", "# nothing\n"])
def test_what_crashes_comfyui_is_nothing_here(tmp_path: Path, text: str) -> None:
    assert not any(read(written(tmp_path, text)).values())


def test_a_list_is_as_good_as_lines(tmp_path: Path) -> None:
    assert names(tmp_path, "a:\n  checkpoints: [one, ' two ']\n") == ["one", "two"]
