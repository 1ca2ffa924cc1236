#include "tests/lab/userspace_wire.h"

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "tests/lab/failure.h"

namespace homeport::lab {
namespace {

/// Puts a veth pair in the port's place; returns the end that is left for the wire.
std::string take_place(const Namespace& inside, const std::string& port) {
  const std::string end = port + "-wire", bridged = port + "-br";
  inside.ip("link set " + port + " nomaster");
  inside.ip("link add " + end + " type veth peer name " + bridged);
  inside.ip("link set " + bridged + " master br0 up");
  inside.ip("link set " + end + " up");
  return end;
}

std::filesystem::path log_of(const Namespace& inside, const std::string& port) {
  return std::filesystem::temp_directory_path() / (inside.name() + "-" + port + ".log");
}

}  // namespace

UserspaceWire::UserspaceWire(const Namespace& inside, const std::string& port)
    : process_(Command{HOMEPORT_LAB_USERSPACE_WIRE, inside.name(), port, take_place(inside, port)},
               ProcessOptions{.log = log_of(inside, port)}) {
  process_.wait_for_log("carries", 10s);
  std::filesystem::remove(process_.log());
}

void UserspaceWire::set(const WireConditions& conditions) {
  const auto send = [&](int signal, std::int64_t value) {
    if (::sigqueue(process_.pid(), signal, {.sival_int = static_cast<int>(value)}) != 0) {
      throw LabFailure(std::string("a wire: ") + std::strerror(errno));
    }
  };
  send(kSetDelay, conditions.delay.count());
  send(kSetLoss, conditions.loss_ppm);
}

}  // namespace homeport::lab
