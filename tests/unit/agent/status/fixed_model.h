// A snapshot with every kind of value in it, for the tests of what is made of snapshots.
#pragma once

#include "agent/status/model.h"
#include "tests/unit/agent/status/fixed_paths.h"

namespace homeport::agent::test {

/// Host hostA, 90 s after its start: vm1 runs here on one port, a move of it is under way, the
/// network has an IPv6 subnet and a label value needs escaping.
inline StatusModel fixed_model() {
  using boost::asio::ip::make_address;
  StatusModel model;
  model.host = "hostA";
  model.version = "0.1.0";
  model.started =
      SystemTime(std::chrono::milliseconds(1'767'225'598'250));  // 2025-12-31T23:59:58.25
  model.now = model.started + std::chrono::seconds(90);
  model.database = {DatabaseState::synchronized, "ssl:[2001:db8::1]:6650", 3};
  model.peers = {{"hostB", true, {make_address("2001:db8::2")}, model.now},
                 {"hostC", false, {}, std::nullopt}};
  model.networks = {{"net1", 100, {"10.1.0.0/24", "fd01::/64"}, 1430},
                    {"net2", 101, {}, std::nullopt}};
  PortSnapshot port;
  port.binding = "vm1";
  port.network = "net1";
  port.device = "hp0";
  port.mac = *policy::MacAddress::parse("02:00:00:00:00:01");
  port.prior_addresses = {make_address("10.1.0.10"), make_address("fd01::10")};
  port.traffic = PortTraffic{11, 1100, 22, 18'000'000'000'000'000'000u};
  model.applications = {{"vm1", "qemu", "hostA", 7, "moving", {port}},
                        {"a\"b\\c\nd", "netdev", "", 0, "stopped", {}}};
  TaskSnapshot task;
  task.id = "7f3f7a4e-1111-4222-8333-444455556666";
  task.kind = "move";
  task.application = "vm1";
  task.host = "hostA";
  task.state = "running";
  task.phase = "copying";
  task.source = "hostA";
  task.destination = "hostB";
  task.started = model.started;
  task.bytes_sent = 1 << 20;
  task.bytes_total = 1 << 29;
  task.rate = 50'000'000;
  task.eta_ms = 10'700;
  task.lanes = {{"192.0.2.1", "192.0.2.2:6711", "open", 700'000, 40'000'000},
                {"", "[2001:db8::2]:6711", "given-up", 300'000, 0}};
  model.tasks = {task};
  model.datapath = {"ebpf",
                    1,
                    3,
                    1,
                    {"no device"},
                    {{"forwarded", 13}},
                    {{"unknown_address", 5}, {"unknown_port", 6}}};
  model.paths = fixed_paths(model.now);
  model.moves = {{{"succeeded", 2}, {"rolled-back", 1}}, 1'000'000, 4'500, 250, 100, 150, {}};
  model.moves.phases = {{"copying", {2, 3'500}}, {"committing", {2, 20}}};
  model.process = {1.25, 18'000'000, 200'000'000, 30, 65'536};
  model.log = {{{"info", 41}, {"warn", 7}}, 5};
  return model;
}

}  // namespace homeport::agent::test
