// The traffic of the interfaces bench: a thousand numbered records a second, one way.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "tests/lab/clients.h"

namespace homeport::lab {

inline constexpr unsigned kPerSecond = 1000;

/// A name in that directory, for the logs of the next traffic.
std::filesystem::path next_log(const std::filesystem::path& directory);

/// Is sent from construction on.
class Traffic {
 public:
  virtual ~Traffic() = default;
  /// Waits until so many more have arrived. Throws LabFailure when they have not in time.
  virtual void wait_progress(std::uint64_t records, Clock::duration timeout) = 0;
  /// Ends it. Returns the longest time between two records that arrived, in milliseconds.
  virtual double finish() = 0;
};

/// UDP datagrams of 64 bytes.
class DatagramTraffic final : public Traffic {
 public:
  DatagramTraffic(const Namespace& from, const std::string& address, const Namespace& to,
                  const std::filesystem::path& log)
      : flow_(from, address, {&to}, log, kPerSecond) {}
  void wait_progress(std::uint64_t records, Clock::duration timeout) override {
    flow_.wait_progress(records, timeout);
  }
  double finish() override { return flow_.finish().longest_gap_ms; }

 private:
  Flow flow_;
};

/// Records of 64 bytes in one MPTCP connection. Begins once it has a second subflow.
class MptcpTraffic final : public Traffic {
 public:
  MptcpTraffic(const Namespace& from, const std::string& address, const Namespace& to,
               const std::filesystem::path& log);
  void wait_progress(std::uint64_t records, Clock::duration timeout) override;
  double finish() override;

 private:
  Process receiver_;
  std::unique_ptr<Process> sender_;
};

}  // namespace homeport::lab
