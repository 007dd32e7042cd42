"""A back end as one tenant sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping

from llmspell_core import StorageBackend

MARK = "tenant:"


class TenantStorage(StorageBackend):
    """The keys of one tenant, or of nobody.

    A tenant's key lies under ``tenant:<id>:<key>``. Keys of nobody lie under their own names,
    except those that begin with ``tenant:``: they get the prefix ``tenant::`` (no id is empty),
    so that no key of nobody can be taken for a tenant's.

    Args:
        backend: What holds them all.
        tenant: A valid id, or None.
    """

    def __init__(self, backend: StorageBackend, tenant: str | None) -> None:
        self._backend = backend
        self._prefix = MARK + ":" if tenant is None else f"{MARK}{tenant}:"
        self._nobody = tenant is None
        self.persistent = backend.persistent

    def _key(self, key: str) -> str:
        if self._nobody and not key.startswith(MARK):
            return key
        return self._prefix + key

    async def get(self, key: str) -> bytes | None:
        return await self._backend.get(self._key(key))

    async def write(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        *,
        expect: Mapping[str, bytes | None] | None = None,
        expires_at: float | None = None,
    ) -> bool:
        return await self._backend.write(
            {self._key(key): value for key, value in puts.items()},
            [self._key(key) for key in deletes],
            expect=None
            if expect is None
            else {self._key(key): value for key, value in expect.items()},
            expires_at=expires_at,
        )

    async def get_batch(self, keys: Iterable[str]) -> dict[str, bytes]:
        wanted = {self._key(key): key for key in keys}
        found = await self._backend.get_batch(wanted)
        return {wanted[key]: value for key, value in found.items()}

    async def list_keys(self, prefix: str = "") -> list[str]:
        keys = await self._backend.list_keys(self._key(prefix))
        return [shown for key in keys if (shown := self._shown(key)) is not None]

    async def scan(self, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        async for key, value in self._backend.scan(self._key(prefix)):
            shown = self._shown(key)
            if shown is not None:
                yield shown, value

    async def expiries(self) -> dict[str, float]:
        found = await self._backend.expiries()
        return {s: end for key, end in found.items() if (s := self._shown(key)) is not None}

    def _shown(self, key: str) -> str | None:
        """What *key* is called here; None for one that is not ours."""
        if key.startswith(self._prefix):
            return key[len(self._prefix) :]
        return None if key.startswith(MARK) else key
