"""Parameters in the YAML file → those that a request would hold, wherever in the file they stand."""

from __future__ import annotations

import re
from typing import Any

from imagerouter.config import Config
from imagerouter.config.positions import Document, Path, plain
from imagerouter.openai import typed_parameters


def typed_section(document: Document, config: Config, path: Path, written: dict[str, Any]) -> dict[str, Any]:
    """One mapping of them; what is wrong is reported where it stands."""
    params = {
        name: _meant(name, value, config) if document.is_variable((*path, name)) else value
        for name, value in written.items()
    }
    typed, problems = typed_parameters(params, config.limits)
    for name, problem in problems:
        inner = (int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", name))
        place = (*path, name) if name in params else (*path, *inner)
        document.report(place, problem, at_key=problem.startswith("unknown"))
    return typed


def _meant(name: str, value: Any, config: Config) -> Any:
    """What a variable holds is text; where the parameter is a number, it is meant as one."""
    number = plain(value)
    return value if typed_parameters({name: number}, config.limits)[1] else number
