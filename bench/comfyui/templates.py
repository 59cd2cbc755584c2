"""How many of ComfyUI's own workflow templates the adapter can use as they are, without a word of configuration.

Install the templates (`pip install comfyui-workflow-templates`) or name a folder that has them, `index.json` included.
Each is converted from the editor's format, bound by the automatic rule and handed to the server for validation. The
server needs no model files: that a file is missing is the one complaint that doesn't count. Jobs that it does accept
are cancelled at once. Templates with partner nodes are only counted, as they run on other people's servers.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from imagerouter_comfyui import bind
from imagerouter_comfyui.config import ComfyModel
from imagerouter_comfyui.convert import class_names, convert
from imagerouter_comfyui.graph import Graph, WorkflowError
from imagerouter_comfyui.nodes import parse

COLUMNS = ["templates", "partner", "converted", "accepted", "bound"]
FOUND = ["prompt", "negative", "seed", "model", "steps", "cfg", "guidance", "sampler", "size", "images"]
FILES = (".safetensors", ".sft", ".ckpt", ".pth", ".pt", ".bin", ".onnx", ".gguf")


def template_files(folder: Path | None) -> dict[str, Path]:
    """JSON files by name without the ending."""
    if folder is not None:
        return {path.stem: path for path in folder.rglob("*.json")}
    packages = [d for d in distributions() if d.metadata["Name"].startswith("comfyui-workflow-templates")]
    paths = (Path(str(file.locate())) for package in packages for file in package.files or ())
    return {path.stem: path for path in paths if path.suffix == ".json"}


def image_templates(files: dict[str, Path]) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Category, file and workflow of all that are about images; of those about language models none draws any."""
    for category in json.loads(files["index"].read_text(encoding="utf-8")):
        if category["type"] == "image" and category["title"] != "LLM":
            for template in category["templates"]:
                path = files[template["name"]]
                yield category["title"], path, json.loads(path.read_text(encoding="utf-8"))


def complaints(server: httpx.Client, graph: Graph) -> list[str]:
    """What the server has against a graph, apart from missing files."""
    job = str(uuid4())
    answer = server.post("/prompt", json={"prompt": graph, "prompt_id": job, "client_id": job, "number": 1e6})
    if answer.status_code == 200:
        server.post("/queue", json={"delete": [job]})
        server.post(f"/api/jobs/{job}/cancel")
    body = answer.json()
    nodes = body.get("node_errors") or {}
    if not nodes and answer.status_code != 200:
        return [body["error"]["message"]]
    return [
        f"{node} ({about['class_type']}): {error['type']}: {error['details']}"
        for node, about in nodes.items()
        for error in about["errors"]
        if not is_missing_file(error)
    ]


def is_missing_file(error: dict[str, Any]) -> bool:
    if error["type"] == "value_not_in_list":
        return str(error["extra_info"].get("received_value")).lower().endswith(FILES)
    return bool(error["type"] == "custom_validation_failed" and "Invalid" in error["details"])


def found(workflow: bind.Workflow) -> set[str]:
    """Which of `FOUND` can be set; a size that follows from the input images counts as found."""
    names = {"negative": "negative_prompt", "cfg": "cfg_scale", "size": "width"}
    words = {word for word in FOUND if names.get(word, word) in workflow.bindings}
    return words | ({"model"} if workflow.files else set()) | ({"size"} if "images" in words else set())


def measure(server: httpx.Client, files: dict[str, Path], *, verbose: bool) -> dict[str, Counter[str]]:
    info = server.get("/object_info").raise_for_status().json()
    classes = {name: parse(name, raw) for name, raw in info.items()}
    partners = {name for name, raw in info.items() if raw.get("api_node")}
    table: dict[str, Counter[str]] = {}
    for category, path, workflow in image_templates(files):
        row = table.setdefault(category, Counter())
        row["templates"] += 1
        if class_names(workflow) & partners:
            row["partner"] += 1
            continue
        try:
            graph = convert(workflow, classes)
            row["converted"] += 1
            problems = complaints(server, graph)
            row["accepted"] += not problems
            bound, _ = bind.inspect(path.stem, graph, classes, ComfyModel(workflow=str(path)))
            row.update(["bound", *found(bound)])
            gaps = [f"no {word}" for word in FOUND if word not in found(bound)]
        except WorkflowError as error:
            problems, gaps = str(error).splitlines(), []
        if verbose:
            print(f"{category}/{path.stem}: {'; '.join([*problems, *gaps]) or 'all found'}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8188", help="a running ComfyUI")
    parser.add_argument("--templates", type=Path, help="folder with the templates' JSON files")
    parser.add_argument("--verbose", action="store_true", help="a line for each template")
    arguments = parser.parse_args()
    files = template_files(arguments.templates)
    if "index" not in files:
        sys.exit("no templates: pip install comfyui-workflow-templates, or --templates DIR")
    with httpx.Client(base_url=arguments.server, timeout=60, trust_env=False) as server:
        table = measure(server, files, verbose=arguments.verbose)
    table["all"] = sum(table.values(), Counter())
    columns = [*COLUMNS, *FOUND]
    print(f"{'':12}" + "".join(f"{column:>10}" for column in columns))
    for category, row in table.items():
        print(f"{category:12}" + "".join(f"{row[column]:>10}" for column in columns))


if __name__ == "__main__":
    main()
