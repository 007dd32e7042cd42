"""Configuration: where it is found, which value wins, what is wrong with it.

The sections themselves belong to the packages that read them. Names load on first use.
"""

from llmspell_core import lazy_exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell_config._discovery import Place as Place
    from llmspell_config._discovery import search_places as search_places
    from llmspell_config._global import ConfigGlobal as ConfigGlobal
    from llmspell_config._load import load as load
    from llmspell_config._problems import Problem as Problem
    from llmspell_config._reading import Reading as Reading
    from llmspell_config._reading import read as read
    from llmspell_config._redaction import effective as effective
    from llmspell_config._redaction import redacted as redacted
    from llmspell_config._redaction import restored as restored
    from llmspell_config._redaction import secret_values as secret_values
    from llmspell_config._resolved import resolved as resolved
    from llmspell_config._sections import PluginsConfig as PluginsConfig
    from llmspell_config._settings import LayeredSettings as LayeredSettings
    from llmspell_config._settings import Settings as Settings
    from llmspell_config._settings import json_schema as json_schema
    from llmspell_config._settings import settings_class as settings_class
    from llmspell_config._toml import to_toml as to_toml

__all__ = [
    "ConfigGlobal",
    "LayeredSettings",
    "Place",
    "PluginsConfig",
    "Problem",
    "Reading",
    "Settings",
    "effective",
    "json_schema",
    "load",
    "read",
    "redacted",
    "resolved",
    "restored",
    "search_places",
    "secret_values",
    "settings_class",
    "to_toml",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ConfigGlobal": "_global",
        "LayeredSettings": "_settings",
        "Place": "_discovery",
        "PluginsConfig": "_sections",
        "Problem": "_problems",
        "Reading": "_reading",
        "Settings": "_settings",
        "effective": "_redaction",
        "json_schema": "_settings",
        "load": "_load",
        "read": "_reading",
        "redacted": "_redaction",
        "resolved": "_resolved",
        "restored": "_redaction",
        "search_places": "_discovery",
        "secret_values": "_redaction",
        "settings_class": "_settings",
        "to_toml": "_toml",
    },
)
