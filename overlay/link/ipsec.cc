#include "overlay/link/ipsec.h"

#include "overlay/link/unique_fd.h"

#include <linux/netlink.h>
#include <linux/xfrm.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace homeport::overlay {

using policy::errno_error;
using policy::Result;

Result<IpsecPolicies> ipsec_policies() {
  constexpr const char* kUntold = "The kernel does not tell whether it has IPsec policies";
  const UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_XFRM));
  if (!socket && errno == EPROTONOSUPPORT) return IpsecPolicies{};  // A kernel without.
  if (!socket) return errno_error(kUntold);
  struct {
    nlmsghdr header;
    std::uint32_t flags;
  } request{};
  request.header = {.nlmsg_len = sizeof(request),
                    .nlmsg_type = XFRM_MSG_GETSPDINFO,
                    .nlmsg_flags = NLM_F_REQUEST,
                    .nlmsg_seq = 1,
                    .nlmsg_pid = 0};
  if (::send(socket.get(), &request, sizeof(request), 0) < 0) return errno_error(kUntold);
  alignas(nlmsghdr) std::array<char, 4096> answer;
  const ssize_t length = ::recv(socket.get(), answer.data(), answer.size(), 0);
  if (length < 0) return errno_error(kUntold);
  const auto* header = reinterpret_cast<const nlmsghdr*>(answer.data());
  if (!NLMSG_OK(header, static_cast<std::size_t>(length)) ||
      header->nlmsg_type != XFRM_MSG_NEWSPDINFO) {
    return errno_error(kUntold, EBADMSG);
  }
  // Attributes behind the flags that were asked with.
  std::size_t at = NLMSG_LENGTH(sizeof(std::uint32_t));
  while (at + sizeof(nlattr) <= header->nlmsg_len) {
    nlattr attribute{};
    std::memcpy(&attribute, answer.data() + at, sizeof(attribute));
    if (attribute.nla_len < sizeof(attribute) || at + attribute.nla_len > header->nlmsg_len) break;
    if (attribute.nla_type == XFRMA_SPD_INFO &&
        attribute.nla_len >= sizeof(attribute) + sizeof(xfrmu_spdinfo)) {
      xfrmu_spdinfo info{};
      std::memcpy(&info, answer.data() + at + sizeof(attribute), sizeof(info));
      return IpsecPolicies{info.incnt, info.outcnt};
    }
    at += NLA_ALIGN(attribute.nla_len);
  }
  return errno_error(kUntold, EBADMSG);
}

}  // namespace homeport::overlay
