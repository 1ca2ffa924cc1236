#include "overlay/link/ethtool.h"

#include "overlay/link/unique_fd.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>

namespace homeport::overlay {

namespace {

/// What ETHTOOL_GLINKSETTINGS writes: the settings and, behind them, three bitmaps of link modes
/// of the greatest length that it can be asked for (`link_mode_masks_nwords` is a signed byte).
union LinkSettings {
  ethtool_link_settings settings;
  std::array<std::byte, sizeof(ethtool_link_settings) + 3 * 127 * sizeof(std::uint32_t)> room{};
};

ifreq request_for(const std::string& name, void* answer) {
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_data = static_cast<char*>(answer);
  return request;
}

}  // namespace

policy::Result<bool> has_carrier(const std::string& name) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return policy::errno_error("The carrier of " + name + " cannot be asked for");
  ethtool_value answer{.cmd = ETHTOOL_GLINK, .data = 0};
  ifreq request = request_for(name, &answer);
  if (::ioctl(socket.get(), SIOCETHTOOL, &request) == 0) return answer.data != 0;
  if (errno == EOPNOTSUPP) return true;
  return policy::errno_error("The carrier of " + name + " cannot be read");
}

policy::Result<std::uint64_t> link_speed(const std::string& name) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return policy::errno_error("The speed of " + name + " cannot be asked for");
  LinkSettings answer;
  ifreq request = request_for(name, &answer);
  // Asked with a length of 0 it answers with the negative of the one to ask with.
  for (int round = 0; round < 2; ++round) {
    answer.settings.cmd = ETHTOOL_GLINKSETTINGS;
    if (::ioctl(socket.get(), SIOCETHTOOL, &request) < 0) {
      if (errno == EOPNOTSUPP) return std::uint64_t{0};
      return policy::errno_error("The speed of " + name + " cannot be read");
    }
    if (answer.settings.link_mode_masks_nwords > 0) break;
    answer.settings.link_mode_masks_nwords =
        static_cast<std::int8_t>(-answer.settings.link_mode_masks_nwords);
  }
  const std::uint32_t megabits = answer.settings.speed;
  if (megabits == static_cast<std::uint32_t>(SPEED_UNKNOWN)) return std::uint64_t{0};
  return std::uint64_t{megabits} * 1'000'000;
}

}  // namespace homeport::overlay
