// One host of the lab: a namespace, directories of its own and a homeportd.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/lab/cleanup.h"
#include "tests/lab/database.h"
#include "tests/lab/network.h"
#include "tests/lab/open_vswitch.h"
#include "tests/lab/process.h"

namespace homeport::lab {

struct HostOptions {
  LinkOptions underlay = {};
  std::uint64_t memory_mib = 2048;  ///< size of the tmpfs guests' memory comes from
  bool holdable = false;            ///< its agent can be held at a step of a move
  long clock_off_seconds = 0;       ///< how wrong the wall clock of its agent is
  bool watch_taps = true;           ///< records what passes them, which costs each packet a copy
  std::string database = {};        ///< how it reaches the control database; empty: by TLS
  bool open_vswitch = false;        ///< its datapath is Open vSwitch's
  bool lanes_apart = false;         ///< guest memory comes over the management network
  bool relay = false;               ///< others may send each other through it
  /// A second interface of the underlay, eth1, at a switch of its own; with Open vSwitch in a
  /// bridge br-phy1.
  std::optional<LinkOptions> second_underlay = {};
  std::optional<LinkOptions> third_underlay = {};  ///< likewise eth2; not with Open vSwitch
};

class Host {
 public:
  struct Switches {
    Switch& underlay;
    Switch& second_underlay;
    Switch& third_underlay;
    Switch& management;
  };

  /// Connects to the switches and prepares directories, certificates and configuration. `number`
  /// makes the addresses: underlay 172.31.0.N, the second one 172.31.1.N, the third 172.31.2.N (of
  /// IPv6 fd31::N, fd31:0:0:1::N, fd31:0:0:2::N), management 192.168.77.N.
  Host(std::string name, std::string namespace_name, unsigned number,
       const std::filesystem::path& lab_directory, const Switches& switches, Database& database,
       HostOptions options);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// Starts homeportd, or another program in its place.
  void start_agent(std::string program = {});
  /// Waits until /readyz says 200.
  void wait_ready(Clock::duration timeout = 20s);
  /// SIGTERM; the exit status must be 0. Guests go on.
  void stop_agent();
  /// SIGKILL.
  void kill_agent();
  Process& agent() { return *agent_; }
  bool agent_runs() { return agent_ && agent_->running(); }

  /// The agent will wait at that step of the next move from this host (source_move.cc names them),
  /// once, until release(). Needs HostOptions::holdable.
  void hold_at(const std::string& step);
  /// True while the agent waits there.
  bool held() const;
  void wait_held(Clock::duration timeout = 60s);
  void release();

  /// The guest's process on this host, found by its command line; -1 for none.
  pid_t guest_pid(const std::string& application) const;
  /// Sends it a signal; false when there is none.
  bool signal_guest(const std::string& application, int signal) const;
  /// Open vSwitch on this host, where its datapath is of that kind.
  OpenVSwitch& open_vswitch() { return *open_vswitch_; }
  bool has_open_vswitch() const { return open_vswitch_ != nullptr; }
  /// Has a userspace switch ask for that underlay address: it drops what it has to send there
  /// first.
  void learn_neighbor(const std::string& address);
  /// Whether what is sent into that network device of the host enters the virtual network.
  bool speaks(const std::string& device) const;
  /// GET of the agent's REST endpoint from inside the namespace; the whole reply.
  std::string get(const std::string& path, Clock::duration timeout = 5s) const;
  /// The same, line by line as they come, until `last` returns true.
  void follow(const std::string& path, const std::function<bool(const std::string& line)>& last,
              Clock::duration timeout = 60s) const;

  /// Warnings and errors in the agent's logs that match none of `expected` (regular expressions).
  std::vector<std::string> complaints(const std::vector<std::string>& expected) const;
  /// What a host without applications and moves must not have: taps, filters on foreign devices,
  /// guests, memory files, journals, sockets of guests. Empty when clean.
  std::vector<std::string> leftovers() const;

  const std::string& name() const { return name_; }
  const Namespace& inside() const { return inside_; }
  Link& underlay() { return *underlay_; }
  const std::string& underlay_address() const { return underlay_address_; }
  Link& second_underlay() { return *second_underlay_; }
  Link& third_underlay() { return *third_underlay_; }
  /// Where it is connected to the underlay, in that order.
  struct UnderlayInterface {
    unsigned underlay;  ///< 0, 1 or 2
    std::string device, address;
  };
  const std::vector<UnderlayInterface>& underlay_interfaces() const { return interfaces_; }
  Link& underlay_link(unsigned underlay) {
    return underlay == 0 ? *underlay_ : underlay == 1 ? *second_underlay_ : *third_underlay_;
  }
  Link& management() { return *management_; }
  const std::filesystem::path& directory() const { return directory_; }
  std::filesystem::path memory_directory() const { return directory_ / "memory"; }
  std::filesystem::path runtime_directory() const { return directory_ / "run"; }
  std::filesystem::path profile_directory() const { return directory_ / "launch.d"; }

 private:
  void write_configuration(const std::string& database, const std::filesystem::path& certificates,
                           const std::string& lanes, bool relay);

  std::string name_;
  bool holdable_;
  long clock_off_seconds_;
  std::filesystem::path directory_;
  Cleanup cleanup_;
  Namespace inside_;
  std::string underlay_address_;
  std::vector<UnderlayInterface> interfaces_;
  Link* underlay_ = nullptr;
  Link* second_underlay_ = nullptr;
  Link* third_underlay_ = nullptr;
  Link* management_ = nullptr;
  std::filesystem::path cgroup_;
  std::unique_ptr<OpenVSwitch> open_vswitch_;
  std::unique_ptr<Process> agent_;
};

}  // namespace homeport::lab
