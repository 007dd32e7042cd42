-- Files in, answers out: CSV, search, a database, an archive.
--   llmspell run examples/script-users/features/files_and_data.lua
-- Everything happens in a directory of its own below /tmp, which is removed at the end.

local function must(result, why)
  if not result.success then error(why or result.error) end
  return result
end

local folder = "/tmp/llmspell-" .. Tool.invoke("uuid_generator", {}).value
local orders = folder .. "/orders.csv"
must(Tool.invoke("file-writer", { path = orders, content = [[
customer,item,price,quantity
Ann,tea,4.50,2
Bob,coffee,7.20,1
Ann,honey,6.00,3
]] }))

-- What is in it?
local about = must(Tool.invoke("csv_analyzer", { operation = "analyze", path = orders }))
for _, column in ipairs(about.columns) do
  print(column.name .. ": " .. column.data_type .. ", " .. column.unique_count .. " different")
end

-- SQL over the file, and a column that is computed.
local spent = must(Tool.invoke("csv_analyzer", {
  operation = "query",
  path = orders,
  query = "SELECT customer, sum(price * quantity) AS total FROM data GROUP BY customer ORDER BY 2 DESC",
}))
for _, row in ipairs(spent.value) do
  print(row.customer .. " spent " .. row.total)
end
local sums = must(Tool.invoke("csv_analyzer", {
  operation = "transform",
  path = orders,
  add_columns = { total = "price * quantity" },
}))
must(Tool.invoke("file-writer", { path = folder .. "/sums.csv", content = sums.text }))

-- Where is it said?
local found = must(Tool.invoke("file_search", { pattern = "honey", path = folder, context_lines = 0 }))
for _, match in ipairs(found.matches) do
  print("line " .. match.line_number .. ": " .. match.line_content)
end

-- A database in a file needs no server. Values are bound, so nothing in them is SQL.
local rows = Tool.invoke("database-connector", {
  operation = "query",
  connection_string = ":memory:",
  query = "SELECT ? AS name",
  params = { "Robert'); DROP TABLE orders; --" },
})
print(must(rows).rows[1].name)

-- All of it in one archive.
local packed = must(Tool.invoke("archive_handler", {
  operation = "create",
  path = folder .. "/all.zip",
  files = { orders, folder .. "/sums.csv" },
}))
print(packed.text)
local listed = must(Tool.invoke("archive_handler", { operation = "list", path = packed.value }))
for _, file in ipairs(listed.files) do
  print("  " .. file.name .. ", " .. file.size .. " bytes")
end

must(Tool.invoke("file_operations", { operation = "delete", path = folder, recursive = true }))
