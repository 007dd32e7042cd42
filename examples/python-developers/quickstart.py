"""The quick start from Python: ask the project's own documents, offline."""

import asyncio

from llmspell_core import ExecutionContext, Services, run_sync

QUESTION = "What happens when a replayed script asks for something that was not recorded?"


async def ask(question: str) -> str:
    async with Services() as services:
        context = ExecutionContext(services)
        await services.rag.ingest_folder("docs", context, collection="python-quickstart")
        (best,) = await services.rag.search(question, context, k=1, hybrid=True)
        return f"{best.text}\n\nSource: {best.citation}"


if __name__ == "__main__":
    print(asyncio.run(ask(QUESTION)))  # in an async program
    assert run_sync(ask(QUESTION))  # in a synchronous one: the same call through one door
