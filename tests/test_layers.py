"""The walls of the house: who may import whom, and how long a file may get."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "src" / "imagerouter"
PROVIDERS = ROOT / "providers"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ADAPTERS = sorted(folder.name for folder in PROVIDERS.iterdir() if folder.is_dir() and folder.name[0] not in "._")
FILES = sorted([*CORE.rglob("*.py"), *PROVIDERS.rglob("*.py")])

CONTRACT = {
    "imagerouter",
    "imagerouter.canvas",
    "imagerouter.errors",
    "imagerouter.extraction",
    "imagerouter.families",
    "imagerouter.http",
    "imagerouter.images",
    "imagerouter.logs",
    "imagerouter.metadata",
    "imagerouter.names",
    "imagerouter.parameters",
    "imagerouter.provider",
    "imagerouter.remote",
    "imagerouter.samplers",
    "imagerouter.sources",
    "imagerouter.suggest",
    "imagerouter.tasks",
    "imagerouter.types",
    "imagerouter.units",
}
"""The rooms that an adapter may enter; a third party's can't rely on any other."""

ROOMS_OF = {
    "litestar": {"app", "cli"},
    "uvicorn": {"app"},
    "uvloop": {"app"},
    "prometheus_client": {"metrics", "app"},
    "click": {"cli"},
    "obstore": {"storage"},
    "rich": {"cli"},
    "structlog": {"app", "logs", "telemetry"},
    "pytest": {"testing"},
    "pytest_asyncio": {"testing"},
    "imagerouter.app": {"app", "cli"},
    "imagerouter.cli": {"cli", "__main__"},
    "imagerouter.client": {"client", "cli", "__init__"},
    "imagerouter.testing": {"testing"},
    "imagerouter.transport": {"http", "transport"},
}
"""What only these rooms of the core may import."""


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, also late and by name in a string."""
    package = path.relative_to(CORE.parent if path.is_relative_to(CORE) else PROVIDERS).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                above = package[: len(package) - node.level + 1] if node.level else ()
                module = ".".join([*above, *([node.module] if node.module else [])])
                yield module
                yield from (name for alias in node.names if is_ours(name := f"{module}.{alias.name}"))
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield name


def is_ours(module: str) -> bool:
    """Whether a name below `imagerouter` is a module, and not something inside one."""
    path = CORE.parent.joinpath(*module.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def top_levels(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def room(path: Path) -> str:
    """The part of the core that a file belongs to: a module, or a package with all that is in it."""
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def called(path: Path) -> str:
    return str(path.relative_to(ROOT))


def in_core(path: Path) -> bool:
    return path.is_relative_to(CORE)


@pytest.fixture(scope="module")
def imported() -> dict[Path, set[str]]:
    return {path: set(imports(path)) for path in FILES}


def test_the_core_imports_no_adapter(imported):
    found = {called(path): top_levels(names) & {*ADAPTERS} for path, names in imported.items() if in_core(path)}
    assert not {path: names for path, names in found.items() if names}


def test_every_room_imports_only_what_it_may(imported):
    assert not [
        (called(path), module)
        for path, names in imported.items()
        for module in names
        for name, rooms in ROOMS_OF.items()
        if in_core(path) and is_within(module, name) and room(path) not in rooms
    ]


def test_an_adapter_imports_the_contract_and_no_other_adapter(imported):
    assert not [
        (called(path), module)
        for path, names in imported.items()
        for module in names - CONTRACT
        if not in_core(path)
        and module.partition("_")[0].partition(".")[0] == "imagerouter"
        and not is_within(module, path.relative_to(PROVIDERS).parts[0])
    ]


def test_an_adapter_knows_neither_the_web_server_nor_the_command_line(imported):
    foreign = {"litestar", "uvicorn", "uvloop", "prometheus_client", "click", "pytest", "structlog"}
    found = {called(path): top_levels(names) & foreign for path, names in imported.items() if not in_core(path)}
    assert not {path: names for path, names in found.items() if names}


def test_every_adapter_is_packaged_and_has_an_entry_point():
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    points = PROJECT["project"]["entry-points"]["imagerouter.providers"]
    assert sorted(packages) == ["providers/" + name for name in ADAPTERS] + ["src/imagerouter"]
    assert sorted(target.partition(":")[0] for target in points.values()) == ADAPTERS
    assert points.keys() == {name.removeprefix("imagerouter_") for name in ADAPTERS}


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_folder_of_an_adapter_is_a_package(name):
    assert (PROVIDERS / name / "__init__.py").is_file()


def test_no_file_is_too_long_to_be_read_in_one_go():
    lines = {called(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {path: count for path, count in lines.items() if count > 350}


def test_the_walls_would_be_seen_to_break(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "CORE", tmp_path / "src" / "imagerouter")
    intruder = tmp_path / "src" / "imagerouter" / "app" / "intruder.py"
    intruder.parent.mkdir(parents=True)
    intruder.with_name("server.py").touch()
    intruder.write_text(
        "import imagerouter_x.y\nfrom . import server\nfrom ..routing import rank\n"
        "def late():\n    from imagerouter import app, Model\n    importlib.import_module('click')\n"
    )
    assert set(imports(intruder)) == {
        "imagerouter_x.y",
        "imagerouter.app",
        "imagerouter.app.server",
        "imagerouter.routing",
        "imagerouter",
        "click",
    }
