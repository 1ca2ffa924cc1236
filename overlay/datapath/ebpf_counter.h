// Counts the real packets of traces at the datapath's programs: ebpf/count.bpf.c.
#pragma once

#include "overlay/datapath/ebpf/count.h"
#include "overlay/datapath/ebpf_object.h"
#include "overlay/datapath/map_image.h"
#include "overlay/datapath/trace.h"

#include <array>
#include <map>
#include <memory>
#include <mutex>

namespace homeport::overlay {

/// Where packets come into the datapath.
enum class Entrance { port, host, tunnel };

/// The counters of one datapath. Those who count the same packets at the same place share one
/// program, each from the moment it began. Used from any thread.
class EbpfCounters {
 public:
  /// `ifindex`: of the device with the datapath's filter. Errors: no such device; a kernel before
  /// 6.6; more than kMostCounted different kinds of packets at a time.
  Result<std::unique_ptr<TraceCounter>> count(const EbpfObject& object, Entrance entrance,
                                              std::uint32_t ifindex, policy::Vni vni,
                                              const TracedPacket& packet);

  static constexpr std::size_t kMostCounted = 32;

 private:
  class Program;
  class Counter;
  struct Key {
    __u32 ifindex;
    hp_counted_packet packet;
  };
  std::mutex mutex_;
  std::map<Key, std::weak_ptr<Program>, BytesLess> programs_;
};

}  // namespace homeport::overlay
