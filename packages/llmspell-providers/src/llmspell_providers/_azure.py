"""OpenAI's models at Microsoft Azure.

https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
"""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote

from llmspell_core import ConfigurationError, ProviderSettings, Services
from llmspell_providers._openai import OpenAIProvider


class AzureProvider(OpenAIProvider):
    """Azure OpenAI. ``base_url`` (or ``AZURE_OPENAI_ENDPOINT``) is the resource,
    ``https://NAME.openai.azure.com``.

    ``settings.options`` understood, besides those of `OpenAIProvider`: ``deployment_name`` (in
    the place of the model's name, for chats; without it a model is a deployment) and
    ``api_version`` (a dated version of the API, such as ``2024-10-21``; without it the one that
    has no date).
    """

    vendor: ClassVar[str] = "azure"
    key_header: ClassVar[str] = "api-key"
    key_prefix: ClassVar[str] = ""

    def __init__(self, settings: ProviderSettings, services: Services) -> None:
        super().__init__(settings, services)
        self._version = settings.options.get("api_version")
        self._deployment = settings.options.get("deployment_name")

    @property
    def needs_key(self) -> bool:
        return True

    def address(self, base_url: str) -> str:
        """Without what clients of one kind of API or another want at its end."""
        return base_url.rstrip("/").removesuffix("/v1").removesuffix("/openai")

    def url_of(self, what: str, model: str) -> str:
        if not self.base_url:
            raise ConfigurationError(
                f"provider '{self.name}' has no address",
                hint=f"Set AZURE_OPENAI_ENDPOINT or providers.{self.name}.base_url to "
                "https://NAME.openai.azure.com.",
            )
        if self._version is None:
            return f"/openai/v1/{what}"
        place = f"deployments/{quote(model, safe='')}/" if model and what != "responses" else ""
        return f"/openai/{place}{what}?api-version={self._version}"

    def deployed(self, model: str) -> str:
        return model if self._deployment is None else str(self._deployment)
