#include "tests/lab/guest/worker.h"

#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/lab/pattern.h"

namespace homeport::lab::guest {
namespace {

/// One of the kernel's UDP counters, over both families.
std::uint64_t udp_counter(const std::string& name) {
  std::uint64_t sum = 0;
  std::ifstream six("/proc/net/snmp6");
  std::string key;
  std::uint64_t value = 0;
  while (six >> key >> value) {
    if (key == "Udp6" + name) sum += value;
  }
  std::ifstream four("/proc/net/snmp");
  std::string line;
  std::string names;
  while (std::getline(four, line)) {
    if (!line.starts_with("Udp: ")) continue;
    if (names.empty()) {
      names = line;
      continue;
    }
    std::istringstream keys(names), values(line);
    keys >> key, values >> key;
    while (keys >> key >> std::ws && values >> value) {
      if (key == name) sum += value;
    }
    break;
  }
  return sum;
}

std::uint64_t device_drops() {
  std::uint64_t dropped = 0;
  std::ifstream("/sys/class/net/eth0/statistics/rx_dropped") >> dropped;
  return dropped;
}

}  // namespace

std::string Worker::status() {
  std::ostringstream json;
  json << "{\"boot_id\":\"" << boot_id_ << "\",\"counter\":" << counter_.value
       << ",\"stream_bytes\":" << streams_.bytes << ",\"stream_mismatches\":" << streams_.mismatches
       << ",\"stream_connections\":" << streams_.connections
       << ",\"datagrams\":" << datagrams_.distinct << ",\"datagram_drops\":"
       << udp_counter("RcvbufErrors") + udp_counter("SndbufErrors") + device_drops()
       << ",\"memory_written_bytes\":" << memory_.written_bytes
       << ",\"memory_mismatches\":" << memory_.mismatches << ",\"disk_pages\":" << disk_.pages
       << ",\"disk_mismatches\":" << disk_.mismatches << ",\"disk_first_mismatch\":\""
       << disk_.first_mismatch() << "\"}";
  return json.str();
}

std::string Worker::answer(const std::string& command) {
  std::istringstream words(command);
  std::string what, how;
  words >> what >> how;
  if (what == "memory" && how == "write") {
    std::uint64_t region = 0, hot = 0, rate = 0;
    words >> region >> hot >> rate;
    memory_.start(region, hot, rate);
  } else if (what == "memory" && how == "check") {
    memory_.check();
  } else if (what == "disk" && how == "read") {
    std::uint64_t buffer = 0;
    words >> buffer;
    disk_.start(buffer);
  } else if (what == "disk" && how == "check") {
    disk_.check();
  } else if (what != "status") {
    return "{\"error\":\"unknown command\"}";
  }
  return status();
}

void Worker::run() {
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot_id_;
  std::thread([this] { counter_.work(); }).detach();
  std::thread([this] { streams_.serve(kGuestStreamPort); }).detach();
  std::thread([this] { datagrams_.serve(kGuestDatagramPort); }).detach();
  const int service = open_service(SOCK_STREAM, kGuestControlPort);
  std::puts("guest: ready");
  std::fflush(stdout);
  while (true) {
    const int peer = accept(service, nullptr, nullptr);
    if (peer < 0) continue;
    std::string line;
    char c = 0;
    while (line.size() < 256 && receive_all(peer, &c, 1) && c != '\n') line += c;
    const std::string reply = answer(line) + "\n";
    send_all(peer, reply.data(), reply.size());
    close(peer);
  }
}

}  // namespace homeport::lab::guest

int main() {
  std::signal(SIGPIPE, SIG_IGN);
  homeport::lab::guest::Worker().run();
}
