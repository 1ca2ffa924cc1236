#include "migration/move/prepare_message.h"

namespace homeport::migration {

ToDestination prepare_message(const MoveRequest& request, const std::vector<RamBlock>& blocks) {
  ToDestination message;
  Prepare& prepare = *message.mutable_prepare();
  prepare.set_move_id(request.entry.move_id);
  prepare.set_application(request.entry.application);
  prepare.set_launch_profile(request.launch_profile);
  prepare.set_memory_mib(request.memory_mib);
  prepare.set_vcpus(request.vcpus);
  prepare.set_generation(request.entry.generation);
  for (const PortSpec& port : request.entry.ports) {
    MovePort& added = *prepare.add_ports();
    added.set_binding(port.binding);
    added.set_vni(port.vni);
    added.set_mac(port.mac.bytes.data(), port.mac.bytes.size());
    added.set_mtu(port.mtu);
  }
  for (const RamBlock& block : blocks) {
    MoveRamBlock& added = *prepare.add_ram_blocks();
    added.set_id(block.id);
    added.set_size_bytes(block.size);
  }
  return message;
}

}  // namespace homeport::migration
