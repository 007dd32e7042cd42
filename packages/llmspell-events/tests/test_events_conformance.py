import pytest

from llmspell_events import BusService
from llmspell_testing import EventBusSuite


class TestBusService(EventBusSuite):
    @pytest.fixture
    async def bus(self):
        bus = BusService()
        yield bus
        await bus.aclose()
