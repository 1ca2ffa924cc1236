// The read-only status server: HTTP/1.1 on loopback addresses and unix sockets, nothing else.
//
//   GET|HEAD /v1/status               the whole snapshot
//            /v1/applications[/NAME]  applications, or one
//            /v1/tasks[/ID]           tasks, or one
//            /healthz                 200 while the process lives
//            /readyz                  200 when ready, else 503 with the reasons
//            /metrics                 Prometheus text format
//
// Errors are application/problem+json (RFC 9457). There is no authentication because nothing can
// be changed and only this machine can ask; a Host field that names anything but this machine is
// refused, so that a web page cannot read it by rebinding a name (421).
#pragma once

#include "agent/status/model.h"
#include "policy/error.h"

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace homeport::agent {

inline constexpr char kDefaultStatusEndpoint[] = "127.0.0.1:8480";

struct StatusServerOptions {
  /// "127.0.0.1:8480", "[::1]:0" (any port) or "unix:/run/homeport/status.sock".
  std::vector<std::string> listen = {kDefaultStatusEndpoint};
  std::size_t connections_max = 64;                ///< One more gets 503 and is closed.
  std::chrono::milliseconds read_timeout{5'000};   ///< For one request head, and for one answer.
  std::chrono::milliseconds idle_timeout{30'000};  ///< Between two requests of a connection.
};

class StatusServer {
 public:
  using Provider = std::function<StatusModel()>;

  /// Listens at once. `provider` is called on `executor`, once per request that needs it, and
  /// not after stop(). `executor` must run on one thread. Errors: an address that is malformed,
  /// not loopback, or in use; a unix socket path that is in use by a live server or too long.
  static policy::Result<std::unique_ptr<StatusServer>> start(boost::asio::any_io_executor executor,
                                                             StatusServerOptions options,
                                                             Provider provider);
  ~StatusServer();

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
