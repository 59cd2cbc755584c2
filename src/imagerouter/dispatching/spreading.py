"""The images of one request on several providers: its parts, and one answer out of theirs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from imagerouter.clock import now
from imagerouter.dispatching.trying import ProgressListener, Trying
from imagerouter.jobs import Job, Outcome
from imagerouter.parity.verdict import together
from imagerouter.types import Progress


def parts_of(trying: Trying, counts: Sequence[int]) -> list[Trying]:
    """One job per count, which are all images together. Image ``i`` keeps the seed that it has in the whole."""
    parts, first = [], 0
    for count in counts:
        images = tuple(range(first, first + count))
        listen = trying.listen and _shifted(trying.listen, first)
        job = _part(trying.job, first, count)
        part = Trying(job, listen, trying.started, images, trying.model, may_hedge=False)
        part.queued, part.lost = trying.queued, trying.lost
        parts.append(part)
        first += count
    return parts


def _part(job: Job, first: int, count: int) -> Job:
    seed = (job.params.get("seed", job.seed) + first) % 2**32
    params = {**job.params, "seed": seed} if "seed" in job.params else job.params
    return msgspec.structs.replace(job, n=count, seed=seed, params=params)


def _shifted(listen: ProgressListener, first: int) -> ProgressListener:
    """Progress of a part as progress of the whole: its images have other numbers there."""

    def told(provider: str | None, progress: Progress) -> None:
        # What is about all images of a part is about its first one: about all of the whole it isn't.
        shifted = None if provider is None else first + (progress.image_index or 0)
        listen(provider, msgspec.structs.replace(progress, image_index=shifted))

    return told


def merged(trying: Trying, outcomes: Sequence[Outcome]) -> Outcome:
    """One outcome, its images in the order of their seeds. Times are those of the part that took longest."""
    slowest = max(outcomes, key=lambda outcome: outcome.total_ms)
    return msgspec.structs.replace(
        outcomes[0],
        job=trying.job,
        images=tuple(image for outcome in outcomes for image in outcome.images),
        ignored=frozenset().union(*(outcome.ignored for outcome in outcomes)),
        attempts=tuple(trying.attempts),
        queue_ms=slowest.queue_ms,
        load_ms=slowest.load_ms,
        render_ms=slowest.render_ms,
        lost_ms=slowest.lost_ms,
        total_ms=(now() - trying.started) * 1000,
        cost=sum(outcome.cost for outcome in outcomes),
        verdict=together([outcome.verdict for outcome in outcomes]),
        notes=tuple(dict.fromkeys(note for outcome in outcomes for note in outcome.notes)),
    )
