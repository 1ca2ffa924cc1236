// Probes by the eBPF datapath: its programs answer those of other hosts, and note when answers to
// this one's come (ebpf/answer.h).
#pragma once

#include "overlay/datapath/ebpf_object.h"
#include "overlay/datapath/probe_wire.h"

#include <cstdint>
#include <memory>

namespace homeport::overlay {

/// `object` must outlive it. Answers come from when its programs are attached. One at a time: of
/// two, each answer is taken by one.
Result<std::unique_ptr<ProbeWire>> make_ebpf_probe_wire(const EbpfObject& object,
                                                        std::uint16_t udp_port);

}  // namespace homeport::overlay
