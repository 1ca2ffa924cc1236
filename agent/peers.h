// Which hosts may have a channel: those in the control database, with the certificates they named.
#pragma once

#include "agent/control/database.h"
#include "overlay/channel/channel.h"

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

namespace homeport::agent {

/// Written on the control executor, asked on those of the channels, hence the one lock of the
/// agent: it is held for the copy of a pointer, once per connection.
class Peers {
 public:
  /// For ControlDatabase::on_change().
  void follow(const ControlDatabase& database);
  overlay::PeerCheck check() const;
  /// Whether a host has given a sign of life lately: since when is taken by the clock here as soon
  /// as one has come, because that of the host may be wrong.
  bool alive(const Contents& contents, const std::string& host) const;

 private:
  struct Sign {
    WallTime said{};  ///< by the host's clock
    std::optional<std::chrono::steady_clock::time_point> heard;
  };
  using Fingerprints = std::map<std::string, std::string>;  // by host
  struct Shared {
    std::mutex mutex;
    std::shared_ptr<const Fingerprints> fingerprints = std::make_shared<const Fingerprints>();
  };
  void report(const Fingerprints& now);

  std::set<std::string> gone_;         ///< hosts whose row has been there; control executor only
  std::map<std::string, Sign> signs_;  ///< by host; control executor only
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

}  // namespace homeport::agent
