"""A security service that allows everything, and that the sandbox asks it."""

import os

from bridge_testkit import World, make_services
from llmspell_core import Security


class AllowAll(Security):
    """Allows."""

    def path(self, path, mode, context):
        return os.path.realpath(path)

    def tool(self, name, level):
        """Never asked by the bridge."""


def test_the_security_service_decides_about_writes(tmp_path):
    services = make_services()
    services.provide("security", AllowAll())
    world = World(services=services)
    target = tmp_path / "x.txt"
    world.run(f"local f = io.open('{target}', 'w') f:write('hello') f:close()")
    assert target.read_text() == "hello"
    assert world.run(f"return io.open('{target}'):read('a')") == "hello"
    assert world.run("local f = io.tmpfile() f:write('t') f:seek('set') return f:read('a')") == "t"
    world.close()
