#include "overlay/datapath/tc_filter.h"

#include "overlay/link/unique_fd.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>

namespace homeport::overlay::tc_filter {

using policy::errno_error;
using policy::Result;

namespace {

// After the filters others may have put in front; any fixed number does.
constexpr std::uint32_t kPriority = 18544;
constexpr std::uint32_t kHandle = 1;

bpf_tc_hook hook_of(std::uint32_t ifindex, Hook hook = Hook::ingress) {
  return {.sz = sizeof(bpf_tc_hook),
          .ifindex = static_cast<int>(ifindex),
          .attach_point = hook == Hook::ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS,
          .parent = 0};
}

bpf_tc_opts options_of() {
  bpf_tc_opts options{};
  options.sz = sizeof(options);
  options.handle = kHandle;
  options.priority = kPriority;
  return options;
}

std::string device(std::uint32_t ifindex) {
  return "the network device with index " + std::to_string(ifindex);
}

bpf_prog_info info_of(int fd, int& result) {
  bpf_prog_info info{};
  std::uint32_t length = sizeof(info);
  result = bpf_obj_get_info_by_fd(fd, &info, &length);
  return info;
}

}  // namespace

Result<void> attach(std::uint32_t ifindex, int program_fd, Hook at) {
  bpf_tc_hook hook = hook_of(ifindex, at);
  if (const int result = bpf_tc_hook_create(&hook); result < 0 && result != -EEXIST) {
    return errno_error("The clsact qdisc cannot be added to " + device(ifindex), -result);
  }
  bpf_tc_opts options = options_of();
  options.prog_fd = program_fd;
  options.flags = BPF_TC_F_REPLACE;
  if (const int result = bpf_tc_attach(&hook, &options); result < 0) {
    return errno_error("The filter cannot be attached to " + device(ifindex), -result);
  }
  return {};
}

Result<void> detach(std::uint32_t ifindex) {
  auto id = program_id(ifindex);
  if (!id) return id.error();
  if (*id == 0) return {};
  bpf_tc_hook hook = hook_of(ifindex);
  bpf_tc_opts options = options_of();
  if (const int result = bpf_tc_detach(&hook, &options);
      result < 0 && result != -ENOENT && result != -ENODEV) {
    return errno_error("The filter cannot be removed from " + device(ifindex), -result);
  }
  return {};
}

Result<std::uint32_t> program_id(std::uint32_t ifindex, Hook at) {
  bpf_tc_hook hook = hook_of(ifindex, at);
  bpf_tc_opts options = options_of();
  const int result = bpf_tc_query(&hook, &options);
  // Without a clsact qdisc the kernel answers EINVAL, without the device ENODEV.
  if (result == -ENOENT || result == -EINVAL || result == -ENODEV) return 0;
  if (result < 0) return errno_error("The filter cannot be read of " + device(ifindex), -result);
  return options.prog_id;
}

Result<std::uint32_t> id_of(int program_fd) {
  int result = 0;
  const bpf_prog_info info = info_of(program_fd, result);
  if (result < 0) return errno_error("A loaded program cannot be read", -result);
  return info.id;
}

std::string program_name(std::uint32_t id) {
  UniqueFd fd(bpf_prog_get_fd_by_id(id));
  if (!fd) return {};
  int result = 0;
  const bpf_prog_info info = info_of(fd.get(), result);
  return result < 0 ? std::string() : std::string(info.name);
}

}  // namespace homeport::overlay::tc_filter
