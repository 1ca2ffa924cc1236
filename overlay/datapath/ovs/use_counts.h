// What applications' traffic shows of ways, by what the flows have counted that send to other hosts
// and take what comes from them.
//
// A switch adds to these counts up to half a second later, and telling them takes it a millisecond
// or more. So they are read now and then, on a thread that nobody waits for, while somebody wants
// to know.
#pragma once

#include "overlay/datapath/probe_wire.h"
#include "overlay/vswitch/bridge.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace homeport::overlay::ovs {

/// From one reading to the next.
class UseHistory {
 public:
  /// Homeport's flows of the tables kPath and kFromTunnel, as they were at that moment.
  void note(const std::vector<vswitch::Flow>& flows, ProbeTime now);
  /// They could not be read: a busy switch takes too long now and then.
  void note_failure() { ++failures_; }
  /// What counts have grown since the first reading that had them. One failure changes nothing of
  /// it; after two in a row it is empty until there is a reading again.
  std::vector<WayUsed> used() const;

 private:
  struct Counted {
    std::uint64_t packets = 0;
    std::optional<ProbeTime> grown = {};
  };
  static void count(Counted& counted, bool is_new, std::uint64_t packets, ProbeTime now);

  struct Path {
    ProbePair pair;
    Counted frames;
  };
  std::map<vswitch::FlowKey, Path> paths_;
  std::map<policy::IpAddress, Counted> heard_;
  int failures_ = 0;  ///< in a row
};

class UseCounts {
 public:
  /// Of that bridge. Reads nothing before used() is called.
  explicit UseCounts(vswitch::BridgeOptions bridge);
  ~UseCounts();
  UseCounts(const UseCounts&) = delete;
  UseCounts& operator=(const UseCounts&) = delete;

  /// As of the last reading, and asks for the next. Empty: there was none, or the last two have
  /// failed.
  std::vector<WayUsed> used();

 private:
  void keep_reading();
  std::optional<std::vector<vswitch::Flow>> read();

  vswitch::Bridge bridge_;  ///< of that thread
  std::mutex mutex_;        ///< For what follows.
  std::condition_variable wanted_;
  ProbeTime wanted_at_{};
  bool ended_ = false;
  std::vector<WayUsed> used_;
  std::thread thread_;  ///< from when used() is called for the first time
};

}  // namespace homeport::overlay::ovs
