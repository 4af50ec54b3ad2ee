-- SPDX-License-Identifier: MIT
-- What wrk sends, and what it reports. Arguments behind the URL:
--   write RUN [check] [NAME:VALUE]   POST /messages, no two alike, with that header; RUN: a word that no
--                                    other run has
--   read FILE [check]                GET the targets in FILE, one a line, in turn
-- With `check` every answer is counted by status, which costs the load generator several microseconds an
-- answer. The last line of output begins with "BENCH " and is JSON.

local threads = {}

function setup(thread)
  thread:set("thread_index", #threads)
  thread:set("bad_answers", 0)
  table.insert(threads, thread)
end

-- All bodies are equally long, so that only they have to be made.
local kBody = '{"sender":"user%03d","recipient":"user%03d","timestamp":1763712000,"text":"message %s%02d-%09d of a '
  .. 'bench run, about as long as what people write: some ten words"}'

local function write_requests(run, header)
  local format, random = string.format, math.random
  math.randomseed(thread_index + 1)
  local count = 0
  local head = "POST /messages HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port ..
    "\r\nContent-Type: application/json\r\n" .. header .. "Content-Length: " ..
    #format(kBody, 0, 0, run, 0, 0) .. "\r\n\r\n"
  return function()
    count = count + 1
    return head .. format(kBody, random(0, 999), random(0, 999), run, thread_index, count)
  end
end

local function read_requests(file)
  local requests, next = {}, 0
  for target in io.lines(file) do
    table.insert(requests, "GET " .. target .. " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port .. "\r\n\r\n")
  end
  -- Each thread begins elsewhere.
  next = math.floor(#requests / 7 * thread_index) % #requests
  return function()
    next = next % #requests + 1
    return requests[next]
  end
end

function init(args)
  expected = args[1] == "write" and 201 or 200
  local check, header = false, ""
  for i = 3, #args do
    if args[i] == "check" then check = true else header = args[i] .. "\r\n" end
  end
  make = args[1] == "write" and write_requests(args[2], header) or read_requests(args[2])
  if check then
    response = function(status)
      if status ~= expected then bad_answers = bad_answers + 1 end
    end
  end
end

function request()
  return make()
end

function done(summary, latency, requests)
  local bad = 0
  for _, thread in ipairs(threads) do bad = bad + thread:get("bad_answers") end
  local errors = summary.errors
  io.write(string.format(
    'BENCH {"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,"bad_answers":%d,' ..
    '"failed_answers":%d,"socket_errors":%d,"timeouts":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, bad, errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
