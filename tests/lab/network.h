// Links and switches between the lab's namespaces.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/lab/namespace.h"
#include "tests/lab/userspace_wire.h"
#include "tests/lab/wire.h"
#include "tests/lab/wire_watch.h"

namespace homeport::lab {

struct LinkOptions {
  std::uint64_t rate_mbit = 0;  ///< 0: as fast as the machine
  std::uint32_t mtu = 1500;     ///< bytes
  bool ipv6 = false;            ///< a host's address there is one of IPv6
  /// Of the member's link to the switch, which can be changed: Link::set(). None: it is as fast as
  /// the machine.
  std::optional<WireConditions> conditions = {};
};

/// A veth pair between two namespaces. `rate_mbit` is enforced where a frame enters the link
/// (tbf(8) on both ends). The queue there is deep enough for a sender's bulk transfer and the
/// datagrams beside it: the lab's wire itself drops nothing.
class Link {
 public:
  Link(const Namespace& near, std::string near_device, const Namespace& far, std::string far_device,
       LinkOptions options);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  /// Cuts the link: the near end loses its carrier.
  void cut();
  void restore();
  /// The link loses frames from now on; the member is the near end.
  void lose(Loss loss);
  /// What is sent either way from now on takes that long, and gets lost that often. The link must
  /// have conditions from the beginning.
  void set(const WireConditions& conditions);
  /// The near end sends that fast from now on. The link must have had a rate from the beginning.
  void set_rate(std::uint64_t rate_mbit);
  /// Of two members that are set apart from others neither hears of the other.
  void set_apart(bool apart);
  /// Watches what is sent to the member.
  std::unique_ptr<WireWatch> watch() const;
  bool is_cut() const { return cut_; }

 private:
  std::string near_namespace_;  // by name: a host may be gone before the switch it was on
  const Namespace& far_;
  std::string near_device_;
  std::string far_device_;
  bool cut_ = false;
  std::unique_ptr<LossyWire> wire_;
  std::unique_ptr<UserspaceWire> slow_wire_;

  friend class Switch;
};

/// A namespace with a bridge that joins ports on other namespaces.
class Switch {
 public:
  explicit Switch(std::string namespace_name);

  /// A link whose near end is `device` in `member`. `rate_mbit` holds from the member to the
  /// switch; the other direction is limited by the senders' own links.
  Link& connect(const Namespace& member, const std::string& device, LinkOptions options);
  /// Gives the bridge an address ("192.168.77.1/24"), so that a server can live beside it.
  void add_address(const std::string& address);
  const Namespace& inside() const { return inside_; }

 private:
  Namespace inside_;
  std::vector<std::unique_ptr<Link>> links_;
};

}  // namespace homeport::lab
