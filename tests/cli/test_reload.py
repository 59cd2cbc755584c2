from pathlib import Path
from typing import Any

KEY = {"IMAGEROUTER_API_KEY": "root-secret"}


def lines(output: bytes) -> list[str]:
    return output.decode().splitlines()


def test_a_server_is_told_to_load_its_file_again(run: Any, administered: tuple[str, Path]) -> None:
    url, path = administered
    text = path.read_text()

    refused = run("reload", "--server", url, IMAGEROUTER_API_KEY="wrong-secret")
    assert refused.returncode == 1
    (line,) = lines(refused.stderr)
    assert line.startswith("Error: Incorrect API key provided")
    assert "IMAGEROUTER_API_KEY" in line

    path.write_text(text.replace("models: [alpha, beta]", "modles: [alpha]") + "limits: {max_n: many}\n")
    wrong = run("reload", "--server", url, **KEY)
    assert (wrong.returncode, wrong.stdout) == (2, b"")
    places = [line.partition(": ")[0] for line in lines(wrong.stderr)]
    assert places == ["imagerouter.yaml:3:52", "imagerouter.yaml:7:17"]

    added = '  attic: {type: "imagerouter.testing:FakeProvider"}\nmodels:\n'
    path.write_text(text.replace("json", "console").replace("\nmodels:\n", f"\n{added}"))
    done = run("reload", IMAGEROUTER_URL=url, **KEY)
    assert (done.returncode, done.stderr) == (0, b"")
    assert lines(done.stdout) == ["unchanged: desk", "started: attic", "needs a restart: server.log_format"]
