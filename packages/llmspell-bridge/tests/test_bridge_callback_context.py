"""What a callback of a script calls belongs to the callback, not to whatever runs by then."""

from collections.abc import Iterator

import pytest

import bridge_testkit


@pytest.fixture
def world() -> Iterator[bridge_testkit.World]:
    made = bridge_testkit.World(
        services=bridge_testkit.make_services(Places="bridge_places:Places")
    )
    yield made
    made.close()


def test_calls_of_callbacks_at_once_each_belong_to_their_own(world: bridge_testkit.World) -> None:
    found = world.run(
        """
        local places = {}
        local functions = {}
        for i = 1, 8 do
          functions[i] = function()
            local first = Places.here(i)
            local second = Places.here(9 - i)
            return first .. " " .. second .. " " .. Places.at_once()
          end
        end
        return Places.each(functions)
        """
    )
    assert found == [f"/place{at} /place{at} /place{at}" for at in range(8)]


def test_calls_beside_a_callback_belong_to_the_script(world: bridge_testkit.World) -> None:
    found = world.run(
        """
        local promise = Places.here_async(20)
        local inside = Places.each({function() return Places.here(3) end})
        return {promise:await(), inside[1], Places.here(), Places.at_once()}
        """
    )
    assert found == ["", "/place0", "", ""]
