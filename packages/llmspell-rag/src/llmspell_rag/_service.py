"""`RetrievalService`: documents in, cited passages out."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmspell_core import (
    Chunker,
    Document,
    EffectClass,
    Embedder,
    IngestReport,
    LLMSpellError,
    Passage,
    Retriever,
    ValidationError,
    VectorQuery,
    VectorStats,
    digest,
)
from llmspell_rag._codecs import PASSAGES, REPORT, STATS
from llmspell_rag._config import RagConfig
from llmspell_rag._documents import CITATION_FIELDS, check_documents, times_of
from llmspell_rag._folders import MARKDOWN, FoundFile, find_files, front_matter, read_text
from llmspell_rag._fusion import FUSIONS, Scored, by_vector, checked_weights, fused
from llmspell_rag._ingestion import Failure, Ingestion, Item, Plan
from llmspell_rag._options import checked_k, checked_threshold, chunk_options
from llmspell_rag._scopes import namespace_of
from llmspell_rag._words import telling_words

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services

LOG = logging.getLogger("llmspell.rag")
_CANDIDATES = 50


class RetrievalService(Retriever):
    """Retrieval over ``services.vectors``, with the embedders and chunkers that are installed.

    Everything is checked before anything is stored. A document is stored whole or not at all,
    and skipped when it is there unchanged. Each call is an effect of its context, and the
    context's tenant sees only its own.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._embedders: dict[str, Embedder] = {}
        self._chunkers: dict[str, Chunker] = {}

    @cached_property
    def settings(self) -> RagConfig:
        """The section ``[rag]``."""
        settings = self._services.config.section("rag", RagConfig)
        chunking = settings.chunking
        if chunking.overlap >= chunking.chunk_size:
            LOG.warning(
                "rag.chunking.overlap (%d) is not less than chunk_size (%d); using %d",
                chunking.overlap,
                chunking.chunk_size,
                chunking.chunk_size // 8,
            )
        return settings

    def namespace(self, scope: str, context: ExecutionContext) -> str:
        """The namespace of *scope* for the context's tenant."""
        namespace = namespace_of(scope)
        if context.tenant is None:
            return namespace
        return self._services.tenancy.namespace(namespace, context.tenant)

    def embedder(self, name: str | None = None) -> Embedder:
        """The embedder called *name*, or the configured one. A configured one that is not
        installed is replaced by the lexical one, with a warning.

        Raises:
            NotFoundError: for a *name* that nobody registered.
        """
        wanted = name or self.settings.embedding.default_provider
        if wanted not in self._embedders:
            plugins = self._services.plugins
            chosen = wanted
            if name is None and plugins.find("llmspell.embedders", wanted) is None:
                LOG.warning(
                    "embedder '%s' (rag.embedding.default_provider) is not installed; "
                    "using the lexical embedder, which matches words, not meanings",
                    wanted,
                )
                chosen = "lexical"
            factory = plugins.load("llmspell.embedders", chosen)
            dimensions = self.settings.vector_storage.dimensions
            self._embedders[wanted] = factory(self._services, name=chosen, dimensions=dimensions)
        return self._embedders[wanted]

    def embedders(self) -> list[str]:
        """The names of the installed embedders, sorted."""
        return self._services.plugins.names("llmspell.embedders")

    def _chunker(self, strategy: str) -> Chunker:
        if strategy not in self._chunkers:
            self._chunkers[strategy] = self._services.plugins.load("llmspell.chunkers", strategy)()
        return self._chunkers[strategy]

    def _plan(
        self,
        context: ExecutionContext,
        scope: str,
        collection: str,
        options: Mapping[str, Any] | None,
    ) -> Plan:
        if not collection:
            raise ValidationError("a collection needs a name", field="collection")
        given = chunk_options(options or {}, self.settings.chunking)
        if given.strategy is not None:
            self._chunker(given.strategy)  # a wrong name is told before anything is done
        return Plan(
            namespace=self.namespace(scope, context),
            collection=collection,
            strategy=given.strategy,
            size=given.size,
            overlap=given.overlap,
            embedder=self.embedder((options or {}).get("provider")),
            batch_size=self.settings.embedding.batch_size,
            chunker=self._chunker,
        )

    async def ingest(
        self,
        documents: Sequence[Document],
        context: ExecutionContext,
        *,
        scope: str = "global",
        collection: str = "default",
        options: Mapping[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> IngestReport:
        """See `Retriever.ingest`. A document without an id gets a random one; with one it
        replaces what is stored under it. *options*: ``chunk_size``, ``overlap``, ``strategy``
        (also as a table ``chunking``), ``provider``.

        Raises:
            ValidationError: for the first document that cannot be ingested, before any is.
        """
        given = list(documents)
        check_documents(given, limit_kb=self.settings.security.max_input_size_kb)
        seen: set[str] = set()
        for document in given:
            if document.id in seen:
                raise ValidationError(f"the document id '{document.id}' is given twice", field="id")
            if document.id is not None:
                seen.add(document.id)
        plan = self._plan(context, scope, collection, options)
        request = {
            **plan.describe(),
            "documents": [
                {"id": d.id, "source": d.source, "metadata": d.metadata, "text": digest(d.text)}
                for d in given
            ],
        }

        async def run(inner: ExecutionContext) -> IngestReport:
            async def items() -> AsyncIterator[Item | Failure]:
                for document in given:
                    yield _item(document, document.id or inner.new_id())

            ingestion = Ingestion(plan, self._services.vectors, inner)
            return await ingestion.run(items(), len(given), progress)

        return await context.effect(
            "rag.ingest", request, run, effect_class=EffectClass.IDEMPOTENT, codec=REPORT
        )

    async def ingest_folder(
        self,
        path: str,
        context: ExecutionContext,
        *,
        glob: str | Sequence[str] = ("**/*.md", "**/*.txt"),
        scope: str = "global",
        collection: str = "default",
        options: Mapping[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> IngestReport:
        """See `Retriever.ingest_folder`. A document's id and source are its path, beginning with
        *path* as it was given. Files that cannot be read as UTF-8 text are reported in
        ``failed``; documents of files that are gone from the folder are removed.

        Raises:
            NotFoundError: when there is no such folder or nothing in it matches.
            SecurityError: when the folder must not be read.
        """
        globs = [glob] if isinstance(glob, str) else list(glob)
        if not path.strip():
            raise ValidationError("a path is needed", field="path")
        if not globs:
            raise ValidationError("a glob is needed", field="glob")
        plan = self._plan(context, scope, collection, options)
        request = {**plan.describe(), "path": path, "glob": globs}

        async def run(inner: ExecutionContext) -> IngestReport:
            return await self._folder(plan, path, globs, inner, progress)

        return await context.effect(
            "rag.ingest", request, run, effect_class=EffectClass.IDEMPOTENT, codec=REPORT
        )

    async def _folder(
        self,
        plan: Plan,
        path: str,
        globs: Sequence[str],
        context: ExecutionContext,
        progress: Callable[[int, int], None] | None,
    ) -> IngestReport:
        root = self._services.security.path(path, "read", context)
        files = await asyncio.to_thread(find_files, path, root, globs)
        whole = bool(files[0].relative)  # a folder, not a single file
        mark = digest(root)[:16] if whole else ""

        async def items() -> AsyncIterator[Item | Failure]:
            for file in files:
                yield await asyncio.to_thread(self._read, file, mark, context)

        ingestion = Ingestion(plan, self._services.vectors, context)
        report = await ingestion.run(items(), len(files), progress)
        if whole:
            await ingestion.remove(
                await asyncio.to_thread(_vanished, ingestion.known, mark, root, files)
            )
        return report

    def _read(self, file: FoundFile, mark: str, context: ExecutionContext) -> Item | Failure:
        """On a worker thread: what a file says."""
        try:
            real = self._services.security.path(file.path, "read", context)
            text = read_text(real)
        except ValueError as error:
            return Failure(file.source, str(error))
        except OSError as error:
            return Failure(file.source, error.strerror or str(error))
        except LLMSpellError as error:
            return Failure(file.source, error.message)
        markdown = file.path.lower().endswith(MARKDOWN)
        skip, metadata = front_matter(text) if markdown else (0, {})
        metadata = {key: value for key, value in metadata.items() if key not in CITATION_FIELDS}
        try:
            times_of(metadata, now=0.0)
        except ValidationError:
            # A date in words is no reason to refuse a file.
            metadata = {k: v for k, v in metadata.items() if k in ("title", "description", "tags")}
        return Item(
            file.source,
            text,
            file.source,
            metadata,
            markdown=markdown,
            skip=skip,
            mark=mark,
            relative=file.relative,
        )

    async def search(
        self,
        query: str,
        context: ExecutionContext,
        *,
        k: int = 10,
        scope: str = "global",
        collection: str | None = None,
        filters: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        hybrid: bool = False,
        weights: Mapping[str, Any] | None = None,
        fusion: str = "weighted",
        provider: str | None = None,
        exclude_expired: bool = True,
    ) -> list[Passage]:
        """See `Retriever.search`. *weights* (``vector keyword metadata recency``) and *fusion*
        (``weighted``, ``reciprocal_rank``) say how a hybrid search makes one score of several.

        Raises:
            ValidationError: naming the argument that is wrong.
        """
        if not isinstance(query, str) or not query.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValidationError("query must be a text that is not empty", field="query")
        checked_k(k)
        checked_threshold(threshold)
        if fusion not in FUSIONS:
            raise ValidationError(
                f"there is no fusion '{fusion}'",
                field="fusion",
                hint=f"Known: {', '.join(FUSIONS)}",
            )
        weighed = checked_weights(weights)
        embedder = self.embedder(provider)
        wanted = VectorQuery(
            self.namespace(scope, context),
            max(_CANDIDATES, 2 * k) if hybrid else k,
            collection=collection,
            filters=filters or None,
            include_expired=not exclude_expired,
        )
        request: dict[str, Any] = {
            "query": query,
            "k": k,
            "namespace": wanted.namespace,
            "collection": collection,
            "filters": dict(filters) if filters else None,
            "threshold": threshold,
            "embedder": embedder.name,
            "exclude_expired": exclude_expired,
            "hybrid": {"weights": dict(weighed), "fusion": fusion} if hybrid else None,
        }

        async def run(inner: ExecutionContext) -> list[Passage]:
            store = self._services.vectors
            (vector,) = await embedder.embed([query], inner)
            near = await store.nearest(vector, wanted)
            if hybrid:
                worded = await store.matching(telling_words(query), wanted)
                ranked = fused(near, worded, weighed, fusion, inner.now())
            else:
                ranked = by_vector(near)
            least = 0.0 if threshold is None else threshold
            return [_passage(scored, hybrid) for scored in ranked if scored.score >= least][:k]

        return await context.effect(
            "rag.search", request, run, effect_class=EffectClass.PURE, codec=PASSAGES
        )

    async def delete(
        self, ids: Iterable[str], context: ExecutionContext, *, scope: str = "global"
    ) -> int:
        """Remove documents or single chunks by id; returns how many chunks went."""
        wanted = list(ids)
        namespace = self.namespace(scope, context)

        async def run(_: ExecutionContext) -> int:
            return await self._services.vectors.delete(namespace, wanted)

        request = {"namespace": namespace, "ids": wanted}
        return await context.effect("rag.delete", request, run, effect_class=EffectClass.IDEMPOTENT)

    async def clear(
        self, context: ExecutionContext, *, scope: str = "global", collection: str | None = None
    ) -> int:
        """Remove a scope or one of its collections; returns how many chunks went."""
        namespace = self.namespace(scope, context)

        async def run(_: ExecutionContext) -> int:
            return await self._services.vectors.clear(namespace, collection=collection)

        request = {"namespace": namespace, "collection": collection}
        return await context.effect("rag.clear", request, run, effect_class=EffectClass.IDEMPOTENT)

    async def stats(
        self, context: ExecutionContext, *, scope: str = "global", collection: str | None = None
    ) -> VectorStats:
        """What a scope or one of its collections holds; zeros for an unknown one."""
        namespace = self.namespace(scope, context)

        async def run(_: ExecutionContext) -> VectorStats:
            return await self._services.vectors.stats(namespace, collection=collection)

        request = {"namespace": namespace, "collection": collection}
        return await context.effect(
            "rag.stats", request, run, effect_class=EffectClass.PURE, codec=STATS
        )

    async def save(self, context: ExecutionContext) -> None:
        """Remove what has expired and write the index files; documents are on disk already."""

        async def run(_: ExecutionContext) -> None:
            await self._services.vectors.flush()

        await context.effect("rag.save", None, run, effect_class=EffectClass.IDEMPOTENT)


def _item(document: Document, document_id: str) -> Item:
    source = document.source or ""
    return Item(
        document_id,
        document.text,
        document.source,
        document.metadata,
        markdown=source.lower().endswith(MARKDOWN),
    )


def _vanished(
    known: Mapping[str, str], mark: str, root: str, files: Sequence[FoundFile]
) -> list[str]:
    """The documents of this folder whose file is gone, or is cited by another path now."""
    listed = {file.relative: file.source for file in files}
    gone: list[str] = []
    for document, fingerprint in known.items():
        if not fingerprint.startswith(f"{mark}|"):
            continue
        relative = fingerprint.split("|", 2)[2]
        renamed = listed.get(relative, document) != document
        if renamed or not os.path.exists(os.path.join(root, relative)):
            gone.append(document)
    return gone


def _passage(scored: Scored, hybrid: bool) -> Passage:
    hit = scored.hit
    metadata = {key: value for key, value in hit.metadata.items() if key != "fingerprint"}
    return Passage(
        id=hit.id,
        text=hit.text,
        score=round(scored.score, 6),
        source=str(metadata.get("source") or hit.document),
        collection=hit.collection,
        metadata=metadata,
        vector_score=round(scored.vector, 6),
        keyword_score=round(scored.keyword, 6) if hybrid else None,
    )


def open_rag(services: Services) -> RetrievalService:
    """The service ``rag``."""
    return RetrievalService(services)
