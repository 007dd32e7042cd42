import pytest

from llmspell_hooks import HookService
from llmspell_testing import HookExecutorSuite


class TestHookService(HookExecutorSuite):
    @pytest.fixture
    def hooks(self):
        return HookService()
