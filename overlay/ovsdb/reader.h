// The part of a Session that reads rows once, on the OVS thread: a connection of its own, because
// the IDL cannot select. A thousand hosts seldom need it at the same time, and each connection
// costs the server something in every turn of its loop, so that it is closed when nobody has asked
// for a while.
#pragma once

#include "overlay/ovsdb/session.h"
#include "overlay/ovsdb/thread.h"

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>

struct hp_reader;

namespace homeport::overlay::ovsdb {

class Reader : public LoopClient {
 public:
  using Id = std::uint64_t;
  /// Called on the OVS thread; passes on and returns at once.
  using Answered = std::function<void(Id, policy::Result<Answers>)>;

  Reader(const SessionOptions& options, Answered answered);
  void read(Id id, ReadRequest request);

  bool run() override;
  void wait() override;
  void close() override;

 private:
  using Clock = std::chrono::steady_clock;
  //
  //   idle --"how is the server?"--> checking --good--> reading --answer--> idle
  //     ^                               |                                    ^
  //     +----------- (lost) ------------+----------------- behind -----------+
  //
  // One request at a time: of several, a cluster's server may answer a later one first.
  enum class Step { idle, checking, reading };
  struct Request {
    Id id;
    ReadRequest what;
  };

  void send(const std::string& params, Step next);
  void take(const std::string& answer, bool failed);
  /// Ends the first request.
  void end(policy::Result<Answers> answers);
  void end_behind(const std::string& why);

  std::string remotes_;
  std::chrono::milliseconds probe_interval_, idle_;
  Answered answered_;
  hp_reader* reader_ = nullptr;  ///< While there is something to read, and a little longer.
  unsigned connection_ = 0;
  Step step_ = Step::idle;
  std::deque<Request> requests_;
  Clock::time_point last_used_{};
  std::int64_t highest_index_ = 0;  ///< Of the cluster's log, at the servers read from.
};

}  // namespace homeport::overlay::ovsdb
