#include "agent/host_rows.h"

#include "agent/network/underlay.h"
#include "overlay/log/log.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <utility>

namespace homeport::agent {

namespace asio = boost::asio;
namespace log = overlay::log;
using policy::Result;

namespace {

constexpr auto kInterval = std::chrono::seconds(5);

}  // namespace

HostRows::HostRows(asio::any_io_executor executor, ControlDatabase& database,
                   const HostIdentity& identity)
    : database_(database), identity_(identity), next_(executor) {}

asio::awaitable<Result<void>> HostRows::publish() {
  const Host& host = identity_.host;
  if (auto published = co_await database_.publish_host(host); !published) co_return published;
  auto interfaces = interfaces_of(host.name);
  if (!interfaces) co_return interfaces.error();
  co_return co_await database_.publish_interfaces(host.name, std::move(*interfaces));
}

asio::awaitable<void> HostRows::keep() {
  const std::string& name = identity_.host.name;
  while (true) {
    next_.expires_after(kInterval);
    if (auto published = co_await publish(); !published) {
      log::warn("cannot tell the control database about this host: {}", published.error().message);
    }
    auto row = database_.host_status().find(name);
    if (row != database_.host_status().end() && row->second.started != identity_.status().started) {
      log::error(
          "another agent writes that it is {} (process {} there): end one of them, and give its "
          "host a name and a certificate of its own",
          name, row->second.agent_pid);
    }
    boost::system::error_code sooner;
    co_await next_.async_wait(asio::redirect_error(asio::use_awaitable, sooner));
  }
}

void HostRows::follow() {
  const bool there = database_.hosts().contains(identity_.host.name);
  // Once, as a row that is refused would be tried at every change.
  if (there_ && !there) next_.expires_after(std::chrono::seconds(0));
  there_ = there;
}

}  // namespace homeport::agent
