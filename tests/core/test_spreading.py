"""One request in parts, and one answer out of theirs."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from imagerouter.dispatching.spreading import merged, parts_of
from imagerouter.dispatching.trying import Trying
from imagerouter.errors import GenerationError
from imagerouter.jobs import Job, Outcome, Target
from imagerouter.provider import Model
from imagerouter.testing import make_image
from imagerouter.types import Progress

TARGET = Target("desk", Model(id="m"))
counts_of_any_kind = st.lists(st.integers(1, 5), min_size=1, max_size=6)


def nobody(provider: str | None, progress: Progress) -> None:
    pass


def outcome(job: Job, seconds: float = 1.0, **fields: Any) -> Outcome:
    """What a part came to: its images are as wide as their seeds say, so that they can be told apart."""
    pictures = tuple(make_image(1 + (job.seed + index) % 2**32 % 64, 1) for index in range(job.n))
    told = {"seed": job.seed, "applied": {"seed": job.seed}, "ignored": frozenset(), "attempts": ()} | fields
    return Outcome(
        job=job, model="m", target=TARGET, images=pictures, total_ms=seconds * 1000, queue_ms=seconds, load_ms=seconds,
        render_ms=seconds, **told,
    )  # fmt: skip


@given(counts_of_any_kind, st.integers(0, 2**32 - 1), st.booleans())
async def test_the_parts_are_all_images_once_each_with_the_seed_that_it_has_in_the_whole(
    counts: list[int], seed: int, is_told: bool
) -> None:
    whole = Job(prompt="x", params={"seed": seed, "steps": 3} if is_told else {"steps": 3}, n=sum(counts), seed=seed)
    parts = parts_of(Trying(whole, nobody), counts)
    assert [part.job.n for part in parts] == counts
    assert [index for part in parts for index in part.images] == list(range(whole.n))
    for part in parts:
        request = part.job.on(TARGET).request("fake")
        assert [request.seed_of(i) for i in range(request.n)] == [(seed + i) % 2**32 for i in part.images]
        assert request.steps == 3
        assert (part.job.id, part.job.prompt) == (whole.id, "x")


@given(counts_of_any_kind, st.integers(0, 2**32 - 1))
async def test_the_merged_answer_has_the_images_in_the_order_of_their_seeds(counts: list[int], seed: int) -> None:
    whole = Trying(Job(prompt="x", n=sum(counts), seed=seed), nobody)
    answer = merged(whole, [outcome(part.job) for part in parts_of(whole, counts)])
    assert answer.job is whole.job
    assert [image.data for image in answer.images] == [image.data for image in outcome(whole.job).images]
    assert answer.applied == {"seed": seed}


async def test_the_merged_answer_lists_what_any_part_ignored_and_takes_as_long_as_the_slowest() -> None:
    whole = Trying(Job(prompt="x", n=3), nobody)
    one, two, three = (part.job for part in parts_of(whole, [1, 1, 1]))
    ignored = frozenset({"vae"})
    answer = merged(whole, [outcome(one, 2.0), outcome(two, 5.0, ignored=ignored), outcome(three, 3.0)])
    assert answer.ignored == {"vae"}
    assert (answer.queue_ms, answer.load_ms, answer.render_ms) == (5.0, 5.0, 5.0)


async def test_progress_of_a_part_is_about_the_images_that_it_has_in_the_whole() -> None:
    heard: list[tuple[str | None, int | None, int]] = []
    whole = Trying(Job(prompt="x", n=4), lambda name, told: heard.append((name, told.image_index, told.step)))
    two, one, other = parts_of(whole, [2, 1, 1])
    two.listen("a", Progress(step=1, image_index=0))
    two.listen("a", Progress(step=2, image_index=1))
    one.listen("b", Progress(step=3, image_index=0))
    other.listen("c", Progress(step=4))
    assert heard == [("a", 0, 1), ("a", 1, 2), ("b", 2, 3), ("c", 3, 4)]


async def test_a_preview_of_all_images_of_a_part_at_once_shows_the_first_of_them() -> None:
    heard: list[int | None] = []
    whole = Trying(Job(prompt="x", n=4), lambda _, told: heard.append(told.image_index))
    _, second = parts_of(whole, [2, 2])
    second.listen("b", Progress(step=1, preview=make_image(8, 8)))
    assert heard == [2]


async def test_waiting_is_about_no_image_in_particular() -> None:
    heard: list[int | None] = []
    whole = Trying(Job(prompt="x", n=3), lambda _, told: heard.append(told.image_index))
    for part in parts_of(whole, [1, 2]):
        part.listen(None, Progress(stage="queue", queue_position=1))
    assert heard == [None, None]


async def test_parts_begin_with_the_times_of_the_whole_which_goes_on_with_the_longest_of_theirs() -> None:
    whole = Trying(Job(prompt="x", n=3), nobody, started=10.0, queued=1.0, lost=2.0)
    first, second, third = parts = parts_of(whole, [1, 1, 1])
    assert {(part.started, part.queued, part.lost) for part in parts} == {(10.0, 1.0, 2.0)}
    first.queued += 3.0
    second.note(TARGET, 5.0, 0.0, GenerationError("it burns"))
    third.note(TARGET, 4.0, 0.0)
    whole.gather(parts)
    assert (whole.queued, whole.lost) == (1.0, 7.0)
    assert [attempt.images for attempt in whole.attempts] == [(1,), (2,)]
    assert [failure.message for failure in whole.failures] == ["it burns"]


async def test_a_part_is_not_hedged() -> None:
    assert not any(part.may_hedge for part in parts_of(Trying(Job(prompt="x", n=2), nobody), [1, 1]))
