#include "agent/cli/listen.h"

#include "agent/cli/output.h"

#include <fmt/format.h>
#include <fmt/ostream.h>
#include <fmt/ranges.h>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include <map>

namespace homeport::agent {

namespace asio = boost::asio;
using std::chrono::steady_clock;

asio::awaitable<SignsOfLife> listen_for(DatabaseClient& client, Invocation& invocation,
                                        std::set<std::string> hosts,
                                        std::optional<std::chrono::duration<double>> patience) {
  SignsOfLife signs(wall_clock_now());
  std::map<std::string, WallTime> quiet;
  for (const std::string& host : hosts) {
    auto status = client.contents().host_status.find(host);
    if (status == client.contents().host_status.end()) continue;
    if (status->second.state == HostState::stopping) continue;
    if (is_silent(client.contents(), host, signs)) quiet[host] = status->second.last_seen;
  }
  if (quiet.empty()) co_return signs;
  const auto longest = patience.value_or(listening_time(client.contents()));
  std::set<std::string> names;
  for (const auto& [host, seen] : quiet) names.insert(host);
  fmt::print(invocation.terminal.err,
             "By the clock here, {} gave no sign of life lately: listening for {:.0f} s.\n",
             fmt::join(names, ", "), longest.count());
  invocation.terminal.err.flush();
  const auto deadline = steady_clock::now() + std::chrono::round<steady_clock::duration>(longest);
  asio::steady_timer timer(co_await asio::this_coro::executor, deadline);
  timer.async_wait([&client](boost::system::error_code error) {
    if (!error) client.wake();
  });
  while (signs.heard.size() < quiet.size() && steady_clock::now() < deadline) {
    co_await client.next_change();
    for (const auto& [host, seen] : quiet) {
      auto status = client.contents().host_status.find(host);
      if (status == client.contents().host_status.end()) continue;
      if (status->second.last_seen != seen) signs.heard.insert(host);
    }
  }
  signs.now = wall_clock_now();
  co_return signs;
}

}  // namespace homeport::agent
