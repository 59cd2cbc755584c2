"""How `/api/jobs` tells of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.providers.comfyui.fake_worker import Job

if TYPE_CHECKING:
    from tests.providers.comfyui.fake_server import ComfyServer


def _waiting(job: Job, status: str) -> dict[str, Any]:
    return {
        "id": job.id,
        "status": status,
        "priority": job.number,
        "create_time": job.created,
        "outputs_count": 0,
        "previewable_outputs_count": 0,
    }


def _finished(entry: dict[str, Any]) -> dict[str, Any]:
    number, job_id, graph, extra, _ = entry["prompt"]
    messages = dict(entry["status"]["messages"])
    last = entry["status"]["messages"][-1][0]
    names = {"execution_success": "completed", "execution_interrupted": "cancelled"}
    count = sum(len(files) for output in entry["outputs"].values() for files in output.values())
    job = {
        "id": job_id,
        "status": names.get(last, "failed"),
        "priority": number,
        "create_time": extra["create_time"],
        "execution_start_time": messages["execution_start"]["timestamp"],
        "execution_end_time": messages[last]["timestamp"],
        "outputs_count": count,
        "previewable_outputs_count": count,
        "outputs": entry["outputs"],
        "execution_status": entry["status"],
        "workflow": {"prompt": graph, "extra_data": extra},
    }
    for node, output in entry["outputs"].items():
        for image in output.get("images", [])[:1]:
            job.setdefault("preview_output", image | {"nodeId": node, "mediaType": "images"})
    return job | ({"execution_error": messages[last]} if last == "execution_error" else {})


def jobs_of(fake: ComfyServer) -> list[dict[str, Any]]:
    running = [_waiting(fake.running_job, "in_progress")] if fake.running_job else []
    pending = [_waiting(job, "pending") for job in fake.pending]
    return [*map(_finished, fake.history.values()), *running, *pending]
