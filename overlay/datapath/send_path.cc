#include "overlay/datapath/send_path.h"

#include "overlay/link/ipsec.h"

#include <fmt/format.h>

#include <cerrno>
#include <fstream>

namespace homeport::overlay {

namespace {

/// Those that the kernel chooses outer source ports among, as of its sockets without a port: from
/// the first, the second excluded. That IPv6 has no setting of its own is the kernel's doing.
constexpr const char* kPortRange = "/proc/sys/net/ipv4/ip_local_port_range";

policy::Error file_error(const char* what, const std::filesystem::path& file) {
  return policy::errno_error(
      fmt::format(
          "The kernel's setting {} cannot be {}, which sending past the VXLAN device needs (make "
          "that possible, or set send = \"filtered\" in the section [underlay])",
          file.string(), what),
      errno != 0 ? errno : EIO);
}

Result<bool> is_on(const std::filesystem::path& file) {
  errno = 0;
  int value = 0;
  if (!(std::ifstream(file) >> value)) return file_error("read", file);
  return value != 0;
}

Result<void> switch_on(const std::filesystem::path& file) {
  errno = 0;
  std::ofstream out(file);
  if (!(out << "1" << std::flush)) return file_error("written", file);
  return {};
}

}  // namespace

SendPath::SendPath(const EbpfOptions& options, EbpfObject& object)
    : fast_(options.fast_send && (options.local_vtep_v4 || options.local_vtep_v6)),
      object_(object) {
  // Of the loopback device: no packet of others comes from there, so that the host forwards none
  // for it.
  if (options.local_vtep_v4) forwarding_.emplace_back("/proc/sys/net/ipv4/conf/lo/forwarding");
  if (options.local_vtep_v6) forwarding_.emplace_back("/proc/sys/net/ipv6/conf/lo/forwarding");
}

Result<SendPath::Settings> SendPath::wanted() const {
  Settings settings;
  if (!fast_) return settings;
  auto ipsec = ipsec_policies();
  if (!ipsec) return ipsec.error();
  if (ipsec->out > 0) return settings;
  errno = 0;
  std::uint16_t first = 0, last = 0;
  if (!(std::ifstream(kPortRange) >> first >> last) || first >= last) {
    return file_error("read", kPortRange);
  }
  settings = {true, first, static_cast<std::uint16_t>(last - first)};
  return settings;
}

std::vector<std::string> SendPath::keep(std::vector<std::string>& problems) {
  std::vector<std::string> mended;
  auto settings = wanted();
  if (!settings) {
    problems.push_back(settings.error().message + ".");
    settings = Settings{};
  }
  if (settings->fast) {
    for (const auto& file : forwarding_) {
      auto on = is_on(file);
      if (on && *on) continue;
      if (left_.fast)
        mended.push_back(fmt::format("the kernel's setting {} was off", file.string()));
      if (auto switched = on ? switch_on(file) : Result<void>(on.error()); !switched) {
        problems.push_back(switched.error().message + ".");
        settings = Settings{};
        break;
      }
    }
  }
  if (*settings != left_) {
    object_.set_sending(settings->fast, settings->first_port, settings->ports);
    left_ = *settings;
  }
  return mended;
}

Result<bool> SendPath::untouched() const {
  auto settings = wanted();
  if (!settings) return settings.error();
  if (*settings != left_) return false;
  if (!settings->fast) return true;
  for (const auto& file : forwarding_) {
    auto on = is_on(file);
    if (!on) return on.error();
    if (!*on) return false;
  }
  return true;
}

}  // namespace homeport::overlay
