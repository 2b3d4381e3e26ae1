-- wrk -s wrk.lua URL -- BODIES [PAUSE]: posts the lines of the file BODIES in turn, and prints what came of it as one JSON
-- line. Each connection waits PAUSE milliseconds before it asks again.
local requests, turn = {}, 0

function init(args)
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, nil, line)
  end
  if args[2] then
    local pause = tonumber(args[2])
    function delay() return pause end
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency, _)
  local errors = summary.errors
  print(string.format(
    '{"seconds": %f, "answered": %d, "p50": %f, "p95": %f, "p99": %f, "status": %d, "broken": %d, "timeout": %d}',
    summary.duration / 1e6, summary.requests, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3,
    latency:percentile(99) / 1e3, errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
