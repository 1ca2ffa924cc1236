// Follows a packet through the datapaths of the hosts it passes: the agent of each is asked what
// its own datapath has programmed at that moment, on a control channel.
#pragma once

#include "agent/trace/question.h"
#include "agent/trace/trace_message.h"
#include "agent/worker.h"
#include "overlay/channel/channel.h"
#include "overlay/datapath/datapath.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace homeport::agent {

/// The session of a control channel that is about a trace.
inline constexpr char kTraceSession[] = "trace";

struct TracerContext {
  boost::asio::any_io_executor executor;
  std::string host;
  const ControlDatabase& database;
  overlay::Datapath& datapath;
  overlay::TlsContext tls;
  overlay::PeerCheck peer_check;
};

struct TracerLimits {
  std::size_t questions = 8;                   ///< answered at a time
  std::size_t live = 4;                        ///< traces whose packets are counted
  std::size_t channels = 32;                   ///< of other agents
  std::size_t hosts = 16;                      ///< asked in one trace
  std::chrono::milliseconds answer{3'000};     ///< for a host to connect, and to answer
  std::chrono::milliseconds whole{15'000};     ///< after which no further host is asked
  std::chrono::milliseconds live_idle{5'000};  ///< counting ends when nobody asks for so long
};

/// Used on the control executor only. Must outlive what it serves on it.
class Tracer {
 public:
  explicit Tracer(TracerContext context, TracerLimits limits = {});
  ~Tracer();

  /// Answers /v1/trace: the parameters of parse_question(), and `live`, a name that the asker
  /// chooses: of the same name and question, the real packets since the first time are counted.
  /// Errors: what is wrong with the question, of codes as parse_question() and host_of() have;
  /// resource_unavailable_try_again: over the limits, or no control database yet.
  boost::asio::awaitable<policy::Result<boost::json::object>> answer_query(
      std::map<std::string, std::string, std::less<>> query);

  /// Answers what another agent asks on one channel.
  boost::asio::awaitable<void> serve(overlay::Channel channel);

 private:
  /// Packets that are counted on this host for one who asks.
  struct Counting {
    std::string request;
    std::shared_ptr<overlay::TraceCounter> counter;
    std::string problem;
  };
  /// One host's part of a live trace.
  struct Hop {
    std::shared_ptr<overlay::Channel> channel;
    Counting counting;
    bool used = false;
    bool reached = false;  ///< by a channel: another one counts from 0
    bool anew = false;     ///< counts that were told before are gone
  };
  struct Live {
    TraceQuestion question;
    std::chrono::steady_clock::time_point asked;
    bool busy = false;
    std::map<std::string, Hop> hops;  ///< by host and request
    std::set<std::string> left;       ///< those where the packet did not go for a while
  };
  struct Leg {
    std::string host, sent_by;
    policy::IpAddress vtep;  ///< by which the host is reached
    TraceStart start;
  };

  boost::asio::awaitable<policy::Result<std::vector<TracedHost>>> follow(
      TraceQuestion question, std::shared_ptr<Live> live);
  policy::Result<std::shared_ptr<Live>> live_trace(const std::string& name,
                                                   const TraceQuestion& question);
  boost::asio::awaitable<void> end_idle();

  boost::asio::awaitable<policy::Result<TraceTold>> ask(std::string host, TraceRequest request,
                                                        Hop& hop);
  boost::asio::awaitable<policy::Result<void>> connect(std::string host, Hop& hop);
  boost::asio::awaitable<TraceReply> answer(TraceRequest request, Counting& counting);
  boost::asio::awaitable<void> count(TraceBeginning beginning, Counting& counting);

  std::string host_at(const policy::IpAddress& vtep) const;
  policy::IpAddress vtep_of(const std::string& host, bool v6) const;
  std::string known_about(const Leg& leg) const;

  TracerContext context_;
  TracerLimits limits_;
  /// Loads and unloads the programs that count, which takes tens of milliseconds.
  std::shared_ptr<Worker> worker_;
  std::map<std::string, std::shared_ptr<Live>> live_;
  std::size_t questions_ = 0;
  std::size_t channels_ = 0;
  bool ending_idle_ = false;
};

}  // namespace homeport::agent
