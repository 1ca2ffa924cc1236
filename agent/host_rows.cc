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

HostRows::HostRows(asio::any_io_executor executor, ControlDatabase& database,
                   const HostIdentity& identity, std::chrono::steady_clock::duration interval)
    : database_(database), identity_(identity), interval_(interval), next_(executor) {}

asio::awaitable<Result<void>> HostRows::publish() {
  const Host& host = identity_.host;
  if (auto published = co_await database_.publish_host(host); !published) co_return published;
  auto interfaces = interfaces_of(host.name);
  if (!interfaces) co_return interfaces.error();
  told_ = *interfaces;
  co_return co_await database_.publish_interfaces(host.name, std::move(*interfaces));
}

asio::awaitable<void> HostRows::keep() {
  const std::string& name = identity_.host.name;
  while (true) {
    stale_ = false;
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
    next_.expires_after(stale_ ? std::chrono::seconds(0) : interval_);
    boost::system::error_code sooner;
    co_await next_.async_wait(asio::redirect_error(asio::use_awaitable, sooner));
  }
}

void HostRows::on_link_event(const overlay::LinkEvent& event) {
  if (may_change(told_, event)) look_again();
}

void HostRows::look_again() {
  stale_ = true;
  next_.cancel();
}

void HostRows::follow() {
  const bool there = database_.hosts().contains(identity_.host.name);
  // Once, as a row that is refused would be tried at every change.
  if (there_ && !there) look_again();
  there_ = there;
}

}  // namespace homeport::agent
