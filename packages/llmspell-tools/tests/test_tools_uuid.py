import uuid

import pytest

from llmspell_core import ExecutionContext, ValidationError
from llmspell_testing import LedgerDouble, ToolSuite, recorded_and_replayed
from llmspell_tools.utility import UuidGenerator


class TestUuidGeneratorKeepsTheToolContract(ToolSuite):
    @pytest.fixture
    def component(self):
        return UuidGenerator()

    @pytest.fixture
    def parameters(self):
        return {"operation": "generate", "count": 2}

    @pytest.fixture
    def refused(self):
        return [{"version": "v9"}, {"version": "v5"}, {"operation": "validate"}]


@pytest.mark.parametrize(
    ("parameters", "version"),
    [
        ({}, 4),
        ({"version": "v4"}, 4),
        ({"version": "4"}, 4),
        ({"version": 4}, 4),
        ({"version": 7.0}, 7),
        ({"version": "1"}, 1),
        ({"operation": "v1"}, 1),
        ({"operation": "V7"}, 7),
        ({"operation": "v5", "name": "example.org"}, 5),
        ({"action": "generate", "version": "v5", "name": "x", "namespace": "url"}, 5),
    ],
)
async def test_generated_uuid_has_the_version_asked_for(call, parameters, version):
    result = await call("uuid_generator", **parameters)
    made = uuid.UUID(result.value)
    assert made.version == version
    assert made.variant == uuid.RFC_4122
    assert result.result == {
        "uuid": result.value,
        "version": f"v{version}",
        "format": "hyphenated",
        "uuids": [result.value],
    }


async def test_named_uuids_are_those_of_the_standard(call):
    for name, namespace in (("dns", uuid.NAMESPACE_DNS), ("URL", uuid.NAMESPACE_URL)):
        result = await call("uuid-generator", version="v5", namespace=name, name="example.org")
        assert result.value == str(uuid.uuid5(namespace, "example.org"))
    own = uuid.uuid4()
    result = await call("uuid-generator", version="v5", namespace=str(own), name="x")
    assert result.value == str(uuid.uuid5(own, "x"))


async def test_time_is_in_versions_1_and_7(call, context):
    now = context.now()
    one = uuid.UUID((await call("uuid_generator", version="v1")).value)
    assert abs((one.time - 0x01B21DD213814000) / 1e7 - now) < 5
    assert one.node >> 40 & 1, "a random node is a multicast address"
    seven = uuid.UUID((await call("uuid_generator", version="v7")).value)
    assert abs((seven.int >> 80) / 1000 - now) < 5


@pytest.mark.parametrize(
    ("style", "shape"),
    [
        ("hyphenated", str),
        ("standard", str),
        ("simple", lambda u: u.hex),
        ("urn", lambda u: u.urn),
        ("braced", lambda u: f"{{{u}}}"),
    ],
)
async def test_format_is_as_asked_and_validates(call, style, shape):
    text = (await call("uuid_generator", format=style)).value
    assert text == shape(uuid.UUID(text))
    checked = await call("uuid_generator", operation="validate", uuid=text)
    assert checked.result == {
        "valid": True,
        "uuid": str(uuid.UUID(text)),
        "version": "v4",
        "variant": uuid.RFC_4122,
    }


async def test_count_makes_that_many_different_ones(call):
    made = (await call("uuid_generator", count=1000)).result["uuids"]
    assert len(set(made)) == 1000
    for count in (0, 1001, -1):
        with pytest.raises(ValidationError, match="Invalid count"):
            await call("uuid_generator", count=count)


async def test_nil_is_all_zeros(call):
    result = await call("uuid_generator", version="nil")
    assert result.value == "00000000-0000-0000-0000-000000000000"
    checked = await call("uuid_generator", operation="validate", input=result.value)
    assert checked.result["version"] == "nil"


async def test_component_id(call):
    result = await call("uuid_generator", operation="component_id", prefix="agent", short=True)
    prefix, digits = result.value.split("_")
    assert (prefix, len(digits)) == ("agent", 8)
    assert result.result == {"id": result.value, "prefix": "agent", "short": True}
    long = (await call("uuid_generator", operation="component_id")).value
    assert uuid.UUID(long.removeprefix("component_")).version == 4


async def test_deterministic_id_is_the_same_every_time(call):
    first = await call("uuid_generator", operation="deterministic", name="x", namespace="tool")
    again = await call("uuid_generator", operation="deterministic", name="x", namespace="tool")
    other = await call("uuid_generator", operation="deterministic", name="x")
    space = uuid.UUID("7cb24e6b-4f6e-5b6c-af8f-4e6b3f5e4b3c")
    assert first.value == again.value == str(uuid.uuid5(space, "x"))
    assert other.value != first.value
    with pytest.raises(ValidationError, match="Missing required parameter 'name'"):
        await call("uuid_generator", operation="deterministic")
    with pytest.raises(ValidationError, match="Invalid namespace"):
        await call("uuid_generator", operation="deterministic", name="x", namespace="dns")


async def test_custom_id_joins_its_parts(call, context):
    result = await call(
        "uuid_generator", operation="custom", prefix="job", suffix="eu", timestamp=True, short=True
    )
    prefix, stamp, digits, suffix = result.value.split("_")
    assert (prefix, len(digits), suffix) == ("job", 8, "eu")
    assert abs(int(stamp) - context.now()) < 5
    assert result.result == {"id": result.value, "timestamp": True, "short": True}


@pytest.mark.parametrize(
    "text", ["", "x", "1234", "6ba7b8109dad11d180b400c04fd430", "{" + "0" * 32, "g" * 32, "0-" * 32]
)
async def test_what_is_no_uuid_is_reported_not_raised(call, text):
    result = await call("uuid_generator", operation="validate", uuid=text)
    assert (result.success, result.value) == (True, False)
    assert "Invalid UUID format" in result.result["error"]


async def test_missing_and_wrong_parameters(call):
    with pytest.raises(ValidationError, match="UUID v5 requires a name parameter"):
        await call("uuid_generator", version="v5")
    with pytest.raises(ValidationError, match="Invalid version"):
        await call("uuid_generator", version="v2")
    with pytest.raises(ValidationError, match="Invalid namespace UUID"):
        await call("uuid_generator", version="v5", name="x", namespace="test")


async def test_replay_gives_the_same_identifiers(services):
    async def work(context: ExecutionContext):
        return [
            (await services.tools.invoke("uuid_generator", {"version": v}, context)).value
            for v in ("v1", "v4", "v7", "v4")
        ]

    first, second = await recorded_and_replayed(
        work, LedgerDouble(), record_with=services, replay_with=services
    )
    assert first == second
    assert len(set(first)) == 4
