-- Asks for the paths of BENCH_WALK in turn, if that is set, otherwise for the URL's;
-- says at the end what came of it.
local walk = os.getenv("BENCH_WALK")

if walk then
   local requests, at = {}, 0

   function init(arguments)
      for path in walk:gmatch("[^ ]+") do
         requests[#requests + 1] = wrk.format("GET", path)
      end
   end

   function request()
      at = at % #requests + 1
      return requests[at]
   end
end

function done(summary, latency, requests)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   local form = '\nRESULT {"requests": %d, "microseconds": %d, "bytes": %d, "errors": %d'
      .. ', "p50": %d, "p99": %d}\n'
   io.write(form:format(summary.requests, summary.duration, summary.bytes, failed,
      latency:percentile(50), latency:percentile(99)))
end
