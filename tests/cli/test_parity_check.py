import json
from pathlib import Path
from typing import Any

import pytest

FLEET = """
providers:
  desk: {type: "imagerouter.testing:FakeProvider", models: [photo], parity: {profile: sd1, dtype: fp32}}
  attic: {type: "imagerouter.testing:FakeProvider", models: [photo], parity: {profile: sd1, dtype: fp16}}
  odd: {type: "imagerouter.testing:FakeProvider", models: [photo], parity: {profile: sd1}, hand: left}
  cloud: {type: "imagerouter.testing:FakeProvider", models: [photo, other]}
server: {port: 0, parity_file: kept/parity.json}
"""


@pytest.fixture(autouse=True)
def fleet(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)


def test_it_draws_the_same_everywhere_prints_how_far_it_agrees_and_keeps_that(run: Any, tmp_path: Path) -> None:
    done = run("parity-check", "photo", "-c", "fleet.yaml", "--json")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    assert told["failures"] == []
    found = {(row["case"], *row["targets"]): (row["db"], row["tier"]) for row in told["pairs"]}
    assert found["base", "desk/photo", "attic/photo"] == (99.0, "exact")
    assert found["base", "desk/photo", "odd/photo"][1] == "none"
    assert found["edit", "desk/photo", "attic/photo"] == (99.0, "exact")
    assert found["inpaint", "desk/photo", "attic/photo"] == (99.0, "exact")
    assert not [case for case, *_ in found if case == "sampler.heun"], "the fakes have no such sampler"
    kept = json.loads((tmp_path / "kept" / "parity.json").read_bytes())["targets"]
    assert {name: row["like"] for name, row in kept.items()} == {
        "desk/photo": "desk/photo",
        "attic/photo": "desk/photo",
        "odd/photo": "odd/photo",
    }
    assert kept["attic/photo"]["tiers"]["fp16"] == kept["attic/photo"]["tiers"]["edit"] == "exact"
    assert kept["odd/photo"]["tiers"]["edit"] == "none"


def test_the_table_names_the_cases_and_the_pairs(run: Any, tmp_path: Path) -> None:
    done = run("parity-check", "-c", "fleet.yaml", "--no-save", "--steps", "2", "--size", "64")
    assert done.returncode == 0, done.stderr
    table = done.stdout.decode()
    assert table.startswith("photo\n")
    assert "desk/photo ~ attic/photo" in table
    assert "99.0 exact" in table
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nobody", "there is no model `nobody`; `imagerouter models` lists them"),
        ("other", "`other` is on fewer than two providers that can be compared (docs/parity.md)"),
    ],
)
def test_what_cannot_be_compared_is_said(run: Any, name: str, reason: str) -> None:
    done = run("parity-check", name, "-c", "fleet.yaml")
    assert (done.returncode, done.stderr.decode()) == (1, f"Error: {reason}\n")


def test_a_case_that_fails_somewhere_is_told_and_the_rest_still_counts(run: Any, tmp_path: Path) -> None:
    broken = FLEET.replace("hand: left", "hand: left, fail: OutOfMemoryError, fail_times: 1")
    (tmp_path / "broken.yaml").write_text(broken)
    done = run("parity-check", "photo", "-c", "broken.yaml", "--no-save", "--json")
    assert done.returncode == 1
    (told,) = json.loads(done.stdout)
    assert [(each["case"], each["target"]) for each in told["failures"]] == [("base", "odd/photo")]


def test_a_result_that_cannot_be_kept_is_printed_all_the_same(run: Any, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file where the folder would be")
    done = run("parity-check", "photo", "-c", "fleet.yaml", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)[0]["model"] == "photo"
    assert done.stderr.decode().startswith("Error: can't write kept/parity.json: ")
