"""Schedules that a server can't draw with.

For a ``denoise`` below 1, ComfyUI makes a schedule of ``steps / denoise`` steps and runs its end (``KSampler`` in
``comfy/samplers.py``). A model has a thousand timesteps: beyond that they repeat, which makes dpmpp_2m's pictures
black, and a very long schedule keeps the server busy for minutes, deaf to interruptions.
"""

from __future__ import annotations

from msgspec.structs import replace

from imagerouter_comfyui.recipe import Built

TIMESTEPS = 1000


def bounded(built: Built) -> Built:
    """The same graph with no schedule longer than `TIMESTEPS`: fewer steps, or none where even one is too many."""
    graph, applied = dict(built.graph), dict(built.applied)
    for node_id, node in built.graph.items():
        steps, denoise = node["inputs"].get("steps"), node["inputs"].get("denoise")
        if not isinstance(steps, int) or not isinstance(denoise, int | float):
            continue
        if not 0 < denoise < 1 or steps / denoise <= TIMESTEPS:
            continue
        fewer = {"steps": int(TIMESTEPS * denoise)} if denoise >= 1 / TIMESTEPS else {"denoise": 0.0}
        graph[node_id] = {**node, "inputs": {**node["inputs"], **fewer}}
        for name, value in fewer.items():
            if (parameter := built.places.get((node_id, name))) in applied:
                applied[str(parameter)] = value
    return replace(built, graph=graph, applied=applied)
