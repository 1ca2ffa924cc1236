// Classes of traffic by rules for ports: the same on every datapath and any mix of them. The first
// host has the rules; the class is seen in the code point of the outer header.
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"
#include "tests/unit/overlay/datapath/outer.h"
#include "tests/unit/overlay/datapath/transport.h"

#include <gmock/gmock.h>

namespace homeport::overlay {
namespace {

using enum policy::TrafficClass;

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

policy::PortRule rule(const char* ports, policy::TrafficClass traffic_class) {
  return {policy::parse_ports(ports).value(), traffic_class};
}

class PortRules : public testing::TestWithParam<Fleet> {
 protected:
  Host& host() { return fabric_.host(1); }
  void apply() {
    host().apply().value();
    host().settle();
  }
  void set_rules(std::vector<policy::PortRule> rules) {
    host().desired.port_rules = std::move(rules);
    apply();
  }
  void set_class(policy::TrafficClass traffic_class) {
    for (Port& port : host().desired.ports) port.traffic_class = traffic_class;
    apply();
  }

  /// What is outside of the packet, sent by the first application to that of the second host.
  std::optional<Outer> send(Transport packet) {
    App &from = fabric_.app(1), &to = fabric_.app(2);
    packet.data = "packet " + std::to_string(++sent_) + " of the rules for ports";
    const std::string frame =
        packet.v6 ? frame_of(packet, to.mac, from.mac, from.v6, to.v6)
                  : with_header_checksum(frame_of(packet, to.mac, from.mac, from.v4, to.v4));
    send_frame(from, frame);
    std::optional<Outer> outer;
    wire_.next([&](const std::string& seen) {
      outer = outer_of(seen, packet.data);
      return outer.has_value();
    });
    return outer;
  }
  /// By the code point of the outer header.
  std::string class_of(const Transport& packet) {
    const auto outer = send(packet);
    if (!outer) return "not seen on the wire";
    return outer->dscp == 18 ? "interactive" : outer->dscp == 1 ? "bulk" : "default";
  }
  void expect_class(const Transport& packet, const char* expected) {
    EXPECT_EQ(class_of(packet), expected) << describe(packet);
  }

  Fabric fabric_{bpf(), GetParam()};
  Sniffer wire_ = fabric_.sniffer(1);
  int sent_ = 0;
};

TEST_P(PortRules, AreOfEitherPort) {
  set_rules(
      {rule("tcp:22", interactive), rule("udp:5000-5999", bulk), rule("sctp:3868", interactive)});
  for (const bool v6 : {false, true}) {
    expect_class({.v6 = v6, .protocol = 6, .to = 22}, "interactive");
    expect_class({.v6 = v6, .protocol = 6, .from = 22}, "interactive");
    expect_class({.v6 = v6, .protocol = 6, .from = 5000, .to = 3868}, "default");
    expect_class({.v6 = v6, .protocol = 17, .to = 22}, "default");
    expect_class({.v6 = v6, .protocol = 132, .to = 3868}, "interactive");
    expect_class({.v6 = v6, .protocol = 132, .from = 3868, .to = 22}, "interactive");
    for (const std::uint16_t port :
         std::vector<std::uint16_t>{5000, 5001, 5119, 5120, 5500, 5887, 5888, 5999}) {
      expect_class({.v6 = v6, .protocol = 17, .to = port}, "bulk");
      expect_class({.v6 = v6, .protocol = 17, .from = port}, "bulk");
    }
    for (const std::uint16_t port : std::vector<std::uint16_t>{4999, 6000, 5, 65535, 0}) {
      expect_class({.v6 = v6, .protocol = 17, .to = port}, "default");
    }
    expect_class({.v6 = v6, .protocol = 99, .to = 22}, "default");
  }
}

TEST_P(PortRules, OfFewerPortsDecideWhereTwoFit) {
  set_rules({rule("tcp:1-65535", bulk), rule("tcp:100-199", interactive),
             rule("tcp:150-159", best_effort), rule("tcp:300-399", best_effort)});
  expect_class({.protocol = 6, .to = 50}, "bulk");
  expect_class({.protocol = 6, .to = 149}, "interactive");
  expect_class({.protocol = 6, .to = 155}, "default");
  // One by the one port, the other by the other, and back: the same for what is answered.
  expect_class({.protocol = 6, .from = 50, .to = 100}, "interactive");
  expect_class({.protocol = 6, .from = 100, .to = 50}, "interactive");
  expect_class({.protocol = 6, .from = 155, .to = 100}, "default");
  expect_class({.protocol = 6, .from = 100, .to = 155}, "default");
  expect_class({.protocol = 6, .from = 300, .to = 100}, "interactive");
  expect_class({.protocol = 6, .from = 100, .to = 300}, "interactive");
}

TEST_P(PortRules, ComeBeforeThePortsClassAndBehindThePacketsOwn) {
  set_rules({rule("udp:7", bulk), rule("udp:8", best_effort)});
  set_class(interactive);
  for (const bool v6 : {false, true}) {
    expect_class({.v6 = v6, .to = 9}, "interactive");
    expect_class({.v6 = v6, .to = 7}, "bulk");
    expect_class({.v6 = v6, .to = 8}, "default");
    expect_class({.v6 = v6, .dscp = 46, .to = 7}, "interactive");
    expect_class({.v6 = v6, .dscp = 8, .to = 8}, "bulk");
    expect_class({.v6 = v6, .dscp = 10, .to = 7}, "bulk");  // one that says no class
  }
}

TEST_P(PortRules, AreOfNoFragment) {
  set_rules({rule("udp:7", interactive)});
  for (const bool v6 : {false, true}) {
    expect_class({.v6 = v6, .to = 7}, "interactive");
    expect_class({.v6 = v6, .to = 7, .more_fragments = true}, "default");
    expect_class({.v6 = v6, .to = 7, .offset = 185}, "default");
    expect_class({.v6 = v6, .to = 7, .offset = 185, .more_fragments = true}, "default");
  }
  // With the header of a fragment, and whole (RFC 6946).
  expect_class({.v6 = true, .to = 7, .extensions = {44}}, "interactive");
}

TEST_P(PortRules, LookBehindOptions) {
  let_options_out(fabric_.app(1));
  set_rules({rule("udp:7", interactive)});
  expect_class({.to = 7, .options = 4}, "interactive");
  expect_class({.to = 7, .options = 40}, "interactive");
  for (const std::vector<std::uint8_t>& extensions : std::vector<std::vector<std::uint8_t>>{
           {0}, {60}, {43}, {51}, {0, 60}, {0, 60, 43, 60}, {0, 44, 60}}) {
    expect_class({.v6 = true, .to = 7, .extensions = extensions}, "interactive");
    expect_class({.v6 = true, .to = 8, .extensions = extensions}, "default");
  }
}

TEST_P(PortRules, NeedAWholeHeader) {
  set_rules({rule("tcp:7", interactive), rule("udp:7", interactive), rule("sctp:7", interactive)});
  for (const bool v6 : {false, true}) {
    for (const auto& [protocol, whole] : {std::pair(6, 20), std::pair(132, 12)}) {
      for (const int header : {4, 5, 8, whole - 1, whole}) {
        // The data follows at once, and does not make up for it.
        const auto number = static_cast<std::uint8_t>(protocol);
        expect_class({.v6 = v6,
                      .protocol = number,
                      .to = 7,
                      .header = static_cast<std::size_t>(header),
                      .counted = static_cast<std::size_t>(header)},
                     header < whole ? "default" : "interactive");
      }
    }
  }
}

TEST_P(PortRules, LeadTheWayOfTheirClass) {
  Host& there = fabric_.host(2);
  there.desired.aliases.push_back({host().second, host().vtep});
  there.apply().value();
  host().desired.paths = {{there.vtep, interactive, host().second, there.second}};
  set_rules({rule("udp:7", interactive)});
  const auto ruled = send({.to = 7}), other = send({.to = 8});
  ASSERT_TRUE(ruled && other);
  EXPECT_EQ(ruled->from, host().second);
  EXPECT_EQ(ruled->to, there.second);
  EXPECT_EQ(other->from, host().vtep);
  EXPECT_EQ(other->to, there.vtep);
}

TEST_P(PortRules, AreReadBackAdoptedAndTakenBack) {
  // The third has no port that is not one of the first two.
  set_rules({rule("udp:5000-5003", bulk), rule("udp:5004-5007", interactive),
             rule("udp:5000-5007", best_effort), rule("tcp:1-65535", bulk)});
  DesiredState desired = host().desired;
  normalize(desired);
  EXPECT_EQ(desired.port_rules.size(), 3u);
  EXPECT_EQ(host().read_back().value(), desired);
  EXPECT_TRUE(host().untouched());
  host().restart();
  expect_class({.to = 5003}, "bulk");
  apply();
  EXPECT_EQ(host().read_back().value(), desired);
  expect_class({.to = 5004}, "interactive");
  set_rules({rule("udp:5002", interactive)});
  expect_class({.to = 5002}, "interactive");
  expect_class({.to = 5003}, "default");
  set_rules({});
  EXPECT_THAT(host().read_back().value().port_rules, testing::IsEmpty());
  expect_class({.to = 5002}, "default");
}

TEST_P(PortRules, AreNamedByATrace) {
  set_rules({rule("udp:5000-5999", bulk)});
  const App &from = fabric_.app(1), &to = fabric_.app(2);
  TracedPacket packet;
  packet.source_mac = from.mac;
  packet.destination_mac = to.mac;
  packet.source = from.v4;
  packet.destination = to.v4;
  packet.length = 100;
  const auto class_steps = [&] {
    std::vector<std::string> found;
    const auto answer = host().inside.run([&] {
      return host().datapath->trace(FromPort{from.device, std::nullopt}, packet);
    });
    for (const TraceStep& step : answer.value().found.steps) {
      if (step.step == "class") found.push_back(step.entry + ": " + step.found);
    }
    return found;
  };
  EXPECT_THAT(class_steps(), testing::IsEmpty());
  packet.source_port = 5500;
  packet.destination_port = 9;
  const auto named =
      testing::AllOf(testing::HasSubstr("udp:5000-5999"), testing::HasSubstr("bulk"));
  EXPECT_THAT(class_steps(), testing::ElementsAre(named));
  std::swap(packet.source_port, packet.destination_port);
  EXPECT_THAT(class_steps(), testing::ElementsAre(named));
  packet.protocol = 6;
  EXPECT_THAT(class_steps(), testing::IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(, PortRules, testing::ValuesIn(fleets()), fleet_name);

}  // namespace
}  // namespace homeport::overlay
