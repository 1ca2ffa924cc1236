// When lanes have last carried something, whichever end of them is here.
//
// A lane fills the queues on its way, now and then so far that a probe comes back long after it is
// taken for lost. What the lane itself gets through shows that its way carries all the same.
#pragma once

#include "overlay/channel/transport.h"
#include "policy/address.h"

#include <chrono>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

namespace homeport::overlay {

/// May be used by several threads: lanes live on those of their moves, and who probes on another.
class LaneTraffic : public std::enable_shared_from_this<LaneTraffic> {
 public:
  using Clock = std::chrono::steady_clock;
  struct Carried {
    policy::IpAddress local, remote;
    Clock::time_point last;

    bool operator==(const Carried&) const = default;
  };

  /// A lane for as long as this is there; its socket has to be, too.
  class Watched {
   public:
    ~Watched();
    Watched(const Watched&) = delete;
    Watched& operator=(const Watched&) = delete;

   private:
    friend class LaneTraffic;
    struct Lane;
    Watched(std::shared_ptr<LaneTraffic> traffic, std::list<Lane>::iterator lane);
    std::shared_ptr<LaneTraffic> traffic_;
    std::list<Lane>::iterator lane_;
  };

  LaneTraffic();
  ~LaneTraffic();

  /// `socket`: of a TCP connection that stands. nullptr: it does not any more.
  std::unique_ptr<Watched> watch(int socket);

  /// Of the lanes that have got something through since the last call, when they last did: the
  /// other host's TCP has acknowledged what was sent, or has sent more. It sends more only while it
  /// hears of what has arrived, so either shows both directions, of a round trip ago at worst.
  std::vector<Carried> take();

 private:
  std::mutex mutex_;
  std::list<Watched::Lane> lanes_;
};

}  // namespace homeport::overlay
