"""Reading workflow files, and what is said of those that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagerouter_comfyui.graph import WorkflowError, read, read_file

NODE = {"class_type": "KSampler", "inputs": {}}


def test_the_body_of_a_request_is_read_as_its_workflow() -> None:
    assert read(json.dumps({"prompt": {"3": NODE}, "client_id": "x"})) == {"3": NODE}


def test_a_node_may_be_called_prompt() -> None:
    assert read(json.dumps({"prompt": NODE, "3": NODE})) == {"prompt": NODE, "3": NODE}
    assert read(json.dumps({"prompt": {"prompt": NODE}})) == {"prompt": NODE}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON: "),
        ("[]", "no workflow: "),
        ("{}", "no workflow: "),
        ('{"prompt": []}', "no workflow: `prompt` is not a node"),
        ('{"3": {"class_type": "KSampler"}}', "node `3` has no `inputs`"),
    ],
)
def test_what_is_no_workflow_is_refused(text: str, said: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        read(text)
    assert str(caught.value).startswith(said)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b"\xff\xfe\xfd")
    for name, said in {"none.json": "no such file or directory", "latin.json": "not UTF-8 text"}.items():
        with pytest.raises(WorkflowError, match=said):
            read_file(tmp_path / name)


def test_many_problems_are_one_short_line_for_clients_and_all_of_them_for_the_operator() -> None:
    problems = [f"node {number}:\n the server has no such class" for number in range(31)]
    error = WorkflowError(*problems)
    assert (error.problems, str(error)) == (problems, "node 0: the server has no such class (and 30 more)")
    long = str(WorkflowError("x" * 5000, *problems))
    assert len(long) <= 300
    assert long.endswith("… (and 31 more)")
    assert str(WorkflowError("alone")) == "alone"
