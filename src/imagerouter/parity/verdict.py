"""What can be promised of a request's pictures on one target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imagerouter.types import Tier


@dataclass(frozen=True, slots=True)
class Verdict:
    """How near they are to those of other backends."""

    tier: Tier
    key: str | None = None
    """Pictures of one request under one key are the same; ``None`` where nothing is promised."""
    reasons: tuple[str, ...] = ()
    """Why it isn't exact, in words."""
    param: str | None = None
    """The parameter behind the first of them."""


OFF = Verdict(Tier.NONE, None, ("`parity` is off",), "parity")
UNPROVEN = Verdict(Tier.NONE, None, ("nothing is proven about this model here",), "parity")


_RANK = {Tier.EXACT: 0, Tier.CLOSE: 1, Tier.NONE: 2}


def worst(tiers: Sequence[Tier]) -> Tier:
    """The one that all of them keep."""
    return max(tiers, key=_RANK.__getitem__, default=Tier.EXACT)


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """What can be promised of all pictures of a request that several targets have drawn."""
    keys = {verdict.key for verdict in verdicts}
    return Verdict(
        worst([verdict.tier for verdict in verdicts]),
        keys.pop() if len(keys) == 1 else None,
        tuple(dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons)),
    )
