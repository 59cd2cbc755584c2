from __future__ import annotations

import pytest
from pydantic import ValidationError

from imagerouter_diffusers import DiffusersConfig
from imagerouter_diffusers.config import ModelSource


def test_every_key_says_what_it_means_in_one_sentence() -> None:
    for model in (DiffusersConfig, ModelSource):
        for name, field in model.model_fields.items():
            assert field.description, name
            assert field.description.endswith("."), name


def test_a_model_may_be_a_plain_string_and_folders_a_single_one() -> None:
    config = DiffusersConfig.model_validate({"models": {"a": "org/a"}, "folders": "here", "memory": "8GiB"})
    assert config.models["a"] == ModelSource(source="org/a")
    assert config.folders == ["here"]
    assert config.memory == 8 * 2**30


def test_the_schema_allows_the_short_forms_too() -> None:
    schema = DiffusersConfig.model_json_schema()
    assert {"type": "string"} in schema["properties"]["folders"]["anyOf"]
    assert {"type": "string"} in schema["properties"]["models"]["additionalProperties"]["anyOf"]


@pytest.mark.parametrize("keys", [{"device": "gpu"}, {"dtype": "int8"}, {"models": {"a": {"src": "x"}}}, {"x": 1}])
def test_a_wrong_key_or_value_is_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DiffusersConfig.model_validate(keys)


def test_nothing_is_downloaded_and_no_pickle_opened_unless_it_is_allowed() -> None:
    config = DiffusersConfig()
    assert not config.allow_download
    assert not config.allow_pickle
