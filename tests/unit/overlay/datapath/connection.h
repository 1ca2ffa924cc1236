// A TCP connection between two applications, for tests of the datapaths.
#pragma once

#include "overlay/link/unique_fd.h"
#include "policy/address.h"
#include "tests/unit/overlay/datapath/fabric.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <boost/asio/ip/tcp.hpp>

#include <cerrno>
#include <string>
#include <system_error>

namespace homeport::overlay {

/// Throws what fails, and what takes longer than 20 s.
class Connection {
 public:
  /// `to`: an address of `server`.
  Connection(const App& client, const App& server, const policy::IpAddress& to) {
    boost::asio::ip::tcp::endpoint end(to, 0);
    auto length = static_cast<socklen_t>(end.capacity());
    const UniqueFd listening = made(server, to);
    check(::bind(listening.get(), end.data(), static_cast<socklen_t>(end.size())));
    check(::listen(listening.get(), 1));
    check(::getsockname(listening.get(), end.data(), &length));
    client_ = made(client, to);
    check(::connect(client_.get(), end.data(), static_cast<socklen_t>(end.size())));
    server_ = UniqueFd(::accept(listening.get(), nullptr, nullptr));
    check(server_.get());
    settle(server_.get());
  }

  /// The client sends it, in one segment if it fits; what the server has of it.
  std::string ask(const std::string& data) { return pass(client_.get(), server_.get(), data); }
  std::string answer(const std::string& data) { return pass(server_.get(), client_.get(), data); }

 private:
  static void check(int result) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), "TCP");
  }
  static void settle(int socket) {
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    const int on = 1;
    check(::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience));
    check(::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience));
    check(::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
  }
  static UniqueFd made(const App& app, const policy::IpAddress& to) {
    return app.inside.run([&] {
      UniqueFd socket(::socket(to.is_v6() ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      check(socket.get());
      settle(socket.get());
      return socket;
    });
  }
  static std::string pass(int from, int to, const std::string& data) {
    if (::send(from, data.data(), data.size(), 0) != static_cast<ssize_t>(data.size())) check(-1);
    std::string there(data.size(), '\0');
    const ssize_t length = ::recv(to, there.data(), there.size(), MSG_WAITALL);
    check(static_cast<int>(length));
    there.resize(static_cast<std::size_t>(length));
    return there;
  }

  UniqueFd client_, server_;
};

}  // namespace homeport::overlay
