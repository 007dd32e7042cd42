"""How well retrieval finds the right passage, on prose written for the purpose."""
# ruff: noqa: ASYNC240 - nothing else runs on the loop of a test

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmspell_core import Config, Document, ExecutionContext, Services
from llmspell_rag import LexicalEmbedder, RetrievalService
from llmspell_testing import SecurityDouble, make_context

PROSE = {
    "lighthouse": """\
The lighthouse on the northern cape was lit for the first time in 1872. Its keeper climbed two
hundred steps each evening to trim the wick and wind the clockwork that turned the lens. Since
electricity arrived nobody lives in the tower any more.
""",
    "bread": """\
A sourdough loaf needs nothing but flour, water, salt and patience. Feed the starter twice a day
until it doubles, mix the dough in the morning, fold it every half hour, and let it rest in the
refrigerator overnight before baking it in a very hot oven.
""",
    "bees": """\
Honey bees tell each other where flowers are by dancing. The angle of the dance against gravity
gives the direction relative to the sun, and how long the bee waggles gives the distance. The
other workers follow her in the dark of the hive.
""",
    "glacier": """\
A glacier is a river of ice that moves under its own weight. Where it melts faster than snow
falls, it retreats and leaves behind moraines, long ridges of rubble that show how far it once
reached into the valley.
""",
    "clock": """\
A pendulum clock keeps time because a pendulum of a given length swings with the same period
whatever the width of its swing, as long as it is small. In summer the rod grows a little and
the clock loses seconds every day.
""",
    "library": """\
Borrowed books are due after four weeks and can be renewed twice, unless another reader has
asked for them. For each day that a book is late the library charges ten cents, and after two
months it sends a bill for a new copy.
""",
    "bicycle": """\
If the chain of a bicycle slips under load, look at the sprockets first: worn teeth look like
shark fins. A chain that has stretched by more than one per cent ruins the sprockets, so measure
it every thousand kilometres and replace it in time.
""",
    "volcano": """\
Before the eruption the wells in the village ran dry and hundreds of small earthquakes were
counted each night. Then the summit bulged, and ash rose twelve kilometres high; the wind
carried it as far as the coast, where airports closed for a week.
""",
    "tea": """\
Green tea turns bitter when the water is too hot. Let the kettle cool to seventy degrees, steep
the leaves for two minutes and no longer, and use them a second time: many people like the
second cup better than the first.
""",
    "printing": """\
Movable type made books cheap. A page was set letter by letter, inked with leather balls and
pressed onto damp paper; two men could print some two hundred sheets in an hour. Within fifty
years there were presses in every large town of Europe.
""",
    "insurance": """\
The policy covers damage by storm, hail, fire and burst pipes. Floods are covered only if that
was agreed separately. Report a loss within seven days, with photographs, and keep damaged
things until an expert has seen them.
""",
    "owls": """\
Owls fly without a sound. The leading edge of their feathers is combed, which breaks the air
into small eddies, and the velvet on the upper side muffles the rest. Their ears sit at
different heights, so they can locate a mouse under snow.
""",
}

QUESTIONS = {
    "How many steps did the lighthouse keeper have to climb?": "lighthouse",
    "How do I bake sourdough bread?": "bread",
    "How do bees tell others the direction of flowers?": "bees",
    "What does a retreating glacier leave behind?": "glacier",
    "Why does a pendulum clock run slow in summer?": "clock",
    "What happens if I return a library book late?": "library",
    "My bicycle's chain is slipping, what should I check?": "bicycle",
    "What were the signs before the volcano erupted?": "volcano",
    "Which water temperature prevents bitter green tea?": "tea",
    "How fast could early printers print sheets?": "printing",
    "Does the insurance policy pay for flooding?": "insurance",
    "Why can owls fly silently?": "owls",
}


@pytest.fixture
async def rag(tmp_path: Path) -> AsyncIterator[tuple[RetrievalService, ExecutionContext]]:
    services = Services(Config({}, home=str(tmp_path)))
    services.provide("security", SecurityDouble(Path(__file__).parents[3], tmp_path))
    yield services.rag, make_context(services)  # type: ignore[misc]
    await services.aclose()


@pytest.mark.parametrize("hybrid", [False, True], ids=["vectors", "hybrid"])
async def test_the_right_passage_comes_first(
    rag: tuple[RetrievalService, ExecutionContext], hybrid: bool
) -> None:
    service, context = rag
    await service.ingest([Document(text, id=name) for name, text in PROSE.items()], context)
    missed: dict[str, str] = {}
    for question, wanted in QUESTIONS.items():
        (best,) = await service.search(question, context, k=1, hybrid=hybrid)
        if best.source != wanted:
            missed[question] = best.source
    assert len(missed) <= (1 if hybrid else 2), missed


async def test_the_right_passage_comes_first_among_many_that_share_words(
    rag: tuple[RetrievalService, ExecutionContext],
) -> None:
    service, context = rag
    whole = "\n\n".join(f"## About the {name}\n\n{text}" for name, text in PROSE.items())
    await service.ingest([Document(whole, id="all", source="all.md")], context)
    right = 0
    for question, wanted in QUESTIONS.items():
        (best,) = await service.search(question, context, k=1, hybrid=True)
        right += best.metadata["heading"] == f"About the {wanted}"
    assert right >= 11


@pytest.mark.parametrize(
    ("question", "source", "words"),
    [
        ("Where does LLMSpell keep its data on disk?", "architecture.md", ".llmspell"),
        ("What happens when a replay asks for something that was not recorded?", "", "eplay"),
        ("How can I extend it with a plugin of my own?", "", "lugin"),
    ],
)
async def test_questions_about_the_project_are_answered_from_its_own_documentation(
    rag: tuple[RetrievalService, ExecutionContext], question: str, source: str, words: str
) -> None:
    service, context = rag
    docs = Path(__file__).parents[3] / "docs"
    report = await service.ingest_folder(str(docs), context)
    assert report.failed == ()
    (best,) = await service.search(question, context, k=1, hybrid=True)
    assert source in best.source
    assert words in best.text
    lines = Path(best.source).read_text(encoding="utf-8").split("\n")
    first, last = best.metadata["first_line"], best.metadata["last_line"]
    assert best.text in "\n".join(lines[first - 1 : last])


async def test_vectors_are_the_same_everywhere() -> None:
    embedder = LexicalEmbedder(16)
    (vector,) = await embedder.embed(
        ["Stored records are recorded again, naïve 文字列."], make_context()
    )
    assert [round(each, 4) for each in vector] == [
        *(0.0, 0.768, 0.3893, 0.1219, -0.0681, 0.0, 0.0787, 0.0),
        *(0.3893, -0.0681, 0.0, -0.2437, 0.0, 0.0, -0.0981, -0.0876),
    ]


async def test_words_and_their_forms_weigh_more_than_stop_words() -> None:
    embedder = LexicalEmbedder()
    texts = [
        "how does it record a run",
        "recording runs",
        "how does it bake a cake",
        "!!! ???",
        "的",
        "データベースに保存する",
        "保存したデータベース",
    ]
    made = await embedder.embed(texts, make_context())

    def like(one: int, other: int) -> float:
        return sum(a * b for a, b in zip(made[one], made[other], strict=True))

    assert like(0, 1) > 0.8
    assert like(0, 2) < 0.1
    assert like(5, 6) > 0.4
    for n in range(len(texts)):
        assert like(n, n) == pytest.approx(1.0, abs=1e-5)


def test_an_embedder_needs_a_dimension() -> None:
    with pytest.raises(ValueError, match="dimensions must be at least 1"):
        LexicalEmbedder(0)
