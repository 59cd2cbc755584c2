"""Which sampler a server takes for a name."""

from __future__ import annotations

from tests.providers.a1111.fake_dialects import LISTS, Quirks, refused, samplers

AUTOMATIC = "Automatic"


def check(quirks: Quirks, name: str) -> None:
    """Raises what a server answers before it queues the job. Servers from 1.9 on take any name."""
    if not quirks.knows_any_sampler and _known(quirks, name) is None:
        raise refused(404, "Sampler not found")


def resolve(quirks: Quirks, name: str, scheduler: str | None) -> tuple[str, str]:
    """The sampler and the scheduler that draw; from 1.9 on the first ones, where a name isn't known."""
    if not quirks.has_schedulers:
        return _known(quirks, name) or name, ""
    rows = LISTS["schedulers"]
    found = next((row for row in rows if scheduler in (row["name"], row["label"])), rows[0])
    for row in rows:
        for spelling in (row["label"], row["name"], *(row["aliases"] or ())):
            if name.endswith(f" {spelling}"):
                found, name = row, name.removesuffix(f" {spelling}")
                break
    known = {row["name"]: row for row in samplers(quirks.name)}  # aliases are for reading old pictures only
    sampler = known.get(name, samplers(quirks.name)[0])
    usual = sampler["options"].get("scheduler")
    label = next((row["label"] for row in rows if row["name"] == usual), AUTOMATIC)
    return sampler["name"], label if found["label"] == AUTOMATIC else found["label"]


def _known(quirks: Quirks, name: str) -> str | None:
    for row in samplers(quirks.name):
        if row["name"] == name or (quirks.name == "sdnext" and row["name"].lower() == name.lower()):
            return str(row["name"])
    return "Default" if quirks.name == "sdnext" and name == "Default" else None
