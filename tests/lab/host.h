// One host of the lab: a namespace, directories of its own and a homeportd.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/lab/cleanup.h"
#include "tests/lab/database.h"
#include "tests/lab/network.h"
#include "tests/lab/process.h"

namespace homeport::lab {

struct HostOptions {
  LinkOptions underlay = {};
  std::uint64_t memory_mib = 2048;  ///< size of the tmpfs guests' memory comes from
};

class Host {
 public:
  /// Connects to both switches and prepares directories, certificates and configuration.
  /// `number` makes the addresses: underlay 172.31.0.N, management 192.168.77.N.
  Host(std::string name, std::string namespace_name, unsigned number,
       const std::filesystem::path& lab_directory, Switch& underlay, Switch& management,
       Database& database, HostOptions options);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// Starts homeportd. With a step of a move named in `hold_at` (source_move.cc names them), it is
  /// one that waits there, once, until release().
  void start_agent(const std::string& hold_at = "");
  /// Waits until /readyz says 200.
  void wait_ready(Clock::duration timeout = 20s);
  /// SIGTERM; the exit status must be 0. Guests go on.
  void stop_agent();
  /// SIGKILL.
  void kill_agent();
  Process& agent() { return *agent_; }
  bool agent_runs() { return agent_ && agent_->running(); }

  /// True while the agent waits at the step of `hold_at`.
  bool held() const;
  void wait_held(Clock::duration timeout = 60s);
  void release();

  /// The guest's process on this host, found by its command line; -1 for none.
  pid_t guest_pid(const std::string& application) const;
  /// GET of the agent's REST endpoint from inside the namespace; the body.
  std::string get(const std::string& path, Clock::duration timeout = 5s) const;

  /// Warnings and errors in the agent's logs that match none of `expected` (regular expressions).
  std::vector<std::string> complaints(const std::vector<std::string>& expected) const;
  /// What a host without applications and moves must not have: taps, filters on foreign devices,
  /// guests, memory files, journals, sockets of guests. Empty when clean.
  std::vector<std::string> leftovers() const;

  const std::string& name() const { return name_; }
  const Namespace& inside() const { return inside_; }
  Link& underlay() { return *underlay_; }
  Link& management() { return *management_; }
  const std::filesystem::path& directory() const { return directory_; }
  std::filesystem::path memory_directory() const { return directory_ / "memory"; }
  std::filesystem::path runtime_directory() const { return directory_ / "run"; }
  std::filesystem::path profile_directory() const { return directory_ / "launch.d"; }
  const std::string& underlay_address() const { return underlay_address_; }

 private:
  void write_configuration(const Database& database, const std::filesystem::path& certificates);

  std::string name_;
  unsigned number_;
  std::filesystem::path directory_;
  Cleanup cleanup_;
  Namespace inside_;
  std::string underlay_address_;
  Link* underlay_ = nullptr;
  Link* management_ = nullptr;
  std::filesystem::path cgroup_;
  std::unique_ptr<Process> agent_;
};

}  // namespace homeport::lab
