#include "overlay/datapath/underlay_hook.h"

#include "overlay/directory.h"
#include "overlay/link/ipsec.h"
#include "overlay/link/link.h"
#include "overlay/link/unique_fd.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <optional>
#include <string>
#include <thread>

namespace homeport::overlay::underlay_hook {

using policy::errno_error;
using policy::Result;

namespace {

/// enum bpf_attach_type and enum bpf_link_type of Linux 6.6: newer than the headers this is built
/// with.
constexpr auto kTcxIngress = static_cast<bpf_attach_type>(46);
constexpr std::uint32_t kLinkTypeTcx = 11;

constexpr std::string_view kPrefix = "underlay-";

std::filesystem::path pin_of(const std::filesystem::path& directory, std::uint32_t ifindex) {
  return directory / (std::string(kPrefix) + std::to_string(ifindex));
}

std::string place(std::uint32_t ifindex) {
  return "the underlay's network device with index " + std::to_string(ifindex);
}

/// The id of the link's program; 0 if it is no link at that device any more.
std::uint32_t program_at(int link, std::uint32_t ifindex) {
  bpf_link_info info{};
  std::uint32_t length = sizeof(info);
  if (bpf_obj_get_info_by_fd(link, &info, &length) < 0 || info.type != kLinkTypeTcx) return 0;
  // That of a TCX link is at the same place.
  return info.xdp.ifindex == ifindex ? info.prog_id : 0;
}

/// The kernel takes a link whose pin somebody has removed from its device a moment later, on a
/// thread of its own, and until then the program is there already: a few milliseconds, on a busy
/// machine some tens. They are waited for, as nothing would be there after them; whoever looks
/// again, as the agent does, mends it where they are more.
constexpr int kTries = 100;
constexpr auto kBetweenTries = std::chrono::milliseconds(1);

/// The file descriptor of the link, or a negative error number.
int create_link(int program_fd, std::uint32_t ifindex) {
  for (int tried = 1;; ++tried) {
    const int made = bpf_link_create(program_fd, static_cast<int>(ifindex), kTcxIngress, nullptr);
    if (made != -EEXIST || tried == kTries) return made;
    std::this_thread::sleep_for(kBetweenTries);
  }
}

}  // namespace

Result<std::set<std::uint32_t>> devices_of(const std::vector<policy::IpAddress>& vteps) {
  auto ipsec = ipsec_policies();
  if (!ipsec) return ipsec.error();
  std::set<std::uint32_t> devices;
  if (ipsec->in > 0) return devices;
  auto addresses = list_addresses();
  if (!addresses) return addresses.error();
  for (const LinkAddress& each : *addresses) {
    if (std::ranges::find(vteps, each.address) == vteps.end()) continue;
    devices.insert(static_cast<std::uint32_t>(each.link_index));
  }
  if (devices.empty()) return devices;
  auto links = list_links();
  if (!links) return links.error();
  std::set<std::uint32_t> ethernet;
  for (const Link& link : *links) {
    const auto ifindex = static_cast<std::uint32_t>(link.index);
    if (link.mac != policy::MacAddress{} && devices.contains(ifindex)) ethernet.insert(ifindex);
  }
  return ethernet;
}

Result<std::map<std::uint32_t, std::uint32_t>> list(const std::filesystem::path& directory) {
  std::map<std::uint32_t, std::uint32_t> found;
  std::error_code code;
  for (const std::filesystem::path& entry : entries_of(directory, code)) {
    const std::string name = entry.filename().string();
    if (!name.starts_with(kPrefix)) continue;
    std::uint32_t ifindex = 0;
    const char* end = name.data() + name.size();
    auto [last, error] = std::from_chars(name.data() + kPrefix.size(), end, ifindex);
    if (error != std::errc() || last != end) continue;
    const UniqueFd link(bpf_obj_get(entry.c_str()));
    found[ifindex] = link ? program_at(link.get(), ifindex) : 0;
  }
  if (code)
    return errno_error("The directory " + directory.string() + " cannot be read", code.value());
  return found;
}

Result<void> attach(const std::filesystem::path& directory, std::uint32_t ifindex, int program_fd) {
  const std::filesystem::path pin = pin_of(directory, ifindex);
  if (const UniqueFd link(bpf_obj_get(pin.c_str())); link && program_at(link.get(), ifindex) != 0) {
    if (const int result = bpf_link_update(link.get(), program_fd, nullptr); result < 0) {
      return errno_error("The program cannot be replaced at " + place(ifindex), -result);
    }
    return {};
  }
  if (auto gone = detach(directory, ifindex); !gone) return gone;
  const int made = create_link(program_fd, ifindex);
  if (made < 0) {
    return errno_error("The program cannot be attached (needs Linux 6.6) to " + place(ifindex),
                       -made);
  }
  const UniqueFd link(made);
  if (const int result = bpf_obj_pin(link.get(), pin.c_str()); result < 0) {
    return errno_error("The link " + pin.string() + " cannot be pinned", -result);
  }
  return {};
}

Result<void> detach(const std::filesystem::path& directory, std::uint32_t ifindex) {
  const std::filesystem::path pin = pin_of(directory, ifindex);
  // At once, whoever else may have the link open. Fails for one whose device is gone already.
  if (const UniqueFd link(bpf_obj_get(pin.c_str())); link) bpf_link_detach(link.get());
  if (::unlink(pin.c_str()) < 0 && errno != ENOENT) {
    return errno_error("The link " + pin.string() + " cannot be removed");
  }
  return {};
}

}  // namespace homeport::overlay::underlay_hook
