"""What is sent of a conversation: never half of a tool call, never more than there is room for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llmspell_agents import AgentConfig, Memory
from llmspell_agents._dialogue import Dialogue, shortened_results
from llmspell_agents._history import History, Remembered, orphan
from llmspell_agents._memory import estimated_tokens
from llmspell_core import Media, Message, ToolRequest, ValidationError


def turn(number: int, calls: list[int], *, answered: bool = True) -> list[Remembered]:
    """A question, rounds of so many tool calls, an answer."""
    messages = [Message("user", f"question {number} " * 3)]
    for at, count in enumerate(calls):
        requests = tuple(ToolRequest(f"{number}-{at}-{n}", "t", "{}") for n in range(count))
        if requests:
            messages.append(Message("assistant", "", requests))
            messages += [
                Message("tool", "result " * (10 + 40 * n), tool_request_id=request.id)
                for n, request in enumerate(requests)
            ]
    if answered:
        messages.append(Message("assistant", "answer " * 2))
    return [Remembered(message, float(number)) for message in messages]


def only(turns: list[list[Remembered]]) -> list[Message]:
    return [entry.message for turn in turns for entry in turn]


rounds = st.lists(st.integers(0, 3), max_size=4)


@given(
    st.integers(1, 12),
    st.lists(st.tuples(rounds, st.booleans()), max_size=8),
    rounds,
    st.none() | st.integers(1, 900),
    st.sampled_from(["window", "summary"]),
    st.integers(0, 3),
)
def test_whatever_is_sent_requests_and_results_stay_together_and_it_fits(
    longest: int,
    turns: list[tuple[list[int], bool]],
    now: list[int],
    limit: int | None,
    strategy: Any,
    folded: int,
) -> None:
    memory = Memory(strategy, keep=1)
    config = AgentConfig(
        "ada",
        system_prompt="Be ada.",
        memory=memory,
        max_conversation_length=longest,
        context_window=limit,
    )
    history = History(longest if strategy == "window" else None)
    for number, (calls, answered) in enumerate(turns):
        # A turn that was broken off has results for all its requests, and no answer.
        history.add(turn(number, calls, answered=answered))
    if strategy == "window":
        assert len(history) <= longest
    assert orphan(history.messages) is None
    dialogue = Dialogue(config, history, window=None)
    for _ in range(folded):
        older = dialogue.foldable()
        if not older:
            break
        dialogue.fold(older, "All of it.", 1.0)
    dialogue.entries = only([turn(99, now, answered=False)])
    try:
        sent = dialogue.messages()
    except ValidationError as error:
        assume(error.code != "CONTEXT_LENGTH")
        raise
    assert orphan(sent) is None
    assert sent[0].role == "system"
    assert sent[0].content.startswith("Be ada.")
    assert [m.role for m in sent].count("system") == 1
    own = [m.content for m in dialogue.entries if m.role == "user"]
    assert [m.content for m in sent if m.role == "user"][-1:] == own
    if limit is not None:
        assert estimated_tokens(sent) <= limit
    if history.summary is not None:
        assert "All of it." in sent[0].content


def dialogue(limit: int | None, *turns: list[Remembered], **options: Any) -> Dialogue:
    history = History(None)
    for one in turns:
        history.add(one)
    config = AgentConfig("ada", system_prompt="", context_window=limit, **options)
    return Dialogue(config, history, window=None)


def test_the_oldest_turns_are_left_out_first() -> None:
    made = dialogue(40, *(turn(n, []) for n in range(5)))
    made.entries = [Message("user", "now")]
    said = [m.content.split()[1] for m in made.messages() if m.content.startswith("question")]
    assert said == ["2", "3", "4"]


def test_old_results_of_this_execution_go_before_those_of_the_last_round() -> None:
    made = dialogue(210)
    made.entries = only([turn(1, [1, 1], answered=False)])
    made.entries[2] = Message("tool", "x" * 700, tool_request_id="1-0-0")
    made.entries[4] = Message("tool", "y" * 700, tool_request_id="1-1-0")
    sent = made.messages()
    assert sent[2].content.startswith("[this result was left out")
    assert sent[4].content == "y" * 700
    assert made.entries[2].content == "x" * 700


def test_results_of_the_last_round_are_cut_to_one_length() -> None:
    made = dialogue(300)
    made.entries = only([turn(1, [3], answered=False)])
    for at, size in ((2, 300), (3, 3000), (4, 9000)):
        made.entries[at] = Message("tool", "z" * size, tool_request_id=f"1-0-{at - 2}")
    sent = made.messages()
    first, second, third = (message.content for message in sent[2:5])
    assert first == "z" * 300
    assert len(second) == len(third)
    assert second.endswith("[shortened to save room]")
    assert estimated_tokens(sent) <= 300


def test_what_cannot_be_made_to_fit_says_how_much_and_what_to_do() -> None:
    made = dialogue(25)
    made.entries = [Message("user", "ü" * 200)]
    with pytest.raises(ValidationError) as caught:
        made.messages()
    error = caught.value
    assert error.message == (
        "Input does not fit: about 100 tokens, the context window of agent 'ada' is 25"
    )
    assert error.details == {"tokens": 100, "limit": 25}
    assert ':memory("summary")' in (error.hint or "")
    assert "providers.NAME" not in (error.hint or "")
    summing = dialogue(25, memory=Memory("summary"))
    summing.entries = made.entries
    with pytest.raises(ValidationError) as caught:
        summing.messages()
    assert "summary" not in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("options", "window", "limit"),
    [
        ({}, None, None),
        ({}, 8_000, 7_000),
        ({}, 200_000, 198_976),
        ({"max_tokens": 3_000}, 8_000, 5_000),
        ({"context_window": 1_000}, 8_000, 1_000),
        ({"context_window": 100_000}, 8_000, 7_000),
        ({"context_window": 1_000}, None, 1_000),
    ],
)
def test_the_limit_leaves_room_for_the_answer(
    options: dict[str, Any], window: int | None, limit: int | None
) -> None:
    assert Dialogue(AgentConfig("ada", **options), None, window=window).limit == limit


def test_images_and_tools_take_room_too() -> None:
    image = Message("user", "x", media=(Media("image/png", data=b"1"),))
    assert estimated_tokens([image]) == 1000
    made = Dialogue(AgentConfig("ada", system_prompt="", context_window=90), None, window=None,
                    tools=80)  # fmt: skip
    made.entries = [Message("user", "x" * 60)]
    with pytest.raises(ValidationError, match="about 95 tokens"):
        made.messages()


def test_nothing_is_shortened_without_need() -> None:
    messages = only([turn(1, [2, 2])])
    assert shortened_results(messages, 0) == messages


# Restoring ---------------------------------------------------------------------------------------


def test_a_conversation_is_taken_over_as_it_was_given() -> None:
    history = History(None)
    history.add(turn(1, [2]))
    history.fold([], "What was.", 5.0)
    given = [entry.to_dict() for entry in history.entries]
    again = History(None)
    again.restore(json.loads(json.dumps(given)))
    assert again.entries == history.entries
    assert again.summary is not None
    assert again.summary.message.content == "What was."


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([{"role": "tool", "content": "x", "tool_request_id": "1"}], "has no request before it"),
        (
            [
                {"role": "user", "content": "q"},
                {
                    "role": "assistant",
                    "content": "",
                    "tool_requests": [{"id": "1", "name": "t", "arguments": "{}"}],
                },
            ],
            "tool request '1' has no result",
        ),
        ([{"content": "x"}], "message 1 cannot be read"),
    ],
)
def test_half_a_conversation_is_refused_and_nothing_is_lost(
    messages: list[dict[str, Any]], words: str
) -> None:
    history = History(None)
    history.add(turn(1, []))
    before = history.entries
    with pytest.raises(ValidationError, match=words):
        history.restore(messages)
    assert history.entries == before


def test_of_two_that_sum_up_at_once_the_second_changes_nothing() -> None:
    history = History(None)
    for number in range(3):
        history.add(turn(number, []))
    older = history.messages[:2]
    history.fold(older, "first", 1.0)
    history.fold(older, "second", 2.0)
    assert history.summary is not None
    assert history.summary.message.content == "first"
    assert len(history) == 4


def test_a_turn_longer_than_the_memory_keeps_its_question_and_its_end() -> None:
    history = History(4)
    history.add(turn(1, [2, 1]))
    assert [m.role for m in history.messages] == ["user", "assistant", "tool", "assistant"]
    assert orphan(history.messages) is None
