#include "tests/lab/wire.h"

#include <bpf/libbpf.h>
#include <net/if.h>

#include <cstring>

#include "tests/lab/failure.h"
#include "tests/lab/homeport_lab_wire.skel.h"

namespace homeport::lab {

struct LossyWire::Programs {
  homeport_lab_wire* object = homeport_lab_wire::open_and_load();
  ~Programs() { homeport_lab_wire::destroy(object); }

  void attach(int ifindex, bpf_tc_attach_point point, const bpf_program* program) const {
    bpf_tc_hook hook{
        .sz = sizeof(bpf_tc_hook), .ifindex = ifindex, .attach_point = point, .parent = 0};
    bpf_tc_opts options{};
    options.sz = sizeof(options);
    options.prog_fd = bpf_program__fd(program);
    int result = bpf_tc_hook_create(&hook);
    if (result == 0 || result == -EEXIST) result = bpf_tc_attach(&hook, &options);
    if (result != 0) throw LabFailure(std::string("a lossy wire: ") + std::strerror(-result));
  }
};

LossyWire::LossyWire(const Namespace& inside, const std::string& device)
    : programs_(std::make_unique<Programs>()) {
  libbpf_set_print(nullptr);  // that a qdisc is there already is no news
  if (programs_->object == nullptr) throw LabFailure("a lossy wire: its programs do not load");
  inside.run([&] {
    const auto ifindex = static_cast<int>(if_nametoindex(device.c_str()));
    programs_->attach(ifindex, BPF_TC_INGRESS, programs_->object->progs.from_member);
    programs_->attach(ifindex, BPF_TC_EGRESS, programs_->object->progs.to_member);
  });
}

// The filters go with the device; without loss they let everything through.
LossyWire::~LossyWire() {
  if (programs_->object != nullptr) set({});
}

void LossyWire::set(Loss loss) {
  programs_->object->bss->from_member_loss = loss.from_member;
  programs_->object->bss->to_member_loss = loss.to_member;
}

}  // namespace homeport::lab
