"""The values of a conversation, there and back through JSON."""

from __future__ import annotations

import json

from llmspell_core import ChatResponse, Media, Message, ToolRequest, Usage


def test_a_message_is_the_same_after_a_way_through_json() -> None:
    asked = Message(
        "assistant",
        "look",
        (ToolRequest("c1", "calculator", '{"input": "1"}'),),
        media=(Media("image/png", b"\x89PNG"), Media("image/png", url="http://x/y.png")),
        carry={"signature": "s"},
    )
    told = Message("tool", "1", tool_request_id="c1", name="calculator")
    for message in (asked, told, Message("user")):
        kept = {**json.loads(json.dumps(message.to_dict())), "timestamp": 1.0}
        assert Message.from_dict(kept) == message


def test_a_response_keeps_who_gave_it_and_older_records_without_one_are_read() -> None:
    response = ChatResponse("hi", "m", usage=Usage(1, 2, cost=0.1), provider="other")
    kept = json.loads(json.dumps(response.to_dict()))
    assert ChatResponse.from_dict(kept) == response
    del kept["provider"]
    assert ChatResponse.from_dict(kept).provider is None
