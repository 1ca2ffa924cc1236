#include "tests/lab/guest.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>

#include <cerrno>

#include "tests/lab/clients/client.h"
#include "tests/lab/failure.h"
#include "tests/lab/pattern.h"

namespace homeport::lab {
namespace {

/// One exchange on a socket whose calls do not block; empty when it did not come about by `until`.
std::string exchange(int socket, const Endpoint& guest, const std::string& line,
                     Clock::time_point until) {
  auto ready = [&](short events) {
    pollfd waiting{socket, events, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    return left.count() > 0 && poll(&waiting, 1, static_cast<int>(left.count())) > 0;
  };
  if (connect(socket, reinterpret_cast<const sockaddr*>(&guest.address), guest.length) != 0 &&
      errno != EINPROGRESS) {
    return {};
  }
  if (!ready(POLLOUT) || send(socket, line.data(), line.size(), MSG_NOSIGNAL) < 0) return {};
  std::string reply;
  while (ready(POLLIN)) {
    char buffer[2048];
    const ssize_t got = recv(socket, buffer, sizeof buffer, 0);
    if (got <= 0) break;
    reply.append(buffer, static_cast<std::size_t>(got));
  }
  return reply.ends_with('\n') ? reply : std::string();
}

}  // namespace

std::string GuestControl::ask(const std::string& command, Clock::duration timeout) const {
  const Endpoint guest = endpoint(address_.c_str(), kGuestControlPort);
  std::string reply;
  from_.run([&] {
    const int client =
        socket(guest.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    reply = exchange(client, guest, command + "\n", Clock::now() + timeout);
    close(client);
  });
  if (reply.empty()) {
    throw LabFailure("the guest at " + address_ + " does not answer \"" + command + "\"");
  }
  return reply;
}

GuestStatus GuestControl::status() const {
  const auto json = boost::json::parse(ask("status"));
  auto number = [&](const char* key) { return boost::json::value_to<std::uint64_t>(json.at(key)); };
  auto text = [&](const char* key) { return boost::json::value_to<std::string>(json.at(key)); };
  GuestStatus status;
  status.boot_id = text("boot_id");
  status.counter = number("counter");
  status.stream_bytes = number("stream_bytes");
  status.stream_mismatches = number("stream_mismatches");
  status.stream_connections = number("stream_connections");
  status.datagrams = number("datagrams");
  status.datagram_drops = number("datagram_drops");
  status.memory_written_bytes = number("memory_written_bytes");
  status.memory_mismatches = number("memory_mismatches");
  status.disk_pages = number("disk_pages");
  status.disk_mismatches = number("disk_mismatches");
  status.disk_first_mismatch = text("disk_first_mismatch");
  return status;
}

void GuestControl::wait_ready(Clock::duration timeout) const {
  wait_until(
      [&] {
        try {
          ask("status", 1s);
          return true;
        } catch (const Interrupted&) {
          throw;
        } catch (const LabFailure&) {
          return false;
        }
      },
      timeout, "the guest at " + address_ + " to answer");
}

void GuestControl::write_memory(unsigned region_mib, unsigned hot_mib,
                                unsigned mib_per_second) const {
  ask("memory write " + std::to_string(region_mib) + " " + std::to_string(hot_mib) + " " +
          std::to_string(mib_per_second),
      60s);
}

void GuestControl::check_memory() const {
  ask("memory check", 60s);
}

void GuestControl::read_disk(unsigned buffer_mib) const {
  ask("disk read " + std::to_string(buffer_mib), 60s);
}

void GuestControl::check_disk() const {
  ask("disk check", 60s);
}

}  // namespace homeport::lab
