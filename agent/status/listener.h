// One address that the status server listens on.
#pragma once

#include "policy/error.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace homeport::agent {

class StatusListener {
 public:
  using Acceptor = boost::asio::basic_socket_acceptor<boost::asio::generic::stream_protocol>;

  /// Listens on `address` (see parse_status_endpoint()). The file of a unix socket is made with
  /// mode 0660, in the place of one that nobody listens on any more; a live one and any other file
  /// are left alone, which is an error.
  static policy::Result<StatusListener> open(const boost::asio::any_io_executor& executor,
                                             const std::string& address);

  /// Closes it and removes the file of a unix socket. May be called twice.
  void close();

  Acceptor& acceptor() { return acceptor_; }
  bool is_unix() const { return !unix_path_.empty(); }
  /// Of a TCP listener that is open.
  std::optional<std::uint16_t> port() const;

 private:
  explicit StatusListener(const boost::asio::any_io_executor& executor) : acceptor_(executor) {}

  Acceptor acceptor_;
  std::string unix_path_;  ///< Empty for TCP.
};

}  // namespace homeport::agent
