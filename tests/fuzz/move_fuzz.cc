// What the agents of a move tell each other beyond the encoding. Input: 'p' and a Prepare as a
// source sends it, or anything else and a Prepared as a destination answers it.
#include "agent/tasks/admission.h"
#include "migration/move/peer_message.h"
#include "tests/fuzz/fuzz.h"

#include <set>

namespace homeport::agent {
namespace {

using fuzz::require;

constexpr char kMove[] = "11111111-2222-4333-8444-555555555555";
constexpr std::uint32_t kMtuLimit = 1430;

/// vm1 is at hostA by generation 4, and a task asks for its move to hostB.
Contents contents() {
  Contents contents;
  Network network;
  network.name = "net1";
  network.vni = 100;
  contents.networks["net1"] = network;
  Application application;
  application.name = "vm1";
  application.launch_profile = "guest";
  application.properties = {{"memory_mib", "512"}, {"vcpus", "1"}};
  contents.applications["vm1"] = application;
  Binding binding;
  binding.application = "vm1";
  binding.network = "net1";
  binding.location = "hostA";
  binding.generation = 4;
  for (std::uint8_t number : {1, 2}) {
    binding.name = "vm1/eth" + std::to_string(number);
    binding.mac.bytes = {2, 0, 0, 0, 0, number};
    contents.bindings.insert_or_assign(binding.name, binding);
  }
  Task task;
  task.uuid = *parse_uuid(kMove);
  task.application = "vm1";
  task.arguments = {{"destination", "hostB"}};
  contents.tasks[task.uuid] = task;
  return contents;
}

void take(const migration::Prepare& request) {
  static const Contents kContents = contents();
  auto ports = admit(kContents, "hostB", kMtuLimit, "hostA", request);
  if (ports) {
    require(request.application() == "vm1" && request.move_id() == kMove, "the move is asked for");
    require(ports->size() == 2, "the application has the ports it has");
    std::set<std::string> devices;
    for (const migration::PortSpec& port : *ports) {
      devices.insert(port.device);
      require(port.mtu >= 576 && port.mtu <= 65521, "an MTU is one");
      require(port.vni == 100 && port.device.size() <= 15, "a port is as the database says");
    }
    require(devices.size() == 2, "each has its own device");
  } else {
    require(!ports.error().message.empty(), "a refusal is a sentence");
  }

  static const std::vector<migration::RamBlock> kMine = {{"ram0", 0x1000, 1u << 29, 0},
                                                         {"ram1", 0x9000, 1u << 20, 0}};
  auto matching = migration::matching_blocks(request, kMine);
  if (!matching) return;
  require(matching->size() == kMine.size(), "all memory is received");
  require(matching->front().id != matching->back().id, "each block is received once");
  for (int i = 0; i < request.ram_blocks_size(); ++i) {
    const migration::RamBlock& block = (*matching)[static_cast<std::size_t>(i)];
    require(block.id == request.ram_blocks(i).id(), "blocks are in the source's order");
    require(block.size == request.ram_blocks(i).size_bytes(), "a block is as large there");
  }
}

void take(const migration::Prepared& prepared) {
  auto endpoints = migration::lane_endpoints_of(prepared);
  if (!endpoints) return require(!endpoints.error().message.empty(), "an error is a sentence");
  for (const auto& endpoint : *endpoints) require(endpoint.port() != 0, "a lane leads somewhere");
}

template <class Message>
void parse_and_take(const std::uint8_t* data, std::size_t size) {
  Message message;
  if (message.ParseFromArray(data, static_cast<int>(size))) take(message);
}

}  // namespace
}  // namespace homeport::agent

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace homeport;
  if (size == 0) return 0;
  if (data[0] == 'p') {
    agent::parse_and_take<migration::Prepare>(data + 1, size - 1);
  } else {
    agent::parse_and_take<migration::Prepared>(data + 1, size - 1);
  }
  return 0;
}
