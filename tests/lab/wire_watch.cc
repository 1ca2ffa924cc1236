#include "tests/lab/wire_watch.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>

#include <cstring>

#include "tests/lab/failure.h"
#include "tests/lab/homeport_lab_wire_watch.skel.h"
#include "tests/lab/pattern.h"

namespace homeport::lab {

struct WireWatch::Program {
  homeport_lab_wire_watch* object = nullptr;
  bpf_tc_hook hook{};
  bpf_tc_opts options{};
  ~Program() { homeport_lab_wire_watch::destroy(object); }
};

WireWatch::WireWatch(const Namespace& inside, const std::string& device)
    : program_(std::make_unique<Program>()) {
  libbpf_set_print(nullptr);  // that a qdisc is there already is no news
  program_->object = homeport_lab_wire_watch::open();
  if (program_->object == nullptr) throw LabFailure("the watch of a wire cannot be opened");
  program_->object->rodata->magic = DatagramHeader::kMagic;
  int result = homeport_lab_wire_watch::load(program_->object);
  if (result != 0) throw LabFailure(std::string("the watch of a wire: ") + std::strerror(-result));
  inside.run([&] {
    bpf_tc_hook& hook = program_->hook;
    hook.sz = sizeof hook;
    hook.ifindex = static_cast<int>(if_nametoindex(device.c_str()));
    hook.attach_point = BPF_TC_EGRESS;
    bpf_tc_opts& options = program_->options;
    options.sz = sizeof options;
    options.prog_fd = bpf_program__fd(program_->object->progs.note);
    result = bpf_tc_hook_create(&hook);
    if (result == 0 || result == -EEXIST) result = bpf_tc_attach(&hook, &options);
  });
  if (result != 0) throw LabFailure(std::string("the watch of a wire: ") + std::strerror(-result));
}

// The filter goes with the device.
WireWatch::~WireWatch() = default;

std::uint32_t WireWatch::source(std::uint64_t number) const {
  const auto key = static_cast<std::uint32_t>(number);
  std::uint32_t source = 0;
  if (number < kMost) {
    bpf_map_lookup_elem(bpf_map__fd(program_->object->maps.sources), &key, &source);
  }
  return source;
}

std::map<unsigned, std::uint64_t> WireWatch::code_points() const {
  std::map<unsigned, std::uint64_t> all;
  for (std::uint32_t code_point = 0; code_point < 64; ++code_point) {
    std::uint64_t count = 0;
    bpf_map_lookup_elem(bpf_map__fd(program_->object->maps.code_points), &code_point, &count);
    if (count > 0) all[code_point] = count;
  }
  return all;
}

}  // namespace homeport::lab
