// Events of devices and addresses, as they happen.
#pragma once

#include "overlay/link/link.h"

#include <boost/asio/any_io_executor.hpp>

#include <functional>
#include <memory>
#include <string>
#include <variant>

namespace homeport::overlay {

struct LinkChanged {
  Link link;  ///< Appeared, went up or down, won or lost carrier, or changed otherwise.
};
struct LinkRemoved {
  int index = 0;
  std::string name;
};
struct AddressAdded {
  LinkAddress address;
};
struct AddressRemoved {
  LinkAddress address;
};
/// Events were lost (the kernel's buffer overflowed, or one could not be parsed): read everything
/// again.
struct EventsLost {};

using LinkEvent = std::variant<LinkChanged, LinkRemoved, AddressAdded, AddressRemoved, EventsLost>;

/// Watches the network namespace of the thread that called start(). The callback runs on the
/// executor, never from within start(), and not after the monitor is gone. Use and destroy the
/// monitor on its executor.
class LinkMonitor {
 public:
  using Callback = std::function<void(const LinkEvent&)>;

  static Result<LinkMonitor> start(boost::asio::any_io_executor executor, Callback callback);

  LinkMonitor(LinkMonitor&&) noexcept;
  LinkMonitor& operator=(LinkMonitor&&) noexcept;
  ~LinkMonitor();

 private:
  struct State;
  explicit LinkMonitor(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace homeport::overlay
