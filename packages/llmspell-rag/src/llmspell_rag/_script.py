"""The script global ``RAG``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from llmspell_core import (
    ConfigurationError,
    Document,
    IngestReport,
    Items,
    Passage,
    ScriptHost,
    ValidationError,
    attribute,
    exposed,
    script_global,
)
from llmspell_rag._documents import check_documents
from llmspell_rag._options import checked_k, checked_threshold
from llmspell_rag._scopes import KINDS
from llmspell_rag._script_options import IngestOptions, PlaceOptions, SearchOptions
from llmspell_rag._service import RetrievalService

_NO_TEXT = "Document requires 'content' or 'text' field"
_ENDS = ("first_line", "last_line", "start", "end", "heading")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a call goes: a scope and, if one was named, a collection."""

    scope: str
    collection: str | None


@script_global("RAG")
class RagGlobal:
    """Ingestion and retrieval for scripts.

    Documents go into a collection of a scope (``global`` unless said otherwise) and are found
    there only. Wrong arguments and failures raise.
    """

    def __init__(self, host: ScriptHost) -> None:
        self._host = host
        self._scope = "global"

    @property
    def _rag(self) -> RetrievalService:
        service = self._host.services.rag
        if not isinstance(service, RetrievalService):
            raise ConfigurationError(
                f"the retrieval service in use ({type(service).__name__}) has no script global",
                hint="Its distribution must bring a global RAG of its own.",
            )
        return service

    @exposed(names=("ingest_batch",))
    async def ingest(
        self, documents: Any = None, options: Annotated[Any, IngestOptions] = None
    ) -> dict[str, Any]:
        """Store documents, to be found by `search`.

        Everything is checked before anything is stored.

        Args:
            documents: A text, a table ``{content|text, id?, metadata?}``, a list of them, or
                ``{path=…, glob=…}`` for the files of a folder.
            options: Where they go and how they are cut.

        Returns:
            ``{success, documents_processed, documents_skipped, vectors_created, total_tokens, id,
            ids, document_ids, vector_ids, failed}``
        """
        given = _options(options)
        if isinstance(documents, Mapping) and "path" in documents:
            return await self._ingest_folder(cast("Mapping[str, Any]", documents), given)
        shared: Mapping[str, Any] = given.get("metadata") or {}
        read = [_document(each, shared) for each in _listed(documents)]
        check_documents(
            [document for document, _ in read],
            limit_kb=self._rag.settings.security.max_input_size_kb,
        )
        places: dict[_Place, list[Document]] = {}
        for document, own in read:
            places.setdefault(self._place({**given, **own}), []).append(document)
        reports = [
            await self._rag.ingest(
                group,
                self._host.context,
                scope=place.scope,
                collection=place.collection or self._rag.settings.default_collection,
                options=given,
            )
            for place, group in places.items()
        ]
        return _report(reports)

    async def _ingest_folder(
        self, folder: Mapping[str, Any], options: dict[str, Any]
    ) -> dict[str, Any]:
        given = {**options, **{k: v for k, v in folder.items() if k not in ("path", "glob")}}
        path, glob = folder["path"], folder.get("glob")
        if not isinstance(path, str):
            raise ValidationError("path must be a text", field="path")
        globs: Any = ["**/*.md", "**/*.txt"] if glob is None else glob
        globs = [globs] if isinstance(globs, str) else globs
        if not isinstance(globs, list) or not all(
            isinstance(each, str) for each in cast("list[Any]", globs)
        ):
            raise ValidationError("glob must be a text or a list of them", field="glob")
        place = self._place(given)
        report = await self._rag.ingest_folder(
            path,
            self._host.context,
            glob=cast("list[str]", globs),
            scope=place.scope,
            collection=place.collection or self._rag.settings.default_collection,
            options=given,
        )
        return _report([report])

    @exposed()
    async def search(
        self,
        query: Annotated[Any, SearchOptions] = None,
        options: Annotated[Any, SearchOptions] = None,
    ) -> Items:
        """The best passages for a query: ``search("text", {…})`` or ``search{query="text", …}``.

        Args:
            query: What is asked, as text; or the options with ``query`` among them.
            options: Where is searched and how.

        Returns:
            A list of passages ``{id, text, content, score, source, citation, metadata, …}``, which
            has ``total``, ``results``, ``query`` and ``retrieval_time_ms`` as fields
        """
        given = _options(options)
        if isinstance(query, Mapping) and "query" in query:
            given = {**given, **cast("Mapping[str, Any]", query)}
            query = given.pop("query")
        if not isinstance(query, str) or not query.strip():
            raise ValidationError("query must be a text that is not empty", field="query")
        rag, context = self._rag, self._host.context
        place = self._place(given)
        retrieval = rag.settings.retrieval
        threshold = given.get("threshold")
        weights = given.get("weights")
        if weights is not None and not isinstance(weights, Mapping):
            raise ValidationError("weights must be a table", field="weights")
        started = context.monotonic()
        passages = await rag.search(
            query,
            context,
            k=checked_k(_first(given, ("k", "top_k", "limit"), retrieval.default_top_k)),
            scope=place.scope,
            collection=place.collection,
            filters=_filters(given),
            threshold=checked_threshold(
                retrieval.default_threshold if threshold is None else threshold
            ),
            hybrid=bool(given.get("hybrid")) or weights is not None,
            weights=cast("Mapping[str, Any] | None", weights),
            fusion=given.get("fusion") or "weighted",
            provider=_name(given, "provider"),
            exclude_expired=given.get("exclude_expired") is not False,
        )
        took = (context.monotonic() - started) * 1000
        plain = given.get("include_metadata") is False
        items = [_found(passage, plain=plain) for passage in passages]
        return Items(
            items,
            {
                "success": True,
                "total": len(items),
                "results": items,
                "query": query,
                "retrieval_time_ms": took,
            },
        )

    @exposed()
    async def delete(self, ids: Any = None, options: Annotated[Any, PlaceOptions] = None) -> int:
        """Remove documents or chunks by id; how many chunks went.

        Args:
            ids: An id or a list of them.
            options: ``{scope, scope_id, tenant_id}``, or the scope as text.
        """
        wanted: Any = [ids] if isinstance(ids, str) else ids
        if not isinstance(wanted, list) or not all(
            isinstance(each, str) and each for each in cast("list[Any]", wanted)
        ):
            raise ValidationError("delete takes an id or a list of ids", field="ids")
        place = self._place(_options(options))
        return await self._rag.delete(
            cast("list[str]", wanted), self._host.context, scope=place.scope
        )

    @exposed()
    async def clear(self, scope: Any = None, scope_id: Any = None) -> int:
        """Remove everything in a scope or collection; how many chunks went.

        Args:
            scope: A scope (``session:1``) or a collection's name; without one the current scope.
            scope_id: The id, where the scope has none.
        """
        place = self._named(scope, scope_id)
        return await self._rag.clear(
            self._host.context, scope=place.scope, collection=place.collection
        )

    @exposed()
    async def cleanup_scope(self, scope: Any = None, scope_id: Any = None) -> Any:
        """Remove everything in a scope that is named; how many chunks went.

        Args:
            scope: A scope or collection; or ``{scope=, scope_id?, confirm=true}``, for which the
                result is ``{success, deleted, stats}``.
            scope_id: The id, where the scope has none.
        """
        if not isinstance(scope, Mapping):
            if scope is None:
                raise ValidationError("cleanup_scope needs a scope", field="scope")
            return await self.clear(scope, scope_id)
        given = dict(cast("Mapping[str, Any]", scope))
        if given.get("confirm") is not True:
            raise ValidationError("cleanup_scope removes data: pass confirm=true", field="confirm")
        named = given.get("scope")
        if isinstance(named, str) and named.startswith("tenant_"):
            named = "tenant:" + named.removeprefix("tenant_")
        if not named:
            raise ValidationError("cleanup_scope needs a scope", field="scope")
        place = self._named(named, given.get("scope_id"))
        rag, context = self._rag, self._host.context
        before = await rag.stats(context, scope=place.scope, collection=place.collection)
        gone = await rag.clear(context, scope=place.scope, collection=place.collection)
        return {
            "success": True,
            "deleted": gone,
            "stats": {
                "documents_removed": before.documents,
                "storage_freed_mb": before.size_bytes / 2**20,
            },
        }

    @exposed()
    async def list_collections(self, scope: Any = None, scope_id: Any = None) -> list[str]:
        """The collections of a scope, sorted.

        Args:
            scope: Without one the current scope.
            scope_id: The id, where the scope has none.
        """
        place = self._named(scope, scope_id)
        return list((await self._rag.stats(self._host.context, scope=place.scope)).collections)

    @exposed()
    async def get_stats(self, scope: Any = None, scope_id: Any = None) -> dict[str, Any]:
        """How much a scope or collection holds; zeros for an unknown one.

        Args:
            scope: A scope or collection; without one the current scope.
            scope_id: The id, where the scope has none.

        Returns:
            ``{total_vectors, total_documents, total_storage_bytes, storage_bytes, namespace_count,
            collections}``
        """
        place = self._named(scope, scope_id)
        stats = await self._rag.stats(
            self._host.context, scope=place.scope, collection=place.collection
        )
        return {
            "total_vectors": stats.vectors,
            "total_documents": stats.documents,
            "total_storage_bytes": stats.size_bytes,
            "storage_bytes": stats.size_bytes,
            "namespace_count": stats.namespaces,
            "collections": len(stats.collections),
        }

    @exposed()
    async def save(self) -> bool:
        """Write what is still in memory, and remove what has expired."""
        await self._rag.save(self._host.context)
        return True

    @exposed()
    def list_providers(self) -> list[str]:
        """The embedders that are installed."""
        return self._rag.embedders()

    @exposed()
    def set_scope(self, scope: Any = None, scope_id: Any = None) -> str:
        """Set the scope of later calls that name none; returns the scope until now.

        Args:
            scope: The scope; without one ``global``.
            scope_id: The id, where the scope has none.
        """
        before = self._scope
        self._scope = _scope_text(scope, scope_id) or "global"
        return before

    @attribute
    def config(self) -> dict[str, Any]:
        """The settings in effect: ``{enabled, multi_tenant, collection, provider, …}``."""
        settings = self._rag.settings
        tenants = settings.multi_tenant
        if isinstance(tenants, Mapping):
            tenants = cast("Mapping[str, Any]", tenants).get("enabled", False)
        return {
            "enabled": settings.enabled,
            "multi_tenant": bool(tenants),
            "collection": settings.default_collection,
            "provider": settings.embedding.default_provider,
            "embedding_model": settings.embedding.model,
            "dimensions": settings.vector_storage.dimensions,
            "chunk_size": settings.chunking.chunk_size,
            "overlap": settings.chunking.overlap,
        }

    def _place(self, given: Mapping[str, Any]) -> _Place:
        """Where a call with these options goes."""
        collection = _name(given, "collection")
        tenant = _name(given, "tenant_id")
        if tenant is not None:
            return _Place(f"tenant:{tenant}", collection)
        scope, scope_id = _name(given, "scope"), _name(given, "scope_id")
        if scope is not None and scope_id is None and _is_collection(scope):
            return _Place(self._scope, collection or scope)
        return _Place(_scope_text(scope, scope_id) or self._scope, collection)

    def _named(self, scope: Any, scope_id: Any) -> _Place:
        """Where ``(scope, scope_id)`` leads; ``default`` and ``global`` are the global scope."""
        if isinstance(scope, Mapping):
            return self._place(cast("Mapping[str, Any]", scope))
        if scope == "default":
            return _Place("global", None)
        return self._place({"scope": scope, "scope_id": scope_id})


def _is_collection(scope: str) -> bool:
    """A word that is no kind of scope and has no id names a collection."""
    return ":" not in scope and scope != "global" and scope not in KINDS


def _scope_text(scope: Any, scope_id: Any) -> str | None:
    for value in (scope, scope_id):
        if value is not None and not isinstance(value, str):
            raise ValidationError("scope and scope_id must be texts", field="scope")
    if not scope:
        return None
    return f"{scope}:{scope_id}" if scope_id else scope


def _name(given: Mapping[str, Any], key: str) -> str | None:
    value = given.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValidationError(f"{key} must be a text", field=key)
    return value


def _options(options: Any) -> dict[str, Any]:
    if options is None:
        return {}
    if isinstance(options, str):
        return {"scope": options}
    if not isinstance(options, Mapping):
        raise ValidationError("options must be a table", field="options")
    given = dict(cast("Mapping[str, Any]", options))
    metadata = given.get("metadata")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise ValidationError("metadata must be a table", field="metadata")
    return given


def _listed(documents: Any) -> list[Any]:
    if isinstance(documents, str):
        return [documents]
    if isinstance(documents, list | tuple):
        return list(cast("list[Any]", documents))
    if isinstance(documents, Mapping):
        # An empty table is an empty list.
        return [cast("Any", documents)] if documents else []
    raise ValidationError(_NO_TEXT, field="documents")


def _document(given: Any, shared: Mapping[str, Any]) -> tuple[Document, dict[str, Any]]:
    """A document, and what it says about where it goes."""
    if isinstance(given, str):
        return Document(given, metadata=dict(shared)), {}
    if not isinstance(given, Mapping):
        raise ValidationError(_NO_TEXT, field="documents")
    table = cast("Mapping[str, Any]", given)
    text = table.get("content")
    if text is None:
        text = table.get("text")
    if not isinstance(text, str) or not text.strip():
        raise ValidationError(_NO_TEXT, field="text")
    metadata = table.get("metadata")
    if metadata is None:
        metadata = {}
    if isinstance(metadata, list) and not metadata:
        metadata = {}
    if not isinstance(metadata, Mapping):
        raise ValidationError("metadata must be a table", field="metadata")
    document_id = table.get("id")
    if isinstance(document_id, int) and not isinstance(document_id, bool):
        document_id = str(document_id)
    if document_id is not None and (not isinstance(document_id, str) or not document_id):
        raise ValidationError("a document's id must be a text", field="id")
    own = {"tenant_id": table["tenant_id"]} if table.get("tenant_id") is not None else {}
    merged = {**shared, **cast("Mapping[str, Any]", metadata)}
    if own:
        merged.setdefault("tenant", own["tenant_id"])
    return Document(text, document_id, _name(table, "source"), merged), own


def _filters(given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    filters = _first(given, ("filters", "metadata_filter", "filter"), None)
    if filters is None or filters == []:
        return None
    if not isinstance(filters, Mapping):
        raise ValidationError("filters must be a table of fields", field="filters")
    return cast("Mapping[str, Any]", filters)


def _first(given: Mapping[str, Any], names: tuple[str, ...], default: Any) -> Any:
    return next((given[name] for name in names if given.get(name) is not None), default)


def _report(reports: list[IngestReport]) -> dict[str, Any]:
    document_ids = [each for report in reports for each in report.document_ids]
    return {
        "success": True,
        "documents_processed": sum(r.documents + r.skipped for r in reports),
        "documents_skipped": sum(r.skipped for r in reports),
        "vectors_created": sum(r.chunks for r in reports),
        "total_tokens": sum(r.tokens for r in reports),
        "id": document_ids[0] if document_ids else None,
        "ids": document_ids,
        "document_ids": document_ids,
        "vector_ids": [each for report in reports for each in report.chunk_ids],
        "failed": [
            {"source": source, "error": reason}
            for report in reports
            for source, reason in report.failed
        ],
    }


def _found(passage: Passage, *, plain: bool) -> dict[str, Any]:
    vector_score = passage.vector_score
    item: dict[str, Any] = {
        "id": passage.id,
        "text": passage.text,
        "content": passage.text,
        "score": passage.score,
        "distance": None if vector_score is None else round(1 - vector_score, 6),
        "vector_score": vector_score,
        "keyword_score": passage.keyword_score,
        "collection": passage.collection,
        "source": passage.source,
        "citation": passage.citation,
        "metadata": None if plain else passage.metadata,
    }
    return {**item, **{name: passage.metadata.get(name) for name in _ENDS}}
