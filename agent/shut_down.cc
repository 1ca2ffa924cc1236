#include "agent/shut_down.h"

#include "overlay/log/log.h"
#include "overlay/pause.h"
#include "overlay/spawn.h"

#include <fmt/format.h>

namespace homeport::agent {

namespace asio = boost::asio;
namespace log = overlay::log;
using namespace std::chrono_literals;

namespace {

/// Less than TimeoutStopSec= in deploy/homeportd.service.
constexpr auto kPatience = 5s;

asio::awaitable<void> wind_up(AgentParts parts, std::function<void(bool)> done) {
  const std::string why = fmt::format("the agent of {} is being ended", parts.identity.host.name);
  parts.identity.state = HostState::stopping;
  parts.tasks.wind_up(why);
  parts.destination.wind_up(why);

  auto told = std::make_shared<bool>(!parts.database.synced());
  auto tell = [parts, told]() -> asio::awaitable<void> {
    (void)co_await parts.database.publish_status(parts.identity.status());
    *told = true;
  };
  overlay::spawn(parts.executor, tell);

  auto under_way = [&] { return parts.tasks.busy() || parts.destination.busy(); };
  if (under_way()) log::info("waiting {} s at most for the moves under way", kPatience.count());
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while ((under_way() || !*told) && std::chrono::steady_clock::now() < deadline) {
    co_await overlay::pause(10ms);
  }
  if (under_way()) {
    log::warn("what is under way is left to the next agent of {}", parts.identity.host.name);
  }
  done(!under_way());
}

}  // namespace

void shut_down(AgentParts parts, std::function<void(bool)> done) {
  overlay::spawn(parts.executor, wind_up(parts, std::move(done)));
}

}  // namespace homeport::agent
