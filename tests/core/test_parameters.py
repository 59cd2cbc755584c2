import msgspec
import pytest

from imagerouter.parameters import ALIASES, CANONICAL_OF, DECLARABLE, Descriptor, between, one_of
from imagerouter.types import ImageRequest

HANDLED_BY_THE_CORE = {"n", "size", "aspect_ratio", "output_format", "output_compression"}


def test_every_alias_stands_for_one_parameter():
    aliases = [alias for names in ALIASES.values() for alias in names]
    assert len(set(aliases)) == len(aliases)
    assert len(CANONICAL_OF) == len(aliases)


def test_no_alias_is_a_canonical_name_itself():
    canonical = {*ALIASES, *DECLARABLE, *ImageRequest.__struct_fields__}
    assert not canonical & CANONICAL_OF.keys()


def test_aliases_are_of_parameters_that_exist():
    assert set(ALIASES) <= DECLARABLE | HANDLED_BY_THE_CORE


@pytest.mark.parametrize(
    ("descriptor", "value", "refusal"),
    [
        (between(1, 150), 20, None),
        (between(1, 150), 1, None),
        (between(1, 150), 150, None),
        (between(1, 150), 0, "must be between 1 and 150"),
        (between(0, 1), 1.5, "must be between 0 and 1"),
        (Descriptor(type="range", min=1), 0, "must be between 1 and any"),
        (one_of(["euler", "heun"]), "heun", None),
        (one_of(["euler", "heun"]), "lms", "must be one of euler, heun"),
        (one_of([]), "lms", "must be one of (none available)"),
        (Descriptor(type="enum"), "anything", None),
        (Descriptor(type="string"), "anything", None),
    ],
)
def test_a_descriptor_says_why_a_value_does_not_fit(descriptor, value, refusal):
    assert descriptor.refusal(value) == refusal


def test_a_descriptor_on_the_wire_has_only_what_was_said():
    assert msgspec.to_builtins(between(1, 150, default=20)) == {
        "type": "range",
        "min": 1,
        "max": 150,
        "default": 20,
    }
    assert msgspec.to_builtins(Descriptor(type="string")) == {"type": "string"}
