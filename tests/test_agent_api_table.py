"""Every static and every instance method of `Agent`, as scripts call them, with all parts real.

Each row runs as a recorded run and is replayed: what a script reads of its agents comes out the
same, although clocks, figures and chance differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmspell_core import Config, Services, Source
from llmspell_kernel import Kernel

PRELUDE = """
local function eq(a, b)
  local x, y = JSON.stringify({v = a}), JSON.stringify({v = b})
  if x ~= y then error("got " .. x .. ", expected " .. y, 2) end
end
local function fails(words, f, ...)
  local ok, message = pcall(f, ...)
  if ok then error("did not fail: " .. words, 2) end
  if not tostring(message):find(words, 1, true) then
    error("failed with: " .. tostring(message) .. ", expected: " .. words, 2)
  end
end
local function near(a, b) assert(math.abs(a - b) < 1e-9, a .. " is not " .. b) end
local function basic(name, more)
  local options = {name = name, type = "basic"}
  for k, v in pairs(more or {}) do options[k] = v end
  return Agent.create(options)
end
local function ada(tools)
  return Agent.builder():name("ada"):model("echo/any"):system_prompt("Be brief.")
    :tools(tools or {"calculator"}):capability("sums"):build()
end
"""

STATIC = {
    "builder": """
        local b = Agent.builder()
        assert(b:name("x") == b and b:type("basic") == b)
        eq(b:build().name, "x")
    """,
    "create": """
        local one = Agent.create{name = "one", model = "echo/any", temperature = 0.5}
        eq(one:get_config().temperature, 0.5)
        eq(Agent.create("echo/m", {name = "two"}).model, "m")
        fails("no option 'temprature'", Agent.create, {name = "three", temprature = 1})
    """,
    "createAsync": """
        local seen
        local p = Agent.createAsync({name = "late", type = "basic"}, function(agent, err)
            seen = agent
        end)
        eq(p.name, "late")
        eq(p:execute("x").text, "BasicAgent 'late' received: x")
        p:await()
        Agent.createAsync({name = "later", type = "basic"}):await()
        eq(seen and seen.name, "late")
        local got, err = Agent.create_async({name = "late", type = "basic"}):await()
        assert(got == nil and err:find("already exists", 1, true))
    """,
    "list": """
        basic("b"); ada()
        local all = Agent.list()
        eq(#all, 2)
        eq({all[1].name, all[1].type, all[1].state, all[1].model},
           {"ada", "llm", "Uninitialized", "any"})
        eq(all[2].id, Agent.get("b").id)
    """,
    "get": """
        local b = basic("b")
        assert(Agent.get("b") == b and Agent.get(b.id) == b)
        assert(Agent.get("nobody") == nil)
    """,
    "discover": """
        local kinds = {}
        for _, kind in ipairs(Agent.discover()) do kinds[kind.type] = kind.description end
        for _, kind in ipairs{"basic", "llm", "tool", "tool-orchestrator", "composite",
                              "workflow", "monitor"} do
          assert(kinds[kind] and #kinds[kind] > 0, kind)
        end
        ada(); basic("b", {capabilities = {"fun"}})
        local function names(options)
          local found = {}
          for _, agent in ipairs(Agent.discover(options)) do found[#found + 1] = agent.name end
          return found
        end
        eq(names{type = "basic"}, {"b"})
        eq(names{capabilities = {"fun"}}, {"b"})
        eq(names{capabilities = {"supports_tools", "sums"}}, {"ada"})
        eq(#names{min_context = 1}, 0)
        fails("no option 'colour'", Agent.discover, {colour = 1})
    """,
    "discover_by_capability": """
        ada(); basic("b", {capabilities = {"weather-report"}})
        Agent.create_composite("team", {"b"}, "sequential")
        eq(Agent.discover_by_capability("supports_tools"), {"ada"})
        eq(Agent.discover_by_capability("tools"), {"ada"})
        eq(Agent.discover_by_capability("streaming"), {"ada", "b", "team"})
        eq(Agent.discover_by_capability("composite"), {"team"})
        eq(Agent.discover_by_capability("weather"), {"b", "team"})
        eq(#Agent.discover_by_capability("nothing"), 0)
    """,
    "list_templates": """
        local there = {}
        for _, name in ipairs(Agent.list_templates()) do
          eq(type(name), "string"); there[name] = true
        end
        assert(there["basic"] and there["llm"] and there["tool-orchestrator"])
        assert(there["reviewer"], "a configured one")
    """,
    "create_from_template": """
        eq(Agent.create_from_template("one", "basic", {description = "D"}).type, "basic")
        local llm = Agent.create_from_template("llm", {name = "two", model = "echo/any"})
        eq({llm:get_config().temperature, llm:get_config().max_tokens}, {0.7, 2000})
        local all = Agent.create_from_template("three", "tool_orchestrator", {model = "echo/any"})
        eq(all:get_config().temperature, 0.3)
        assert(#all:discover_tools() > 5)
        local mine = Agent.create_from_template("four", "reviewer", {language = "Lua"})
        eq(mine:get_config().system_prompt, "You review Lua code.")
        fails("must be one of Lua, Python", Agent.create_from_template, "x", "reviewer",
              {language = "Java"})
        fails("Missing required parameter: agents", Agent.create_from_template, "y",
              "orchestrator_agent", {})
        fails("must be at least 60", Agent.create_from_template, "y", "orchestrator_agent",
              {agents = {"one"}, max_workflow_time = 1})
        local boss = Agent.create_from_template("boss", "orchestrator_agent", {agents = {"one"}})
        eq(boss:execute("x").text, "BasicAgent 'one' received: x")
        fails("Template 'nope' not found", Agent.create_from_template, "x", "nope")
    """,
    "register": """
        eq(Agent.register{name = "one", type = "basic"}, "one")
        eq(Agent.register("two", {type = "basic"}), "two")
        fails("Agent instance 'two' already exists", Agent.register, "two", {type = "basic"})
        eq(Agent.get("two"):execute("x").text, "BasicAgent 'two' received: x")
    """,
    "get_info": """
        local kind = Agent.get_info("llm")
        eq(kind.required_parameters, {"name", "model"})
        assert(#kind.optional_parameters > 5 and kind.category and kind.complexity)
        ada()
        local info = Agent.get_info("ada")
        eq({info.type, info.model, info.provider, info.state},
           {"llm", "any", "echo", "Uninitialized"})
        eq(info.allowed_tools, {"calculator"})
        fails("Agent 'adda' not found", Agent.get_info, "adda")
    """,
    "list_capabilities": """
        ada(); basic("b", {capabilities = {"fun"}})
        local all = Agent.list_capabilities()
        eq(all.ada.capabilities, {supports_streaming = true, supports_tools = true,
                                  supports_context = true, supports_multimodal = true})
        eq(all.b.capabilities.supports_tools, false)
        eq(all.ada.config.system_prompt, "Be brief.")
        local one = Agent.list_capabilities("b")
        eq({one.name, one[1], #one, one.id}, {"b", "fun", 2, Agent.get("b").id})
        fails("not found", Agent.list_capabilities, "nobody")
    """,
    "list_instances": """
        eq(#Agent.list_instances(), 0)
        basic("b"); basic("a")
        eq(Agent.list_instances(), {"a", "b"})
    """,
    "get_hierarchy": """
        basic("b"); basic("c"); basic("alone")
        Agent.create_composite("inner", {"b"}, "sequential")
        Agent.create_composite("outer", {"inner", "c"}, "parallel")
        local root = Agent.get_hierarchy("outer").root
        eq({root.name, root.type, root.children[1].name, root.children[1].children[1].name,
            root.children[2].name, #root.children[2].children},
           {"outer", "agent", "inner", "b", "c", 0})
        local whole = Agent.get_hierarchy().root
        eq({whole.children[1].name, whole.children[2].name, #whole.children}, {"alone", "outer", 2})
        local tool = Agent.wrap_as_tool("alone")
        ada({tool})
        eq(Agent.get_hierarchy("ada").root.children[1].name, "alone")
        fails("not found", Agent.get_hierarchy, "nobody")
    """,
    "get_details": """
        local a = ada()
        a:execute('/tool calculator {"operation": "evaluate", "input": "2+2"}')
        local d = Agent.get_details("ada")
        eq({d.name, d.id, d.state}, {"ada", a.id, "Running"})
        eq({d.metrics.agent_id, d.metrics.requests_total, d.metrics.tool_invocations}, {a.id, 1, 1})
        assert(d.metrics.memory_bytes > 1e6)
        eq({d.config.system_prompt, d.config.max_conversation_length}, {"Be brief.", 100})
        eq(d.composition, {can_be_wrapped = true, supports_delegation = false,
                           supports_nesting = false})
        Agent.create_composite("team", {"ada"}, "sequential")
        eq(Agent.get_details("team").composition, {can_be_wrapped = true,
           supports_delegation = true, supports_nesting = true})
        fails("not found", Agent.get_details, "nobody")
        return d.metrics
    """,
    "wrap_as_tool": """
        local b = basic("b")
        eq(Agent.wrap_as_tool("b"), "b_tool")
        eq(Agent.wrap_as_tool("b"), "b_tool")
        local name = Agent.wrap_as_tool(b, {tool_name = "ask_b", category = "research",
                                            security_level = "safe", description = "Knows B."})
        local tool = Tool.get(name)
        eq({tool.name, tool.category, tool.security_level, tool.description},
           {"ask_b", "research", "safe", "Knows B."})
        for _, key in ipairs{"text", "input", "prompt"} do
          eq(Tool.invoke(name, {[key] = "hi"}).text, "BasicAgent 'b' received: hi")
        end
        eq(Tool.invoke(name, {}).success, false)
        local other = ada({"ask_b"})
        local r = other:execute('/tool ask_b {"text": "from ada"}')
        assert(r.text:find("BasicAgent 'b' received: from ada", 1, true), r.text)
        eq(r.tool_calls[1].tool_name, "ask_b")
        local w = Workflow.sequential{name = "w", steps = {
            {name = "s", type = "tool", tool = "ask_b", input = {input = "step"}}}}
        eq(w:execute({text = "go"}).outputs.s, "BasicAgent 'b' received: step")
        fails("Agent 'nobody' not found", Agent.wrap_as_tool, "nobody")
        fails("security_level must be one of", Agent.wrap_as_tool, "b", {security_level = "odd"})
        fails("has no option 'nam'", Agent.wrap_as_tool, "b", {nam = "x"})
        b:destroy()
        eq(Tool.exists("ask_b"), false)
    """,
    "create_composite": """
        local a, b, c = basic("a"), basic("b"), basic("c")
        eq(Agent.create_composite("row", {"a", b}, "sequential"):execute("x").text,
           "BasicAgent 'b' received: BasicAgent 'a' received: x")
        local both = Agent.create_composite{name = "both", agents = {"a", "b"},
                                            strategy = "parallel"}
        local r = both:execute("x")
        eq(r.text, "BasicAgent 'a' received: x\\n\\nBasicAgent 'b' received: x")
        eq({r.metadata.agent_results[1].agent, r.metadata.agent_results[2].success}, {"a", true})
        local m1, m2 = Agent.create{name = "m1", model = "echo/m"}, Agent.create{name = "m2",
                 model = "echo/m"}
        local vote = Agent.create_composite("vote", {"a", m1, m2}, "vote")
        local v = vote:execute("x")
        eq({v.text, v.metadata.votes[1].votes}, {"Echo: x", 2})
        near(v.metadata.share, 2 / 3)
        local strict = Agent.create_composite("strict", {"a", m1, m2},
                                              {strategy = "vote", threshold = 0.9})
        local none, err = strict:execute("x")
        assert(none == nil and err:find("undecided", 1, true), err)
        local saved = Agent.create_composite("saved", {"a", m1, m2},
            {strategy = "vote", threshold = 0.9, fallback_agent = "c"})
        eq(saved:execute("x").text, "BasicAgent 'c' received: x")
        local own = Agent.create_composite("own", {"a", "b", "c"}, function(input, names)
            eq(names, {"a", "b", "c"})
            if input.text == "two" then return {"c", "a"} end
            return "b"
        end)
        eq(own:execute("x").text, "BasicAgent 'b' received: x")
        eq(own:execute("two").text, "BasicAgent 'a' received: BasicAgent 'c' received: two")
        eq(own.type, "composite")
        local again
        again = Agent.create_composite("again", {"a"}, function()
            local _, problem = again:execute("x")
            error(problem)
        end)
        local _, problem = again:execute("x")
        assert(problem:find("would run inside itself: again → again", 1, true), problem)
        fails("Unknown routing strategy: sequel", Agent.create_composite, "x", {"a"}, "sequel")
        fails("Agent 'nobody' not found", Agent.create_composite, "x", {"nobody"}, "sequential")
        fails("has no members", Agent.create_composite, "x", {}, "sequential")
    """,
    "create_context": """
        local id = Agent.create_context{conversation_id = "c", user_id = "u", session_id = "s",
            scope = "global", inheritance = "inherit", data = {city = "Ulm"},
            security = {permissions = {"read"}, level = "default"}}
        eq({type(id), Agent.get_context_data(id, "city")}, {"string", "Ulm"})
        eq(Agent.create_context("mine", {n = 1}), "mine")
        eq(Agent.get_context_data("mine"), {n = 1})
        fails("no field 'dta'", Agent.create_context, {dta = {}})
        fails("Session scope requires an ID", Agent.create_context, {scope = {type = "session"}})
    """,
    "create_child_context": """
        local p = Agent.create_context("p", {a = 1})
        local function see(how)
          local c = Agent.create_child_context(p, "global", how)
          Agent.update_context(p, "a", 2)
          local seen = Agent.get_context_data(c, "a")
          Agent.update_context(c, "own", how)
          local back = Agent.get_context_data(p, "own")
          Agent.update_context(p, {a = 1})
          return {seen or "nil", back or "nil"}
        end
        eq(see("isolate"), {"nil", "nil"})
        eq(see("copy"), {1, "nil"})
        eq(see("inherit"), {2, "nil"})
        eq(see("whatever"), {2, "nil"})
        eq(see("share"), {2, "share"})
        eq(Agent.create_child_context(p, "kid", {b = 3}), "kid")
        eq({Agent.get_context_data("kid", "a"), Agent.get_context_data("kid", "b")}, {1, 3})
        fails("Parent context 'none' not found", Agent.create_child_context, "none", "global",
              "copy")
    """,
    "update_context": """
        local c = Agent.create_context("c", {a = 1})
        eq(Agent.update_context(c, "b", {x = {1, 2}}), true)
        Agent.update_context(c, {a = 5, d = "e"})
        eq(Agent.get_context_data(c), {a = 5, b = {x = {1, 2}}, d = "e"})
        fails("Context 'none' not found", Agent.update_context, "none", "a", 1)
    """,
    "get_context_data": """
        local c = Agent.create_context("c", {a = {1}})
        local copy = Agent.get_context_data(c)
        copy.a[1] = 9
        eq(Agent.get_context_data(c, "a"), {1})
        assert(Agent.get_context_data(c, "zzz") == nil)
        local scoped = Agent.create_context{scope = {type = "session", id = "s1"}}
        Agent.set_shared_memory({type = "session", id = "s1"}, "k", "shared")
        eq(Agent.get_context_data(scoped, "k"), "shared")
        fails("Context 'none' not found", Agent.get_context_data, "none", "a")
    """,
    "remove_context": """
        Agent.create_context("c", {})
        eq(Agent.remove_context("c"), true)
        fails("Context 'c' not found", Agent.remove_context, "c")
        fails("Context 'c' not found", Agent.get_context_data, "c")
    """,
    "set_shared_memory": """
        eq(Agent.set_shared_memory("global", "k", {n = 1}), true)
        eq(Agent.set_shared_memory("plain", 7), true)
        eq({Agent.get_shared_memory("global", "k").n, Agent.get_shared_memory("plain")}, {1, 7})
        Agent.set_shared_memory("global", "k", nil)
        assert(Agent.get_shared_memory("k") == nil)
        for _, kind in ipairs{"session", "workflow", "agent", "user"} do
          fails(kind:sub(1, 1):upper() .. kind:sub(2) .. " scope requires an ID",
                Agent.set_shared_memory, {type = kind}, "k", 1)
        end
        fails("Unknown scope type: planet", Agent.set_shared_memory, {type = "planet"}, "k", 1)
    """,
    "get_shared_memory": """
        local s1, s2 = {type = "agent", id = "1"}, {type = "agent", id = "2"}
        Agent.set_shared_memory(s1, "k", "one")
        eq(Agent.get_shared_memory(s1, "k"), "one")
        assert(Agent.get_shared_memory(s2, "k") == nil and Agent.get_shared_memory("k") == nil)
    """,
}

INSTANCE = {
    "execute": """
        local a = ada()
        local r = a:execute("hello")
        eq({r.text, r.metadata.model, r.metadata.provider}, {"Echo: hello", "any", "echo"})
        eq(a:get_state(), "Running")
        a:pause()
        local none, err = a:execute("x")
        assert(none == nil and err:find("cannot execute in state Paused", 1, true))
    """,
    "invoke": """
        local a = basic("a")
        eq(a:invoke("x").success, true)
        a:pause()
        local r, err = a:invoke("x")
        eq({r.success, r.error == err}, {false, true})
        assert(r.error:find("Paused", 1, true))
    """,
    "complete": """
        eq(ada():complete("hi"), "Echo: hi")
        eq(Agent.get("ada"):prompt("you"), "Echo: you")
    """,
    "execute_async": """
        local seen
        local p = basic("a"):execute_async("x", function(result, err) seen = result.text end)
        eq(p:await().text, "BasicAgent 'a' received: x")
        basic("b"):execute("y")
        eq(seen, "BasicAgent 'a' received: x")
    """,
    "invokeStream": """
        local pieces = {}
        local r = ada():invokeStream("one two", function(chunk)
            if not chunk.is_final then pieces[#pieces + 1] = tostring(chunk) end
        end)
        eq({r.success, r.text, table.concat(pieces)}, {true, "Echo: one two", "Echo: one two"})
        assert(#pieces > 1 and r.chunks_received == #pieces)
    """,
    "execute_streaming": """
        local row = Agent.create_composite("row", {basic("b"), ada()}, "sequential")
        local pieces = {}
        local r = row:execute_streaming("one", {}, function(chunk)
            if not chunk.is_final then pieces[#pieces + 1] = chunk.text end
        end)
        eq({r.text, table.concat(pieces)}, {"Echo: BasicAgent 'b' received: one",
                                            "Echo: BasicAgent 'b' received: one"})
        assert(#pieces > 2, "the last member speaks piece by piece")
    """,
    "reset": """
        local a = ada(); a:execute("x")
        eq({a:reset(), #a:get_history(), a:get_config().system_prompt}, {true, 0, "Be brief."})
    """,
    "get_history": """
        local a = basic("a"); a:execute("x")
        local h = a:get_history()
        eq({h[1].role, h[1].content, h[2].role, #h}, {"user", "x", "assistant", 2})
        assert(h[1].timestamp > 1e9)
    """,
    "get_info": """
        local i = ada():get_info()
        eq({i.success, i.name, i.result.name, i.result.provider, i.type, i.model},
           {true, "ada", "ada", "echo", "llm", "any"})
    """,
    "get_config": """
        local c = ada():get_config()
        eq({c.system_prompt, c.model, c.provider, c.allowed_tools, c.max_conversation_length,
            c.resource_limits.max_tool_calls},
           {"Be brief.", "any", "echo", {"calculator"}, 100, 100})
    """,
    "get_state": """
        local a = basic("a")
        eq(a:get_state(), "Uninitialized"); a:initialize(); eq(a:get_state(), "Ready")
    """,
    "get_agent_state": """
        local a = basic("a"); a:execute("x")
        eq(a:get_agent_state(), "Running")
    """,
    "set_state": """
        local a = basic("a")
        eq(a:set_state{mood = "good", n = 1}, true); a:set_state{n = 2}
        eq({State.agent_get("a", "mood"), State.agent_get("a", "n")}, {"good", 2})
        fails("save_state() keeps something", a.set_state, a, {conversation = 1})
    """,
    "save_state": """
        local a = basic("a"); a:execute("x")
        eq(a:save_state(), true)
        eq(State.agent_get("a", "metadata").agent_type, "basic")
        eq(#State.agent_get("a", "conversation"), 2)
    """,
    "delete_state": """
        local a = basic("a"); a:save_state(); a:set_state{mine = 1}
        eq(a:delete_state(), true)
        eq(a:load_state(), false)
        assert(State.agent_get("a", "mine") == nil)
    """,
    "load_state": """
        local a = Agent.builder():name("a"):type("basic"):system_prompt("Old."):build()
        eq(a:load_state(), false)
        a:execute("x"); a:pause(); a:save_state(); a:destroy()
        local b = basic("a")
        eq({b:load_state(), b:get_state(), #b:get_history(), b:get_config().system_prompt},
           {true, "Paused", 2, "Old."})
        b:resume(); b:execute("y")
        eq({#b:get_history(), b:get_metrics().requests_total}, {4, 2})
    """,
    "initialize": """
        local a = basic("a")
        eq({a:initialize(), a:get_state()}, {true, "Ready"})
        fails("Agent can only be initialized from Uninitialized state", a.initialize, a)
    """,
    "start": """
        local a = basic("a")
        fails("Agent can only be started from Ready or Paused state", a.start, a)
        a:initialize(); eq({a:start(), a:get_state()}, {true, "Running"})
        a:pause(); a:start(); eq(a:get_state(), "Running")
    """,
    "pause": """
        local a = basic("a")
        fails("Agent can only be paused from Running state", a.pause, a)
        a:execute("x"); eq({a:pause(), a:get_state()}, {true, "Paused"})
    """,
    "resume": """
        local a = basic("a"); a:execute("x")
        fails("Agent can only be resumed from Paused state", a.resume, a)
        a:pause(); eq({a:resume(), a:get_state()}, {true, "Running"})
        assert(a:execute("y"))
    """,
    "stop": """
        local a = basic("a")
        fails("Agent can only be stopped from Running state", a.stop, a)
        a:execute("x"); eq({a:stop(), a:get_state()}, {true, "Ready"})
        assert(a:execute("y")); eq(a:get_state(), "Running")
    """,
    "terminate": """
        local a = basic("a"); a:execute("x")
        eq({a:terminate(), a:get_state(), a:is_healthy()}, {true, "Terminated", false})
        fails("cannot execute in state Terminated", a.execute, a, "x")
        fails("Agent can only be terminated once", a.terminate, a)
        local b = basic("b"); b:terminate(); eq(b:get_state(), "Terminated")
        b:destroy(); basic("b")
    """,
    "recover": """
        local a = basic("a")
        fails("Agent can only be recovered from Error state", a.recover, a)
        for n = 1, 3 do
          a:set_error("e" .. n)
          eq({a:recover(), a:get_state(), a:get_recovery_attempts()}, {true, "Ready", n})
        end
        a:set_error("e4")
        fails("Maximum recovery attempts (3) exceeded", a.recover, a)
        assert(a:execute("x"))
        eq({a:get_state(), a:get_recovery_attempts()}, {"Running", 0})
    """,
    "set_error": """
        local a = basic("a"); a:execute("x")
        eq({a:set_error("broken"), a:get_state(), a:is_healthy()}, {true, "Error", false})
    """,
    "get_state_history": """
        local a = basic("a"); a:execute("x"); a:set_error("broken")
        local h, ways = a:get_state_history(), {}
        for i, t in ipairs(h) do ways[i] = t.from .. ">" .. t.to end
        eq(ways, {"Uninitialized>Initializing", "Initializing>Ready", "Ready>Running",
                  "Running>Error"})
        eq({h[4].reason, math.type(h[1].elapsed)}, {"broken", "float"})
        assert(h[1].timestamp > 1e9 and h[4].timestamp >= h[1].timestamp)
        return h
    """,
    "get_last_error": """
        local a = basic("a")
        assert(a:get_last_error() == nil)
        a:set_error("broken"); eq(a:get_last_error(), "broken")
    """,
    "get_recovery_attempts": """
        local a = basic("a"); eq(a:get_recovery_attempts(), 0)
        a:set_error("x"); a:recover(); eq(a:get_recovery_attempts(), 1)
    """,
    "is_healthy": """
        local a = basic("a"); eq(a:is_healthy(), false)
        a:initialize(); eq(a:is_healthy(), true)
        a:start(); eq(a:is_healthy(), true); a:pause(); eq(a:is_healthy(), true)
        a:set_error("x"); eq(a:is_healthy(), false)
    """,
    "get_state_metrics": """
        local a = basic("a"); a:execute("x"); a:set_error("e"); a:recover()
        local m = a:get_state_metrics()
        eq({m.current_state, m.total_transitions, m.error_count, m.recovery_attempts},
           {"Ready", 6, 1, 1})
        assert(m.uptime > 0 and m.last_transition > 1e9)
        local sum = 0
        for state, seconds in pairs(m.state_time_distribution) do
          assert(seconds >= 0, state); sum = sum + seconds
        end
        assert(math.abs(sum - m.uptime) < 0.01 and m.state_time_distribution.Running > 0)
        return m
    """,
    "discover_tools": """
        eq(ada({"calculator", "uuid_generator"}):discover_tools(), {"calculator", "uuid_generator"})
        eq(#basic("b"):discover_tools(), 0)
    """,
    "has_tool": """
        local a = ada()
        eq({a:has_tool("calculator"), a:has_tool("uuid_generator"), a:has_tool("none")},
           {true, false, false})
    """,
    "get_tool_metadata": """
        local a = ada()
        local m = a:get_tool_metadata("calculator")
        eq(m.name, "calculator")
        assert(#m.description > 0 and m.version:match("^%d+%.%d+%.%d+$"))
        assert(a:get_tool_metadata("uuid_generator") == nil and a:get_tool_metadata("none") == nil)
    """,
    "get_all_tool_metadata": """
        local all = ada({"calculator", "uuid_generator"}):get_all_tool_metadata()
        eq({all.calculator.name, all.uuid_generator.name}, {"calculator", "uuid_generator"})
    """,
    "invokeTool": """
        local a = ada()
        eq(a:invokeTool("calculator", {operation = "evaluate", input = "2 + 2"}).value, 4)
        fails("Permission denied", a.invokeTool, a, "uuid_generator", {})
        fails("not found", a.invokeTool, a, "none", {})
        eq(a:get_metrics().tool_invocations, 1)
    """,
    "get_metrics": """
        local a = ada()
        eq({a:get_metrics().requests_total, a:get_metrics().tool_invocations}, {0, 0})
        a:execute('/tool calculator {"operation": "evaluate", "input": "2+2"}')
        a:execute("plain"); a:execute({text = "x", tool_choice = "calculator", model = "no/such"})
        local m = a:get_metrics()
        eq({m.agent_id, m.requests_total, m.requests_failed, m.requests_active, m.tool_invocations},
           {a.id, 3, 1, 0, 1})
        assert(m.memory_bytes > 1e6 and m.cpu_percent > 0 and m.tokens > 0)
        return m
    """,
    "get_health": """
        local a = ada()
        eq(a:get_health().status, "healthy")
        a:execute("x")
        local h = a:get_health()
        eq({h.status, h.checks.success.status}, {"healthy", "healthy"})
        assert(h.timestamp > 1e9 and #h.message > 0)
        a:execute({text = "x", model = "no/such"})
        eq(a:get_health().status, "unhealthy")
        a:execute("y")
        eq(a:get_health().checks.success.status, "degraded")
        return h
    """,
    "get_performance": """
        local a = ada()
        eq({a:get_performance().total_executions, a:get_performance().success_rate}, {0, 1.0})
        a:execute("x"); a:execute("y"); a:execute("z")
        a:execute({text = "x", model = "no/such"})
        local p = a:get_performance()
        eq(p.total_executions, 4); near(p.success_rate, 0.75); near(p.error_rate, 0.25)
        assert(p.avg_execution_time_ms > 0 and p.p95_ms >= p.p50_ms and p.max_ms >= p.p95_ms)
        assert(p.avg_execution_time_ms ~= 100)
        return p
    """,
    "get_bridge_metrics": """
        local a = basic("a"); basic("b")
        local m = a:get_bridge_metrics()
        eq({m.active_agents, m.total_tools}, {2, #Tool.list()})
        assert(m.performance.memory_usage_mb > 1 and m.performance.uptime_seconds > 0)
        Agent.get("b"):terminate()
        eq(a:get_bridge_metrics().active_agents, 1)
        return m
    """,
    "logEvent": """
        local a = basic("a")
        eq(a:logEvent("milestone.reached", "half"), true)
        fails("words with dots", a.logEvent, a, "two words", "x")
    """,
    "configure_alerts": """
        local a = ada()
        local function metric(name, value)
          return {type = "metric_threshold", metric_name = name, operator = ">=", threshold = value,
                  duration_seconds = 0}
        end
        eq(a:configure_alerts{name = "one", condition = metric("requests_total", 1)}, true)
        eq(a:configure_alerts{
          {name = "failing", severity = "critical",
           condition = {type = "error_rate", rate_percent = 10, duration_seconds = 0}},
          {name = "sick", severity = "error",
           condition = {type = "health_status", status = "unhealthy", duration_seconds = 0}},
          {name = "slow", condition = {type = "metric_threshold", metric_name = "requests_total",
           operator = ">", threshold = 0, duration_seconds = 3600}},
          {name = "off", enabled = false, condition = metric("requests_total", 0)},
        }, true)
        eq(#a:get_alerts(), 0)
        a:execute({text = "x", model = "no/such"})
        local names = {}
        for i, alert in ipairs(a:get_alerts()) do names[i] = alert.name .. "/" .. alert.severity end
        eq(names, {"one/warning", "failing/critical", "sick/error"})
        fails("Unknown alert condition type: odd", a.configure_alerts, a,
              {name = "x", condition = {type = "odd"}})
        fails("an alert needs 'name'", a.configure_alerts, a, {condition = metric("cost", 1)})
        fails("an alert needs 'condition'", a.configure_alerts, a, {name = "x"})
        fails("metric_name must be one of", a.configure_alerts, a,
              {name = "x", condition = metric("colour", 1)})
    """,
    "get_alerts": """
        local a = basic("a")
        a:configure_alerts{name = "n", condition = {type = "metric_threshold",
            metric_name = "agent." .. a.id .. ".requests_total", operator = "==", threshold = 1,
            duration_seconds = 0}}
        eq(#a:get_alerts(), 0)
        a:execute("x"); a:execute("y")
        local all = a:get_alerts()
        eq({#all, all[1].name, all[1].severity, all[1].state}, {1, "n", "warning", "resolved"})
        assert(all[1].message:find("requests_total", 1, true) and all[1].timestamp > 1e9)
        return all
    """,
    "execute_with_context": """
        local a = ada()
        local c = Agent.create_context{data = {city = "Ulm", tags = {"a", "b"}}}
        eq(a:execute_with_context("Where?", c).text,
           'Echo: city: Ulm\\ntags: ["a", "b"]\\n\\nWhere?')
        fails("Context 'none' not found", a.execute_with_context, a, "x", "none")
    """,
    "get_id": 'local a = basic("a"); eq({a:get_id(), #a:get_id()}, {a.id, 36})',
    "get_name": 'eq(basic("a"):get_name(), "a")',
    "destroy": """
        local a = basic("a")
        eq(a:destroy(), true)
        assert(Agent.get("a") == nil)
        fails("was destroyed", a.execute, a, "x")
        fails("was destroyed", a.destroy, a)
        basic("a")
    """,
}

CONFIG = {
    "agents": {
        "templates": {
            "reviewer": {
                "base": "llm",
                "model": "echo/any",
                "system_prompt": "You review {language} code.",
                "parameters": {"language": {"type": "string", "enum": ["Lua", "Python"]}},
            }
        }
    }
}


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    services = Services(Config(CONFIG, home=str(tmp_path)))
    with Kernel(services, output=lambda stream, text: None) as made:
        yield made
    services.close()


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, id=f"{mark}{name}")
        for mark, rows in (("Agent.", STATIC), ("agent:", INSTANCE))
        for name, code in rows.items()
    ],
)
def test_a_row_of_the_table_holds_and_replays(kernel: Kernel, code: str) -> None:
    run = kernel.execute(Source(PRELUDE + code, "row.lua"), engine="lua", record=True)
    first = run.result(60).value
    assert run.run_id is not None
    assert kernel.replay(run.run_id).result(60).value == first
