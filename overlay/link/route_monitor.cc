#include "overlay/link/route_monitor.h"

#include "overlay/link/netlink.h"
#include "overlay/link/route_objects.h"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <linux/rtnetlink.h>
#include <netlink/msg.h>

#include <algorithm>
#include <utility>

namespace homeport::overlay {

namespace {

using Clock = std::chrono::steady_clock;

/// Of a message of the groups below.
bool is_news(const nlmsghdr* header) {
  if (header->nlmsg_type != RTM_NEWROUTE && header->nlmsg_type != RTM_DELROUTE) return true;
  if (header->nlmsg_len < NLMSG_LENGTH(sizeof(rtmsg))) return true;
  const auto* route = static_cast<const rtmsg*>(nlmsg_data(header));
  if (route->rtm_flags & RTM_F_CLONED) return false;  // what was looked up, and is remembered
  return header->nlmsg_type == RTM_DELROUTE || route->rtm_protocol != netlink::kRouteProtocol;
}

int on_message(nl_msg* message, void* argument) {
  if (is_news(nlmsg_hdr(message))) *static_cast<bool*>(argument) = true;
  return NL_OK;
}

}  // namespace

struct RouteMonitor::State : std::enable_shared_from_this<RouteMonitor::State> {
  State(const boost::asio::any_io_executor& executor, netlink::Socket opened,
        std::function<void()> callback, Pace given)
      : socket(std::move(opened)),
        descriptor(executor),
        timer(executor),
        changed(std::move(callback)),
        pace(given) {}

  ~State() {
    if (descriptor.is_open()) descriptor.release();  // The socket closes it.
  }

  void wait() {
    descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [self = shared_from_this()](boost::system::error_code error) {
                            if (error || self->stopped) return;
                            self->read();
                            if (self->news) return self->settle();
                            self->wait();
                          });
  }

  /// Until there is nothing left. What is lost was news.
  void read() {
    while (true) {
      const int result = nl_recvmsgs_default(socket.get());
      if (result == -NLE_AGAIN) return;
      if (result < 0) news = true;
      if (result < 0 && result != -NLE_NOMEM) return;
    }
  }

  /// What comes meanwhile stays in the socket, or is lost there.
  void settle() {
    timer.expires_at(std::max(Clock::now() + pace.settle, not_before));
    timer.async_wait([self = shared_from_this()](boost::system::error_code error) {
      if (error || self->stopped) return;
      self->read();
      self->news = false;
      const Clock::time_point begun = Clock::now();
      self->changed();
      const Clock::time_point done = Clock::now();
      self->not_before = done + std::max(self->pace.least, (done - begun) * self->pace.share);
      if (!self->stopped) self->wait();
    });
  }

  netlink::Socket socket;
  boost::asio::posix::stream_descriptor descriptor;
  boost::asio::steady_timer timer;
  std::function<void()> changed;
  const Pace pace;
  Clock::time_point not_before = Clock::time_point::min();
  bool news = false;
  bool stopped = false;
};

Result<RouteMonitor> RouteMonitor::start(boost::asio::any_io_executor executor,
                                         std::function<void()> changed, Pace pace) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  nl_sock* raw = socket->get();
  nl_socket_disable_seq_check(raw);  // Events answer no request.
  if (int result =
          nl_socket_add_memberships(raw, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,
                                    RTNLGRP_IPV6_RULE, RTNLGRP_NEXTHOP, RTNLGRP_NONE);
      result < 0) {
    return netlink::error("The events of routes cannot be subscribed to", result);
  }
  if (int result = nl_socket_set_nonblocking(raw); result < 0) {
    return netlink::error("The socket for events of routes cannot be set up", result);
  }
  auto state = std::make_shared<State>(executor, std::move(*socket), std::move(changed), pace);
  nl_socket_modify_cb(raw, NL_CB_VALID, NL_CB_CUSTOM, on_message, &state->news);
  state->descriptor.assign(nl_socket_get_fd(raw));
  state->wait();
  return RouteMonitor(std::move(state));
}

Result<RouteMonitor> RouteMonitor::start(boost::asio::any_io_executor executor,
                                         std::function<void()> changed) {
  return start(std::move(executor), std::move(changed), Pace());
}

RouteMonitor::RouteMonitor(std::shared_ptr<State> state) : state_(std::move(state)) {}
RouteMonitor::RouteMonitor(RouteMonitor&&) noexcept = default;

RouteMonitor::~RouteMonitor() {
  if (!state_) return;
  // The state and its callback live on until the handler that may be running now returns.
  state_->stopped = true;
  state_->descriptor.cancel();
  state_->timer.cancel();
}

}  // namespace homeport::overlay
