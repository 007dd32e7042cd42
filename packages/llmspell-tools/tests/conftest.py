"""A world to call tools in: real services, a folder they may touch, one they may not."""

import pytest

from llmspell_core import Config, ExecutionContext, Services


@pytest.fixture
def allowed(tmp_path, monkeypatch):
    for name in ("allowed", "secret", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "secret" / "key.txt").write_text("secret")
    return tmp_path / "allowed"


@pytest.fixture
def secret(allowed):
    return allowed.parent / "secret"


@pytest.fixture
async def make_services(allowed):
    made = []

    def make(**tools):
        files = {"allowed_paths": [str(allowed)], **tools.pop("file_operations", {})}
        home = str(allowed.parent / "home")
        services = Services(Config({"tools": {"file_operations": files, **tools}}, home=home))
        made.append(services)
        return services

    yield make
    for services in made:
        await services.aclose()


@pytest.fixture
def services(make_services):
    return make_services()


@pytest.fixture
def context(services):
    return ExecutionContext(services)


@pytest.fixture
def call(services, context):
    """``await call("calculator", input="1+1")``."""

    async def invoke(name, /, **parameters):
        return await services.tools.invoke(name, parameters, context)

    return invoke
