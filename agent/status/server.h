// The read-only status server: HTTP/1.1 on loopback addresses and unix sockets, nothing else.
// docs/status.md describes it to a person, agent/status/openapi.json to a program.
//
//   listener.h       where it listens
//   connection.h     reads requests, sends answers: deadlines and limits
//   reply.h          the answer to one request, by routes.h
//   event_streams.h  /v1/events: event_feed.h, sent to each reader
//   model.h          the snapshot that answers are made of: json.h, metrics.h, path_*.h
//
// There is no authentication because nothing can be changed and only this machine can ask; a Host
// field that names anything but this machine is refused, so that a web page cannot read it by
// rebinding a name (421).
#pragma once

#include "agent/status/model.h"
#include "policy/error.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace homeport::agent {

inline constexpr char kDefaultStatusEndpoint[] = "127.0.0.1:8480";

struct StatusServerOptions {
  /// "127.0.0.1:8480", "[::1]:0" (any port) or "unix:/run/homeport/status.sock".
  std::vector<std::string> listen = {kDefaultStatusEndpoint};
  std::size_t connections_max = 64;   ///< One more gets 503 and is closed.
  std::size_t event_streams_max = 8;  ///< Of these; one more gets 503.
  /// For one request head, for one answer, and for one piece of a stream of events.
  std::chrono::milliseconds read_timeout{5'000};
  std::chrono::milliseconds idle_timeout{30'000};  ///< Between two requests of a connection.
  std::chrono::milliseconds event_interval{250};   ///< Between two snapshots for events.
  std::chrono::milliseconds heartbeat{15'000};     ///< The longest silence of a stream of events.
};

class StatusServer {
 public:
  /// A snapshot with what is wanted, at least, filled in.
  using Provider = std::function<StatusModel(const StatusWanted&)>;

  /// Answers the query of /v1/trace, which has its parameters and no others. What its error has for
  /// a code becomes the status (reply.h). Called on `executor`.
  using Tracing = std::function<boost::asio::awaitable<policy::Result<boost::json::object>>(
      std::map<std::string, std::string, std::less<>>)>;

  /// Listens at once. `provider` is called on `executor`, once per request that needs it and for
  /// events, and not after stop(). `executor` must run on one thread. Errors: an address that is
  /// malformed, not loopback, or in use; a unix socket path that is in use by a live server or too
  /// long.
  static policy::Result<std::unique_ptr<StatusServer>> start(boost::asio::any_io_executor executor,
                                                             StatusServerOptions options,
                                                             Provider provider, Tracing tracing);
  ~StatusServer();

  /// Something that events tell of may be new: a task, a path. Cheap, may be called as often as one
  /// likes: what follows is done once per event_interval, and only for a reader of events. On the
  /// executor's thread.
  void things_changed();

  /// Closes the listeners and every connection. May be called twice. On the executor's thread.
  void stop();

  /// The ports of the TCP listeners, in the order of `listen`.
  std::vector<std::uint16_t> ports() const;

 private:
  class Impl;
  explicit StatusServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace homeport::agent
