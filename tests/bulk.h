// A transfer between two network namespaces of which every byte is compared, for the tests of
// datapaths and those of whole fleets.
#pragma once

#include <sys/socket.h>
#include <sys/time.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace homeport::test {

/// Sends 16 MiB over one TCP connection to that address of `at`, no longer than 10 s at a stretch
/// without progress. What went wrong; empty: all of it is there, and right. `Inside` runs a
/// function in a namespace: run().
template <class Inside>
std::string send_bulk(const Inside& from, const Inside& at, const boost::asio::ip::address& to) {
  using boost::asio::ip::tcp;
  const tcp family = to.is_v6() ? tcp::v6() : tcp::v4();
  boost::asio::io_context io;
  tcp::acceptor acceptor(io);
  at.run([&] { acceptor = tcp::acceptor(io, tcp::endpoint(family, 0)); });
  tcp::socket client(io);
  from.run([&] { client.open(family); });
  const timeval patience{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(client.native_handle(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  boost::system::error_code refused;
  client.connect({to, acceptor.local_endpoint().port()}, refused);
  if (refused) return "no connection: " + refused.message();
  tcp::socket server = acceptor.accept();
  ::setsockopt(server.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));

  std::vector<std::uint32_t> sent(4 << 20);
  for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<std::uint32_t>(i * 7);
  const std::size_t length = sent.size() * sizeof(sent[0]);
  std::thread sender([&] {
    for (std::size_t done = 0; done < length;) {
      const ssize_t now =
          ::send(client.native_handle(), reinterpret_cast<const char*>(sent.data()) + done,
                 length - done, MSG_NOSIGNAL);
      if (now <= 0) return;
      done += static_cast<std::size_t>(now);
    }
  });
  std::vector<std::uint32_t> received(sent.size());
  const ssize_t got = ::recv(server.native_handle(), received.data(), length, MSG_WAITALL);
  server.close();
  sender.join();
  if (got != static_cast<ssize_t>(length)) return std::to_string(got) + " bytes arrived";
  return received == sent ? "" : "what arrived is not what was sent";
}

}  // namespace homeport::test
