#include "overlay/link/monitor.h"

#include "overlay/link/netlink.h"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <linux/rtnetlink.h>
#include <netlink/msg.h>

#include <deque>

namespace homeport::overlay {

namespace {

struct Parsed {
  int message_type;
  std::deque<LinkEvent>* events;
};

void on_object(nl_object* object, void* argument) {
  auto& parsed = *static_cast<Parsed*>(argument);
  switch (parsed.message_type) {
    case RTM_NEWLINK:
      parsed.events->push_back(LinkChanged{netlink::to_link(reinterpret_cast<rtnl_link*>(object))});
      break;
    case RTM_DELLINK: {
      Link link = netlink::to_link(reinterpret_cast<rtnl_link*>(object));
      parsed.events->push_back(LinkRemoved{link.index, link.name});
      break;
    }
    case RTM_NEWADDR:
      if (auto address = netlink::to_address(reinterpret_cast<rtnl_addr*>(object))) {
        parsed.events->push_back(AddressAdded{*address});
      }
      break;
    case RTM_DELADDR:
      if (auto address = netlink::to_address(reinterpret_cast<rtnl_addr*>(object))) {
        parsed.events->push_back(AddressRemoved{*address});
      }
      break;
    default:
      break;
  }
}

int on_message(nl_msg* message, void* argument) {
  const nlmsghdr* header = nlmsg_hdr(message);
  // Bridges announce their ports' states as link messages of family AF_BRIDGE; RTM_DELLINK of
  // that family means "left the bridge", not "gone".
  if (header->nlmsg_type == RTM_NEWLINK || header->nlmsg_type == RTM_DELLINK) {
    const auto* info = static_cast<const ifinfomsg*>(nlmsg_data(header));
    if (info->ifi_family != AF_UNSPEC) return NL_OK;
  }
  auto* events = static_cast<std::deque<LinkEvent>*>(argument);
  Parsed parsed{header->nlmsg_type, events};
  // Damaged, or no memory for it: an event that nobody would hear of.
  if (nl_msg_parse(message, on_object, &parsed) < 0) events->push_back(EventsLost{});
  return NL_OK;
}

}  // namespace

struct LinkMonitor::State : std::enable_shared_from_this<LinkMonitor::State> {
  State(boost::asio::any_io_executor executor, netlink::Socket opened, Callback on_event)
      : socket(std::move(opened)), descriptor(executor), callback(std::move(on_event)) {}

  ~State() {
    if (descriptor.is_open()) descriptor.release();  // The socket closes it.
  }

  void wait() {
    descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [self = shared_from_this()](boost::system::error_code error) {
                            if (!error && !self->stopped) self->read();
                          });
  }

  void read() {
    while (true) {
      const int result = nl_recvmsgs_default(socket.get());
      // ENOBUFS, the overflow of the socket, arrives as NLE_NOMEM.
      if (result == -NLE_NOMEM) {
        events.push_back(EventsLost{});
        continue;
      }
      // A dump flag or a truncated message: nothing to trust, but the socket goes on.
      if (result < 0 && result != -NLE_AGAIN) events.push_back(EventsLost{});
      if (result < 0) break;
    }
    while (!events.empty() && !stopped) {
      LinkEvent event = std::move(events.front());
      events.pop_front();
      callback(event);
    }
    if (!stopped) wait();
  }

  netlink::Socket socket;
  boost::asio::posix::stream_descriptor descriptor;
  Callback callback;
  std::deque<LinkEvent> events;
  bool stopped = false;
};

Result<LinkMonitor> LinkMonitor::start(boost::asio::any_io_executor executor, Callback callback) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  nl_sock* raw = socket->get();
  nl_socket_disable_seq_check(raw);  // Events answer no request.
  if (int result = nl_socket_add_memberships(raw, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
                                             RTNLGRP_IPV6_IFADDR, RTNLGRP_NONE);
      result < 0) {
    return netlink::error("The events of network devices cannot be subscribed to", result);
  }
  if (int result = nl_socket_set_nonblocking(raw); result < 0) {
    return netlink::error("The socket for events of network devices cannot be set up", result);
  }
  auto state = std::make_shared<State>(executor, std::move(*socket), std::move(callback));
  nl_socket_modify_cb(raw, NL_CB_VALID, NL_CB_CUSTOM, on_message, &state->events);
  state->descriptor.assign(nl_socket_get_fd(raw));
  state->wait();
  return LinkMonitor(std::move(state));
}

LinkMonitor::LinkMonitor(std::shared_ptr<State> state) : state_(std::move(state)) {}
LinkMonitor::LinkMonitor(LinkMonitor&&) noexcept = default;

LinkMonitor& LinkMonitor::operator=(LinkMonitor&& other) noexcept {
  LinkMonitor old(std::move(*this));
  state_ = std::move(other.state_);
  return *this;
}

LinkMonitor::~LinkMonitor() {
  if (!state_) return;
  // The state and its callback live on until the handler that may be running now returns.
  state_->stopped = true;
  state_->descriptor.cancel();
}

}  // namespace homeport::overlay
