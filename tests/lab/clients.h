// The client programs: a checked TCP stream, numbered datagrams to a guest and back, a one-way flow
// of them to wherever an application is, small requests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/lab/process.h"
#include "tests/lab/wire_watch.h"

namespace homeport::lab {

struct StreamReport {
  std::uint64_t sent_bytes = 0;
  std::uint64_t checked_bytes = 0;  ///< came back and were right
  std::uint64_t mismatches = 0;
  bool survived = false;  ///< one connection from first to last byte
  std::string error;      ///< what ended it, empty if nothing did
};

/// One TCP connection whose every byte is checked by the guest and, echoed, by the client.
class StreamClient {
 public:
  /// `rate_kib`: KiB/s offered, so that an emulated guest is not saturated.
  StreamClient(const Namespace& from, const std::string& address, std::filesystem::path log,
               unsigned rate_kib = 256);

  /// Waits until `bytes` more have been checked: the stream is alive.
  void wait_progress(std::uint64_t bytes, Clock::duration timeout);
  /// Ends the stream in order, waits for the last echo, and reports.
  StreamReport finish(Clock::duration timeout = 30s);

 private:
  Process process_;
};

/// One datagram of the numbered stream; times in nanoseconds of CLOCK_MONOTONIC.
struct Datagram {
  std::uint64_t sent = 0;
  std::uint64_t answered = 0;  ///< 0: never
};

struct DatagramWindow {
  std::uint64_t sent = 0;
  std::uint64_t lost = 0;
  double longest_gap_ms = 0;  ///< between two answers, or between one and the window's edge
};

struct DatagramReport {
  std::vector<Datagram> datagrams;  ///< by number
  std::uint64_t duplicated = 0;
  std::uint64_t reordered = 0;    ///< answers that came after that of a higher number
  std::uint64_t unreachable = 0;  ///< ICMP errors of that kind that came back
  /// What was sent in [from, to], and the longest silence in it.
  DatagramWindow window(Clock::time_point from, Clock::time_point to) const;
  DatagramWindow all() const;
};

/// Numbered datagrams to the guest and back, 1,000 a second unless said otherwise.
class DatagramClient {
 public:
  DatagramClient(const Namespace& from, const std::string& address, std::filesystem::path log,
                 unsigned per_second = 1000);

  void wait_progress(std::uint64_t answers, Clock::duration timeout);
  /// Stops sending, waits for answers under way, and reports.
  DatagramReport finish(Clock::duration timeout = 30s);

 private:
  std::filesystem::path record_;
  Process process_;
};

struct FlowReport {
  std::uint64_t sent = 0;
  std::uint64_t lost = 0;
  std::uint64_t duplicated = 0;
  /// Came after a higher number at the same place, but for those that are counted next.
  std::uint64_t reordered = 0;
  /// The same, where the earlier one had come by the host that the application has left, and the
  /// later one directly: its sender's host had changed over.
  std::uint64_t overtaken_at_change = 0;
  std::uint64_t switches = 0;         ///< changes of place from one number to the next
  std::uint64_t unreachable = 0;      ///< ICMP errors of that kind that came back
  std::uint64_t socket_drops = 0;     ///< lost in the receiver itself: no fault of the network's
  double longest_gap_ms = 0;          ///< between two that were received
  double longest_transit_ms = 0;      ///< from sending to receiving
  double longest_pause_ms = 0;        ///< between two that were sent
  std::vector<std::uint64_t> places;  ///< received at each
  std::string to_string() const;
};

/// By which ways a flow comes: tells when its sender's host has changed over.
struct FlowWatch {
  std::string sender;                   ///< underlay address of the host that it comes from
  std::vector<const WireWatch*> wires;  ///< to the host of each place
};

/// A one-way flow of numbered datagrams from one namespace to several, in one of which at a time
/// the application is.
class Flow {
 public:
  Flow(const Namespace& from, const std::string& address, const std::vector<const Namespace*>& to,
       const std::filesystem::path& log, unsigned per_second = 10'000, FlowWatch watch = {});

  /// Waits until `datagrams` more have been received.
  void wait_progress(std::uint64_t datagrams, Clock::duration timeout);
  /// Waits until as many more have been sent, received or not.
  void wait_sent(std::uint64_t datagrams, Clock::duration timeout);
  FlowReport finish(Clock::duration timeout = 30s);

 private:
  bool at_change_of_path(std::uint64_t number, std::uint64_t by, std::size_t place) const;

  FlowWatch watch_;
  Process receiver_;
  std::unique_ptr<Process> sender_;
};

struct RequestReport {
  std::uint64_t answered = 0;
  std::uint64_t failed = 0;      ///< refused, reset, unreachable, ended early, not answered
  std::uint64_t longest_ms = 0;  ///< of one that was answered
  std::string error;             ///< the first
};

/// Requests on connections of their own, one at a time.
class RequestClient {
 public:
  RequestClient(const Namespace& from, const std::string& address, std::filesystem::path log,
                unsigned per_second = 20);

  void wait_progress(std::uint64_t answers, Clock::duration timeout);
  RequestReport finish(Clock::duration timeout = 30s);

 private:
  Process process_;
};

}  // namespace homeport::lab
