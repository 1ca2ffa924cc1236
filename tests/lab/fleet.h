// The fleet that demo, tests and benches use: hosts A and B with an application between them, a
// guest or containers, host C with the clients.
#pragma once

#include <boost/json/object.hpp>

#include <memory>
#include <string>
#include <vector>

#include "tests/lab/lab.h"

namespace homeport::lab {

struct FleetOptions {
  std::string name = "fleet";
  std::uint64_t rate_mbit = 1000;        ///< of each host's link
  std::uint64_t host_memory_mib = 2048;  ///< for guests, on each host
  GuestOptions guest = {};
  bool containers = false;        ///< one on A and one on B instead of the guest, by its name
  unsigned database_servers = 1;  ///< more than one make a cluster
  std::vector<long> clocks_off_seconds = {};  ///< of the agents of A, B and C
  bool host_access = true;                    ///< hosts' own processes reach the applications
  bool holdable = false;                      ///< moves can be held at a step, see Host::hold_at()
  bool second_underlay = false;               ///< a second interface for each host, as fast
  /// Instead of these: the interfaces of each host, eth0 first, two or three, with a router between
  /// the underlays. C has all of them, A and B the first two.
  std::vector<LinkOptions> underlays = {};
  std::string open_vswitch = {};  ///< "AC": the datapath of A and C is Open vSwitch's, of B eBPF
  std::string relays = {};        ///< "B": others may send each other through it
};

/// One task as `homeport task show --json` and `homeport move --json` print it.
struct TaskView {
  std::string id, state, phase, error;
  std::uint64_t bytes_sent = 0, ram_bytes = 0;
  std::uint64_t total_ms = 0, downtime_ms = 0;

  /// In doubt is no end: something has yet to be settled.
  bool ended() const {
    return state == "succeeded" || state == "failed" || state == "cancelled" ||
           state == "rolled-back";
  }
};

/// `json` is the object of one task.
TaskView parse_task(const boost::json::object& json);

struct MoveOutcome {
  int status = 0;  ///< of `homeport move`
  TaskView task;   ///< empty when there is none
  std::string err;
};

class Fleet {
 public:
  explicit Fleet(FleetOptions options = {});

  Lab& lab() { return lab_; }
  Host& a() { return *a_; }
  Host& b() { return *b_; }
  Host& c() { return *c_; }
  /// Of A and B, the host the guest is not on.
  Host& other_than(const Host& host) { return &host == a_ ? *b_ : *a_; }
  const GuestControl& guest() const { return *guest_; }
  /// Of A and of B, where there are any.
  const std::vector<const Namespace*>& containers() const { return containers_; }
  const GuestOptions& options() const { return options_.guest; }

  /// `homeport move vm1 --to HOST --wait --json` and `options`, to its end.
  MoveOutcome move(const Host& to, Clock::duration timeout = 120s, const std::string& options = "");
  /// The same in the background.
  std::unique_ptr<Process> start_move(const Host& to);
  /// The same with its progress on the caller's terminal; returns the exit status.
  int show_move(const Host& to, Clock::duration timeout = 120s);
  /// Datagrams from the client to where the application is, of which some have arrived. Only with
  /// containers. Neighbors on the way are known before the first: the kernel would let others
  /// overtake those that wait for one.
  std::unique_ptr<Flow> start_flow(unsigned per_second, const std::string& address = "10.1.0.5");
  /// Tasks as the control database has them, oldest first.
  std::vector<TaskView> tasks();
  /// The task that was asked for last.
  TaskView last_task();
  /// Waits until the last task has ended, and returns it.
  TaskView wait_ended(Clock::duration timeout = 90s);

  /// The host the control database names, when the guest's process is there and nowhere else and
  /// it answers; or when the container there is attached to the network and the other one is not.
  /// Throws LabFailure otherwise.
  Host& whereabouts();
  /// Waits until the guest is somewhere by that measure: a move may still be settling.
  Host& wait_somewhere(Clock::duration timeout = 30s);
  /// Waits until whereabouts() is `host` and nothing is left elsewhere: no tap, memory, journal,
  /// process or filter but those of the guest where it runs.
  void wait_settled(const Host& host, Clock::duration timeout = 30s);

 private:
  std::vector<std::string> misplaced(const Host& owner);
  Host& whereabouts_of_container();

  FleetOptions options_;
  Lab lab_;
  Host* a_ = nullptr;
  Host* b_ = nullptr;
  Host* c_ = nullptr;
  std::unique_ptr<GuestControl> guest_;
  std::vector<const Namespace*> containers_;
  std::vector<std::unique_ptr<WireWatch>> watches_;
  unsigned flows_ = 0;
};

}  // namespace homeport::lab
