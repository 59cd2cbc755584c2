"""Compare routing policies in virtual time; prints the tables and writes them, with a chart, into ``docs/``.

Our policy is the scheduler of imagerouter itself. Everything follows from seeds, so two runs give equal figures. Its
constants were tuned on seeds 0 and 1, and the seeds that are reported are others.
"""

import argparse
import re
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from chart import chart
from compare import SWAP, Bench, Ratios
from policies import BLIND, Ours

DOCS = Path(__file__).parents[2] / "docs"
HELD_OUT = (100, 101, 102, 103, 104, 105)
LOADS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
FEW_LOADS = (0.5, 0.7, 0.9)
FEW_SEEDS = 3
SWAPS = (0, 2, 20)
BEGIN, END = "<!-- begin: bench/routing/run.py -->", "<!-- end: bench/routing/run.py -->"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, nargs="+", default=HELD_OUT)
    arguments.add_argument("--jobs", type=int, default=1500, help="per trace")
    arguments.add_argument("--write", action="store_true", help="put the figures into docs/")
    chosen = arguments.parse_args()
    began = time.process_time()
    bench = Bench(chosen.seeds, chosen.jobs)
    main_figures = {load: bench.ratios(Ours, load) for load in LOADS}
    seeds = " ".join(map(str, chosen.seeds))
    text = "\n\n".join(
        [
            f"By `python bench/routing/run.py --jobs {chosen.jobs} --seeds {seeds}`. Every ratio is the\n"
            f"geometric mean over 4 fleets and all seeds, of which the second table has {FEW_SEEDS} and the third 1.",
            by_load(main_figures),
            by_swap(bench),
            blind(bench),
        ]
    )
    print(text, f"\n\n{time.process_time() - began:.0f} seconds of CPU")
    if chosen.write:
        write(text, main_figures)


def by_load(figures: dict[float, Ratios]) -> str:
    head = ["load", "mean", "p99", "longest wait", "loads", "mean, worst trace", "longest wait of all"]
    return table(
        head,
        (
            [f"{load:g}", *map(ratio, (r.mean, r.p99, r.longest_wait, r.loads, r.worst_mean)), f"{r.seconds:.0f} s"]
            for load, r in figures.items()
        ),
    )


def by_swap(bench: Bench) -> str:
    def cells(make: type[Ours] | partial[Ours], swap: int) -> list[str]:
        found = [bench.ratios(make, load, swap, seeds=FEW_SEEDS) for load in FEW_LOADS]
        return [f"{ratio(r.mean)} / {ratio(r.p99)}" for r in found]

    rows = [[f"a load takes {swap} images", *cells(Ours, swap)] for swap in SWAPS]
    rows.append([f"{SWAP} images, and sizes are known", *cells(partial(Ours, sized=True), SWAP)])
    return table(["mean / p99 at load", *map(str, FEW_LOADS)], rows)


def blind(bench: Bench) -> str:
    loads = LOADS[:3]
    rows = [
        [
            name,
            *(
                f"{bench.ratios(make, load, seeds=1).mean:.1f}" if bench.is_stable(make, load) else "unstable"
                for load in loads
            ),
        ]
        for name, make in BLIND.items()
    ]
    return table(["mean at load", *map(str, loads)], rows)


def ratio(value: float) -> str:
    return f"{value:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def write(text: str, figures: dict[float, Ratios]) -> None:
    page = DOCS / "scheduling.md"
    old = page.read_text(encoding="utf-8")
    between = re.compile(f"(?<={BEGIN}\n).*(?={END})", re.DOTALL)
    page.write_text(between.sub(lambda _: f"\n{text}\n\n", old), encoding="utf-8")
    lines = {
        "mean": [found.mean for found in figures.values()],
        "p99": [found.p99 for found in figures.values()],
        "longest wait": [found.longest_wait for found in figures.values()],
    }
    drawn = chart("Time to the picture, as a ratio to SwarmUI's rule", "load of the fleet", list(figures), lines)
    (DOCS / "scheduling.svg").write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
