local T = require("llmspell.test")
local triage = require("triage")
local describe, it, expect = T.describe, T.it, T.expect

describe("rules", function()
  it("know the words that give a topic away", function()
    expect(triage.by_rules("Where is my REFUND?")):to_be("billing")
    expect(triage.by_rules("The app crash-ed.")):to_be("defect")
    expect(triage.by_rules("Hello")):to_be_nil()
  end)
end)

describe("sort", function()
  local ask, calls

  T.before_each(function()
    ask, calls = T.spy(function() return "I would say: Billing." end)
  end)

  it("asks no model where a rule holds", function()
    expect(triage.sort("My invoice is wrong", ask)):to_equal({ topic = "billing", by = "rules" })
    expect(#calls):to_be(0)
  end)

  it("asks the model about all else", function()
    expect(triage.sort("You took money twice", ask)):to_equal({ topic = "billing", by = "model" })
    expect(#calls):to_be(1)
    expect(calls[1][1]):to_contain("You took money twice")
  end)

  it("takes an answer it does not know for 'other'", function()
    local found = triage.sort("Hello", function() return "Greetings!" end)
    expect(found.topic):to_be("other")
  end)

  it("passes on why the model did not answer", function()
    local found, why = triage.sort("Hello", function() return nil, "no key" end)
    expect(found):to_be_nil()
    expect(why):to_be("no key")
  end)

  it("refuses what is no text", function()
    for _, message in ipairs({ "", " \n", 5, {} }) do
      expect(function() triage.sort(message, ask) end):to_error("must be a text")
    end
  end)
end)

describe("the whole way", function()
  it("goes through an agent", function()
    -- The model `echo` repeats the question, which names all topics; the first one is found.
    local found = triage.sort("Hello", triage.asker("echo/echo"))
    expect(found):to_equal({ topic = "billing", by = "model" })
  end)

  it("works with a real model", function()
    if not os.getenv("OPENAI_API_KEY") then T.skip("needs OPENAI_API_KEY") end
    local found, why = triage.sort("The screen stays black", triage.asker("openai/gpt-4o-mini"))
    expect(found, why):never():to_be_nil()
    expect(found.topic):to_be("defect")
  end)
end)
