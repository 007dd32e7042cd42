"""The guarded pattern functions find what Lua's own find."""

import random
from importlib import resources

import lupa.lua54
import lupa.luajit21
import pytest

MODULES = {"lua": lupa.lua54, "luajit": lupa.luajit21}

# Calls a function of Lua's library and ours with the same arguments, and shows what both gave.
COMPARE = b"""
local source, budget, old = ...
local own = {find = string.find, match = string.match, gmatch = string.gmatch, gsub = string.gsub}
local function nowhere() return "" end
local function blamed(_, ok, ...)
  if ok then return ... end
  error((...), 0)
end
local ours = assert((loadstring or load)(source))(budget, old, nowhere, blamed)
local function called(library, name, s, p, more)
  return pcall(function()
    if name == "gmatch" then
      local shown = {}
      for a, b, c in library.gmatch(s, p) do
        shown[#shown + 1] = tostring(a) .. "|" .. tostring(b) .. "|" .. tostring(c)
        assert(#shown < 100)
      end
      return table.concat(shown, ";")
    end
    local function shown(...)
      local all = {...}
      for i = 1, select("#", ...) do all[i] = tostring(all[i]) end
      return table.concat(all, "|")
    end
    return shown(library[name](s, p, more))
  end)
end
return function(...)
  local ok, theirs = called(own, ...)
  local fine, mine = called(ours, ...)
  return ok, theirs, fine, mine
end
"""

CLASSES = [
    *(b"a", b"b", b".", b"x", b" ", b"-", b"=", b"$", b"^", b"%a", b"%s", b"%.", b"%d", b"%S"),
    *(b"[ab]", b"[^a]", b"[a-c]", b"[%w_]", b"[]]", b"[^]a]", b"[a-]"),
]
REPLACEMENTS = [b"<%0>", b"[%1]", b"z", b"%%", b"", b"%2"]


def comparison(language, budget, old=False):
    runtime = MODULES[language].LuaRuntime(encoding=None, unpack_returned_tuples=True)
    source = resources.files("llmspell_bridge").joinpath("lua/patterns.lua").read_bytes()
    return runtime.execute(COMPARE, source, budget, old)


def pattern(dice):
    parts, open_, closed, count = [], [], [], 0
    if dice.random() < 0.25:
        parts.append(b"^")
    for _ in range(dice.randint(1, 6)):
        kind = dice.random()
        if kind < 0.2:
            count += 1
            parts.append(b"()" if kind < 0.08 else b"(")
            (closed if kind < 0.08 else open_).append(count)
        elif kind < 0.28 and open_:
            parts.append(b")")
            closed.append(open_.pop())
        elif kind < 0.32:
            parts.append(dice.choice([b"%b()", b"%bab"]))
        elif kind < 0.36:
            parts.append(dice.choice([b"%f[a]", b"%f[%w]", b"%f[^b]"]))
        elif kind < 0.4 and closed:
            parts.append(b"%%%d" % dice.choice(closed))
        else:
            parts.append(dice.choice(CLASSES) + dice.choice([b"", b"", b"*", b"+", b"-", b"?"]))
    return b"".join(parts) + b")" * len(open_) + (b"$" if dice.random() < 0.25 else b"")


def subject(dice):
    return bytes(dice.choice(b"aaabbx () .=-$^1") for _ in range(dice.randint(0, 14)))


@pytest.mark.parametrize("budget", [0, 3, 12, 40, 10**8])
def test_any_pattern_finds_what_it_finds_in_c(language, budget):
    # From a budget of nothing (all is matched in Lua) to the one of every day (nothing is).
    compare = comparison(language, budget)
    dice = random.Random(budget)
    names = (b"find", b"match", b"gmatch", b"gsub") if language == "lua" else (b"find", b"match")
    for _ in range(2500):
        name, s, p = dice.choice(names), subject(dice), pattern(dice)
        more = dice.choice(REPLACEMENTS) if name == b"gsub" else dice.choice([None, 1, 2, -3])
        ok, theirs, fine, mine = compare(name, s, p, more)
        assert (fine, mine if fine else None) == (ok, theirs if ok else None), (name, s, p, more)


MALFORMED = {
    "(": "unfinished capture",
    "a)": "invalid pattern capture",
    "%": "malformed pattern (ends with '%')",
    "[a": "malformed pattern (missing ']')",
    "%b(": "malformed pattern (missing arguments to '%b')",
    "%fa": "missing '[' after '%f' in pattern",
    "(a)%2": "invalid capture index %2",
    "()" * 33: "too many captures",
}


@pytest.mark.parametrize(("malformed", "message"), MALFORMED.items())
def test_a_malformed_pattern_is_an_error_of_the_caller(world, malformed, message):
    text = world.message(f"string.find(('a'):rep(1e5), 'a*a*b' .. '{malformed}')")
    assert text == f"t.lua:1: {message}"
    assert "t.lua:1:" in world.message(f"string.find('aaa', 'a*a*a' .. '{malformed}')")


def test_long_subjects_are_searched_and_replaced_alike(world):
    made = world.run(
        "local s = ('key = value, '):rep(20000)"
        " local r = {}"
        " r.text, r.count = s:gsub('(%w+)%s*=%s*(%w+)', '%2=%1')"
        " r.called, r.calls = s:gsub('(%w+)%s*=%s*(%w+)', function(k, v) return v .. k end, 2)"
        " r.looked = s:gsub('(%w+)%s*=%s*(%w+)', {key = 1}):sub(1, 6)"
        " r.same = s:gsub('(%w+)%s*=%s*(%w+)', function() end) == s"
        " r.found = {s:find('()(%w+)%s*=', -13)}"
        " r.matched = {s:match('(%w+)%s*=', 2)}"
        " for k, v in s:gmatch('(%w+)%s*=%s*(%w+)') do r.pairs = (r.pairs or 0) + #k + #v end"
        " r.text, r.called = r.text:sub(-22), r.called:sub(1, 31)"
        " return r"
    )
    assert made == {
        "text": "value=key, value=key, ",
        "count": 20000,
        "called": "valuekey, valuekey, key = value",
        "calls": 2,
        "looked": "1, 1, ",
        "same": True,
        "found": [259988, 259992, 259988, "key"],
        "matched": ["ey"],
        "pairs": 160000,
    }


def test_misuse_is_an_error_of_the_caller(world):
    for call, message in {
        "string.find()": "bad argument #1 to 'find' (string expected, got n",
        "('x'):find({})": "bad argument #2 to 'find' (string expected, got table)",
        "('x'):match('x', {})": "bad argument #3 to 'match' (number expected, got table)",
        "('x'):gmatch()": "bad argument #2 to 'gmatch' (string expected, got n",
        "('x'):gsub('x', true)": "bad argument #3 to 'gsub' (string/function/table expected",
        "('x'):gsub('(x)', '%2')": "invalid capture index",
    }.items():
        assert world.message(call).startswith(f"t.lua:1: {message}")


def test_numbers_are_text_where_lua_takes_them_as_such(world):
    assert world.run(
        "return {string.find(1234, 23), (string.gsub('a1', 1, 2)), ('a5b'):match('%d') + 1,"
        " ('abc'):find('c', '-1')}"
    ) == [2, "a2", 6, 3, 3]


def test_empty_matches_are_those_of_lua_54(world):
    assert world.run(
        "local t = {} for f in ('a,,b'):gmatch('([^,]*)') do t[#t + 1] = f end"
        " local u = {} for a in ('abc'):gmatch('%w', 2) do u[#u + 1] = a end"
        " return {t, u, (('abc'):gsub('%w*', 'x')), (('hello world'):gsub('o*', '-'))}"
    ) == [["a", "", "b"], ["b", "c"], "x", "-h-e-l-l- -w-r-l-d-"]
