from collections.abc import AsyncIterator, Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell_core import Services, StorageBackend, ValidationError
from llmspell_tenancy import TenancyService, TenantStorage, checked_tenant


class Memory(StorageBackend):
    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    async def write(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        *,
        expect: Mapping[str, bytes | None] | None = None,
        expires_at: float | None = None,
    ) -> bool:
        if any(self.values.get(k) != v for k, v in (expect or {}).items()):
            return False
        for key in deletes:
            self.values.pop(key, None)
        self.values.update(puts)
        return True

    async def scan(self, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        for key in sorted(self.values):
            if key.startswith(prefix):
                yield key, self.values[key]


def tenancy(**section: object) -> TenancyService:
    made = Services({"tenancy": section}).tenancy
    assert isinstance(made, TenancyService)
    return made


@pytest.fixture(autouse=True)
def _no_tenant_around(monkeypatch):
    monkeypatch.delenv("LLMSPELL_TENANT_ID", raising=False)


def test_the_current_tenant_is_the_configured_one_else_that_of_the_environment(monkeypatch):
    assert tenancy().current() is None
    monkeypatch.setenv("LLMSPELL_TENANT_ID", "from-env")
    assert tenancy().current() == "from-env"
    assert tenancy(id="").current() == "from-env"
    assert tenancy(id="acme").current() == "acme"


@pytest.mark.parametrize("bad", ["a/b", "..", "a b", "ä", "x" * 129, "a:b", "a\n", "\0"])
def test_what_cannot_be_an_id_is_refused_wherever_it_comes_from(bad, monkeypatch):
    with pytest.raises(ValidationError, match="Invalid tenant ID"):
        tenancy(id=bad).current()
    with pytest.raises(ValidationError):
        tenancy().storage(Memory(), bad)
    with pytest.raises(ValidationError):
        tenancy().namespace("docs", bad)
    if "\0" not in bad:
        monkeypatch.setenv("LLMSPELL_TENANT_ID", bad)
        with pytest.raises(ValidationError):
            tenancy().current()


@pytest.mark.parametrize("good", ["a", "Acme-1_x.y", "x" * 128, "..a"])
def test_letters_digits_and_three_signs_make_an_id(good):
    assert checked_tenant(good) == good


def test_the_empty_id_is_refused_where_one_is_named():
    with pytest.raises(ValidationError):
        tenancy().storage(Memory(), "")


@pytest.mark.parametrize(
    ("namespace", "own"),
    [
        ("", "tenant:acme"),
        ("global", "tenant:acme"),
        ("tenant:acme", "tenant:acme"),
        ("tenant:other", "tenant:acme:tenant:other"),
        ("session:1", "tenant:acme:session:1"),
    ],
)
def test_a_namespace_is_always_below_the_tenant(namespace, own):
    assert tenancy().namespace(namespace, "acme") == own
    assert tenancy().namespace(namespace, None) == namespace


KEYS = st.text(alphabet="tenant:ab.é0", max_size=12) | st.sampled_from(
    ["tenant:a:k", "tenant::k", "tenant:", "tenant::tenant:a:k", "tenant", "k"]
)
TENANTS = [None, "a", "b", "a.b"]


@given(st.lists(st.tuples(st.sampled_from(TENANTS), KEYS, st.binary(max_size=3))), KEYS)
async def test_each_view_behaves_like_a_store_of_its_own(writes, prefix):
    shared = Memory()
    alone = {tenant: Memory() for tenant in TENANTS}
    views = {tenant: tenancy().storage(shared, tenant) for tenant in TENANTS}
    for tenant, key, value in writes:
        await alone[tenant].set(key, value)
        await views[tenant].set(key, value)
    for tenant, view in views.items():
        own = alone[tenant]
        assert [item async for item in view.scan()] == [item async for item in own.scan()]
        assert [k async for k, _ in view.scan(prefix)] == await own.list_keys(prefix)
        for _, key, _ in writes:
            assert await view.get(key) == await own.get(key)


async def test_deleting_and_clearing_leave_the_others_alone():
    shared = Memory()
    acme, other, nobody = (tenancy().storage(shared, t) for t in ("acme", "other", None))
    for view in (acme, other, nobody):
        await view.set_batch({"k": b"1", "tenant:acme:k": b"2"})
    await nobody.delete("tenant:acme:k")
    assert await acme.clear() == 2
    assert await acme.list_keys() == []
    assert await other.list_keys() == ["k", "tenant:acme:k"]
    assert await nobody.list_keys() == ["k"]
    assert (await other.stats()).keys == 2


async def test_expectations_are_about_the_tenants_own_keys():
    shared = Memory()
    acme, nobody = TenantStorage(shared, "acme"), TenantStorage(shared, None)
    await nobody.set("k", b"theirs")
    assert await acme.compare_and_swap("k", None, b"mine")
    assert not await acme.compare_and_swap("k", b"theirs", b"stolen")
    assert await acme.compare_and_swap("k", b"mine", None)
    assert await nobody.get("k") == b"theirs"


async def test_closing_a_view_leaves_the_store_open():
    closed: list[bool] = []

    class Closing(Memory):
        persistent = True

        async def aclose(self) -> None:
            closed.append(True)

    view = TenantStorage(Closing(), "acme")
    assert view.persistent
    await view.aclose()
    assert closed == []
