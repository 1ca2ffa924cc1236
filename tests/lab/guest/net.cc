#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/lab/guest/worker.h"
#include "tests/lab/pattern.h"

namespace homeport::lab::guest {

int open_service(int type, std::uint16_t port) {
  const int service = socket(AF_INET6, type, 0);
  const int on = 1;
  const int off = 0;
  setsockopt(service, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(service, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  if (bind(service, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      (type == SOCK_STREAM && listen(service, 16) != 0)) {
    std::perror("guest: cannot open a service");
  }
  return service;
}

bool send_all(int socket, const void* data, std::size_t size) {
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  while (size > 0) {
    const ssize_t sent = send(socket, bytes, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

bool receive_all(int socket, void* data, std::size_t size) {
  auto* bytes = static_cast<std::uint8_t*>(data);
  while (size > 0) {
    const ssize_t got = recv(socket, bytes, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

void StreamService::converse(int socket) {
  StreamHeader header;
  std::uint64_t position = 0;
  std::uint8_t buffer[16384];
  if (receive_all(socket, &header, sizeof header) && header.magic == StreamHeader::kMagic) {
    while (true) {
      const ssize_t got = recv(socket, buffer, sizeof buffer, 0);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      const auto size = static_cast<std::size_t>(got);
      mismatches += count_wrong(header.seed, position, buffer, size);
      position += size;
      bytes += size;
      if (!send_all(socket, buffer, size)) break;
    }
  }
  close(socket);
}

void StreamService::serve(std::uint16_t port) {
  const int service = open_service(SOCK_STREAM, port);
  while (true) {
    const int peer = accept(service, nullptr, nullptr);
    if (peer < 0) continue;
    ++connections;
    std::thread([this, peer] { converse(peer); }).detach();
  }
}

void DatagramService::serve(std::uint16_t port) {
  const int service = open_service(SOCK_DGRAM, port);
  // Seconds of the stream: a guest short of processor time must not lose what reached it.
  const int room = 16 << 20;
  setsockopt(service, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  constexpr std::uint64_t kNumbers = 1u << 24;  // 4.6 hours at 1,000 a second
  std::vector<bool> seen(kNumbers);
  std::uint8_t buffer[2048];
  while (true) {
    sockaddr_in6 from{};
    socklen_t length = sizeof from;
    const ssize_t got =
        recvfrom(service, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &length);
    DatagramHeader header;
    if (got < static_cast<ssize_t>(sizeof header)) continue;
    std::memcpy(&header, buffer, sizeof header);
    if (header.magic != DatagramHeader::kMagic || header.number >= kNumbers) continue;
    if (!seen[header.number]) ++distinct;
    seen[header.number] = true;
    sendto(service, buffer, static_cast<std::size_t>(got), 0, reinterpret_cast<sockaddr*>(&from),
           length);
  }
}

}  // namespace homeport::lab::guest
