// What a move needs from the rest of the agent, as small interfaces: who owns an application, and
// where its traffic goes on this host. The agent implements them over the control database and the
// datapath.
#pragma once

#include "overlay/link/unique_fd.h"
#include "policy/address.h"
#include "policy/error.h"

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <optional>
#include <string>

namespace homeport::migration {

using policy::Generation;
using policy::Result;

/// Where the control database says an application is.
struct Owner {
  std::string host;
  Generation generation = 0;
  bool operator==(const Owner&) const = default;
};

enum class CommitOutcome {
  committed,
  not_committed,  ///< certain: the server said no, or it was never sent
  unknown,        ///< it may have happened, or may still: read again, and advance the generation
};

/// How long bindings that name no single owner may be half read, before they are taken for gone.
inline constexpr std::chrono::seconds kBindingsPatience{10};

/// The fence against two owners: the conditional transactions on an application's bindings.
class Ownership {
 public:
  virtual ~Ownership() = default;

  /// In one transaction over all bindings of the application: requires that they are at `from`
  /// with `generation`, then writes `to` and `generation + 1`. With `to` equal to `from` this is
  /// the roll-back: afterwards no earlier transaction can take effect any more.
  virtual boost::asio::awaitable<CommitOutcome> pass(std::string application, std::string from,
                                                     std::string to, Generation generation) = 0;

  /// The owner by this host's copy of the database once it is in sync, which may take as long as it
  /// does. The copy may lag: what follows from it is for pass() to do, which the server verifies.
  /// An error only where the bindings name no single owner, or on cancellation.
  virtual boost::asio::awaitable<Result<Owner>> owner(std::string application) = 0;

  /// The owner as last seen, without waiting; nullopt where the bindings do not agree.
  virtual std::optional<Owner> last_seen(const std::string& application) const = 0;

  /// A round trip to the database: true if it answers within `timeout`.
  virtual boost::asio::awaitable<bool> answers(std::chrono::milliseconds timeout) = 0;
};

/// One network port of an application: a row of the Binding table and its device here, the tap of a
/// VM or what is there for a container.
struct PortSpec {
  std::string binding;
  policy::Vni vni = 0;
  policy::MacAddress mac;
  std::uint32_t mtu = 0;
  std::string device;  ///< its name on this host

  bool operator==(const PortSpec&) const = default;
};

/// The application's traffic on this host. Calls take effect before they return.
class Traffic {
 public:
  virtual ~Traffic() = default;

  /// Destination: makes the port's tap, opens its queue and lets redirected frames in (`held`).
  virtual Result<overlay::UniqueFd> provide(const std::string& application,
                                            const PortSpec& port) = 0;
  /// Destination: the port's device is there, and redirected frames are let in (`held`). Of a
  /// container, or the tap that an agent which was killed made, whose reader holds the queue.
  virtual Result<void> hold(const std::string& application, const PortSpec& port) = 0;
  /// Destination: the application's addresses are here from now on. Said before the source can
  /// commit, while the guest is stopped: another host that has read the commit sends here at once.
  virtual Result<void> take(const std::string& application) = 0;
  /// Destination: undoes take(); the port is held again.
  virtual Result<void> give_up(const std::string& application) = 0;
  /// Source: what arrives for the application is sent on to `host`.
  virtual Result<void> redirect(const std::string& application, const std::string& host) = 0;
  /// Source: undoes redirect().
  virtual Result<void> reinstate(const std::string& application) = 0;
  /// The devices that were made here are removed, and everything said above is forgotten: the
  /// control database alone says where it is.
  virtual void release(const std::string& application) = 0;
};

}  // namespace homeport::migration
