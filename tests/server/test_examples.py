"""Every example runs as it stands, and so do the README's snippets."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

ROOT = Path(__file__).parents[2]
FAKE = 'providers: {desk: {type: "imagerouter.testing:FakeProvider"}}'


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    ("example", "pictures"),
    [
        ("openai_sdk.py", ["circle-7.png", "circle-8.png"]),
        ("stream.py", ["star-preview-0.png", "star-preview-1.png", "star.png"]),
        ("edit.py", ["square.png", "square-recoloured.png", "square-half.png"]),
    ],
)
def test_an_example_writes_its_pictures(builtin: Any, tmp_path: Path, example: str, pictures: list[str]) -> None:
    said = run([sys.executable, str(ROOT / "examples" / example), f"{builtin.url}/v1"], tmp_path)
    for name in pictures:
        assert name in said
        assert Pillow.open(tmp_path / name).size == (256, 256)


def test_the_curl_example_draws_and_shows_an_error(builtin: Any, tmp_path: Path) -> None:
    said = run(["sh", str(ROOT / "examples" / "curl.sh"), f"{builtin.url}/v1"], tmp_path)
    assert "iVBORw0KGgo" in said
    assert "euler" in said


def test_the_demo_starts_a_server_of_its_own_and_says_where_the_picture_is(tmp_path: Path) -> None:
    said = run([sys.executable, str(ROOT / "examples" / "demo.py")], tmp_path)
    assert str(tmp_path / "demo.png") in said
    assert Pillow.open(tmp_path / "demo.png").size == (256, 256)


def test_the_readmes_snippets_work_as_pasted(builtin: Any, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text().replace("http://127.0.0.1:8000", builtin.url)
    shell = next(block for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL) if block.startswith("curl"))
    run(["sh", "-c", shell], tmp_path)
    assert Pillow.open(tmp_path / "star.png").size == (256, 256)
    sdk, embedded = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    run([sys.executable, "-c", sdk], tmp_path)
    assert Pillow.open(tmp_path / "circle-8.png").size == (512, 512)
    (tmp_path / "imagerouter.yaml").write_text(FAKE)
    run([sys.executable, "-c", embedded], tmp_path)
    assert Pillow.open(tmp_path / "triangle.png").size == (64, 64)


def test_the_embedded_example_needs_no_server(tmp_path: Path) -> None:
    (tmp_path / "imagerouter.yaml").write_text(FAKE)
    assert run([sys.executable, str(ROOT / "examples" / "embedded.py")], tmp_path) == "circle.png\nrecoloured.png\n"
    assert Pillow.open(tmp_path / "recoloured.png").size == (64, 64)


def test_the_documents_python_runs_from_its_first_line_to_its_last(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagerouter.yaml").write_text(FAKE)
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL):
        exec(block, names)
    assert [len(names["result"]), len(names["again"])] == [1, 2]
    drawn = {path.stem for path in tmp_path.glob("*.png")}
    assert drawn == {"circle", "star-0", "star-1", "star"}


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
