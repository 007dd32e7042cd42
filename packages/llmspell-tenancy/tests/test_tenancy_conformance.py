import pytest

from llmspell_tenancy import TenantStorage
from llmspell_testing import BackendDouble, StorageBackendSuite


class OneAmongOthers(StorageBackendSuite):
    tenant: str | None = None

    @pytest.fixture
    async def backend(self):
        shared = BackendDouble()
        for other in (None, "a", "b", "acme2", "z"):
            if other != self.tenant:
                await TenantStorage(shared, other).set_batch({"k": b"theirs", "tenant:x": b"1"})
        return TenantStorage(shared, self.tenant)


class TestATenant(OneAmongOthers):
    tenant = "acme"


class TestNobody(OneAmongOthers):
    tenant = None
