// The value types of records.h to and from text.
#include "agent/control/names.h"
#include "agent/control/records.h"

#include <fmt/format.h>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <boost/uuid/uuid_io.hpp>

#include <charconv>

namespace homeport::agent {

namespace ip = boost::asio::ip;

namespace {

std::optional<unsigned> parse_length(std::string_view text) {
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

bool Subnet::contains(const policy::IpAddress& other) const {
  if (other.is_v4() != address.is_v4()) return false;
  auto length = static_cast<unsigned short>(prefix_length);
  if (address.is_v4()) {
    return ip::make_network_v4(other.to_v4(), length).canonical() ==
           ip::make_network_v4(address.to_v4(), length);
  }
  return ip::make_network_v6(other.to_v6(), length).canonical() ==
         ip::make_network_v6(address.to_v6(), length);
}

std::string Subnet::to_string() const {
  return fmt::format("{}/{}", address.to_string(), prefix_length);
}

std::optional<Subnet> Subnet::parse(std::string_view text) {
  auto slash = text.find('/');
  if (slash == text.npos) return std::nullopt;
  boost::system::error_code error;
  auto address = ip::make_address(std::string(text.substr(0, slash)), error);
  auto length = parse_length(text.substr(slash + 1));
  if (error || !length || *length > (address.is_v4() ? 32u : 128u)) return std::nullopt;
  Subnet subnet{address, *length};
  auto bits = static_cast<unsigned short>(*length);
  policy::IpAddress network =
      address.is_v4()
          ? policy::IpAddress(ip::make_network_v4(address.to_v4(), bits).canonical().address())
          : policy::IpAddress(ip::make_network_v6(address.to_v6(), bits).canonical().address());
  if (network != address) return std::nullopt;
  return subnet;
}

std::string to_string(const Uuid& uuid) {
  return boost::uuids::to_string(uuid);
}

std::optional<Uuid> parse_uuid(std::string_view text) {
  // Strict, unlike Boost's own parser: 8-4-4-4-12 hexadecimal digits, as ovsdb-server writes them.
  if (text.size() != 36) return std::nullopt;
  Uuid uuid{};
  std::size_t byte = 0;
  for (std::size_t i = 0; i < text.size();) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (text[i++] != '-') return std::nullopt;
      continue;
    }
    auto pair = text.substr(i, 2);
    auto [end, error] =
        std::from_chars(pair.data(), pair.data() + pair.size(), *(uuid.begin() + byte++), 16);
    if (error != std::errc() || end != pair.data() + 2) return std::nullopt;
    i += 2;
  }
  return uuid;
}

WallTime wall_clock_now() {
  return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

const char* to_string(HostState value) {
  return name_of(value);
}
const char* to_string(LinkState value) {
  return name_of(value);
}
const char* to_string(UnknownDestination value) {
  return name_of(value);
}
const char* to_string(Driver value) {
  return name_of(value);
}
const char* to_string(Convergence value) {
  return name_of(value);
}
const char* to_string(Compression value) {
  return name_of(value);
}
const char* to_string(Detection value) {
  return name_of(value);
}
const char* to_string(TaskKind value) {
  return name_of(value);
}
const char* to_string(Resolution value) {
  return name_of(value);
}
const char* to_string(LaneState value) {
  return name_of(value);
}
const char* to_string(TaskState value) {
  return name_of(value);
}

}  // namespace homeport::agent
