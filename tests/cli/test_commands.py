import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

from imagerouter import __version__, cli
from imagerouter.cli import COMMANDS
from imagerouter.cli.backend import api_url

Run = Any


def lines(output: bytes) -> list[str]:
    return output.decode().splitlines()


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "diffusers", "litestar", "uvicorn", "httpx", "PIL", "rich", "yaml")
    code = (
        "import sys\nfrom imagerouter import cli\nsys.argv = ['imagerouter', '--help']\ncode = cli._run()\n"
        f"print([name for name in {heavy!r} if name in sys.modules], code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert "Draw pictures and save them." in done.stdout
    assert done.stdout.splitlines()[-1] == "[] 0"


def test_every_command_is_explained_with_an_example() -> None:
    context = click.Context(cli.cli)
    commands = [cli.cli.get_command(context, name) for name in COMMANDS]
    commands += [sub for group in commands if isinstance(group, click.Group) for sub in group.commands.values()]
    for command in commands:
        assert command is not None
        assert command.help
        if not isinstance(command, click.Group):
            assert str(command.epilog).startswith("Example: imagerouter ")
    summaries = [summary for _, summary in COMMANDS.values()]
    assert all(summary.endswith(".") for summary in summaries)


def test_the_version_is_the_packages(process: Run) -> None:
    assert lines(process("--version").stdout) == [f"imagerouter {__version__}"]


def test_a_picture_is_drawn_without_a_server(process: Run, tmp_path: Path) -> None:
    done = process("generate", "a cat", "-o", "cat.webp", "--seed", "7", "--size", "80x48", "--lora", "ink:0.5")
    assert (done.returncode, lines(done.stdout)) == (0, ["cat.webp  80x48  seed 7  alpha on desk"])
    assert lines(done.stderr) == ["Ignored by desk: loras"]
    with Image.open(tmp_path / "cat.webp") as image:
        assert (image.format, image.size) == ("WEBP", (80, 48))


def test_several_pictures_are_numbered_and_described_as_json(run: Run, tmp_path: Path) -> None:
    done = run("generate", "a cat", "-n", "2", "--seed", "7", "-m", "beta", "-o", "cat.png", "--json")
    report = json.loads(done.stdout)
    assert [(image["path"], image["seed"]) for image in report["images"]] == [("cat-1.png", 7), ("cat-2.png", 8)]
    assert report["imagerouter"]["model"] == "beta"
    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["cat-1.png", "cat-2.png"]


def test_a_picture_can_go_to_stdout_and_nothing_else_does(process: Run) -> None:
    done = process("generate", "a cat", "-o", "-", "--seed", "7")
    with Image.open(BytesIO(done.stdout)) as image:
        assert image.format == "PNG"
    assert lines(done.stderr) == ["-  64x64  seed 7  alpha on desk"]


def test_what_could_not_be_saved_is_refused_before_it_is_drawn(run: Run) -> None:
    for arguments, reason in (
        (("-o", "no/such/folder.png"), "there is no folder `no/such`"),
        (("-o", "cat.gif"), "can't tell the format from `cat.gif`"),
        (("-o", "-", "-n", "2"), "several pictures can't go to stdout"),
    ):
        done = run("generate", "a cat", *arguments)
        assert done.returncode == 2
        assert reason in done.stderr.decode()


def test_a_failure_is_one_line_and_exit_code_1(process: Run) -> None:
    done = process("generate", "a cat", "-m", "alhpa")
    assert done.returncode == 1
    assert len(lines(done.stderr)) == 1
    assert "`alhpa` does not exist" in done.stderr.decode()


def test_a_server_that_is_not_there_is_named(run: Run) -> None:
    done = run("generate", "a cat", "--server", "127.0.0.1:9")
    expected = "Error: no server answers at http://127.0.0.1:9/v1; start one with `imagerouter serve`"
    assert (done.returncode, lines(done.stderr)) == (1, [expected])


def test_a_server_does_the_same_work(run: Run, tmp_path: Path, server: str) -> None:
    done = run("generate", "a cat", "-m", "dall-e-3", "--seed", "7", "-o", "there.png", IMAGEROUTER_URL=server)
    assert lines(done.stdout) == ["there.png  64x64  seed 7  alpha on desk"]
    run("generate", "a cat", "--seed", "7", "-o", "here.png")
    assert (tmp_path / "here.png").read_bytes() == (tmp_path / "there.png").read_bytes()
    edit = ("--image", "here.png", "--mask", "here.png", "--strength", "0.5")
    done = run("generate", "a dog", *edit, "-o", "edit.png", "--server", f"{server}/v1/")
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_servers_refusal_is_passed_on(run: Run, server: str) -> None:
    done = run("generate", "a cat", "--size", "1x", "--server", server)
    assert done.returncode == 1
    assert lines(done.stderr)[0].startswith("Error: Invalid value for `size`")


def test_models_are_listed_alike_by_a_server_and_without_one(run: Run, server: str) -> None:
    there, here = run("models", "--server", server), run("models")
    assert lines(there.stdout)[0].split() == ["name", "providers", "operations", "size", "resident", "on"]
    assert lines(here.stdout)[1].startswith("alpha, dall-e-3  desk       edit, generate, inpaint  64x64")
    assert [model["id"] for model in json.loads(run("models", "--json").stdout)] == ["alpha", "beta"]


def test_check_says_what_is_usable(run: Run, tmp_path: Path) -> None:
    done = run("check")
    assert (done.returncode, done.stderr) == (0, b"")
    assert lines(done.stdout)[1].split()[:4] == ["desk", "imagerouter.testing:FakeProvider", "yes", "2"]
    (tmp_path / "half.yaml").write_text(
        'providers: {attic: {type: "imagerouter.testing:FakeProvider", fail: ProviderUnavailableError, '
        "fail_on: start}}\nmodels: {ghost: }\ndefault_model: nobody"
    )
    done = run("check", "half.yaml")
    assert done.returncode == 1
    assert lines(done.stdout)[1].split()[2] == "no"
    assert lines(done.stderr) == [
        "models.ghost: no provider has a model `ghost`",
        "default_model: there is no model `nobody`",
    ]


@pytest.mark.parametrize("command", ["serve --config", "check", "models --config", "generate x --config"])
def test_a_wrong_file_is_exit_code_2_with_every_problem_on_a_line(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "bad.yaml").write_text("serer: {}\nlimits: {max_n: many}\n")
    done = run(*command.split(), "bad.yaml")
    assert (done.returncode, done.stdout) == (2, b"")
    assert lines(done.stderr) == [
        "bad.yaml:1:1: serer: unknown key; did you mean `server`?",
        "bad.yaml:2:17: limits.max_n: must be a whole number, not `many`",
    ]


def test_the_schema_is_printed(run: Run) -> None:
    assert json.loads(run("config", "schema").stdout)["properties"]["providers"]


def test_ctrl_c_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.cli, "main", interrupted)
    assert cli._run() == 130


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("host:8000", "http://host:8000/v1"),
        ("https://host/v1/", "https://host/v1"),
        ("http://[::1]:8000/", "http://[::1]:8000/v1"),
    ],
)
def test_a_server_may_be_written_in_several_ways(server: str, url: str) -> None:
    assert api_url(server) == url
