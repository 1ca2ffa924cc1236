// What one change of the database does to the datapath, against the whole recomputed.
#include "agent/network/desired_change.h"
#include "agent/network/desired_state.h"
#include "overlay/datapath/map_patch.h"
#include "overlay/datapath/ovs/differences.h"
#include "overlay/datapath/ovs/flow_patch.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <random>
#include <set>
#include <utility>

namespace homeport::agent {
namespace {

using overlay::MapImage;

policy::IpAddress ip(const std::string& text) {
  return boost::asio::ip::make_address(text);
}

template <class Map>
bool same(const Map& a, const Map& b) {
  auto changes = overlay::difference(a, b);
  return changes.updates.empty() && changes.removals.empty();
}

bool equal(const MapImage& a, const MapImage& b) {
  return same(a.addresses, b.addresses) && same(a.neighbors, b.neighbors) &&
         same(a.networks, b.networks) && same(a.network_hosts, b.network_hosts) &&
         same(a.network_ports, b.network_ports) && same(a.ports, b.ports) && same(a.held, b.held) &&
         same(a.vteps, b.vteps) && same(a.routes, b.routes) && same(a.hosts, b.hosts);
}

HostCounts counts_of(const Desired& desired) {
  HostCounts counts = desired.hosts;
  std::erase_if(counts, [](const auto& network) { return network.second.empty(); });
  return counts;
}

template <class Key>
bool equal(const std::set<Key, overlay::BytesLess>& a, const std::set<Key, overlay::BytesLess>& b) {
  return std::ranges::equal(a, b, overlay::BytesEqual{});
}

/// Eight hosts, three networks, twenty applications; seen from host0, which has the first two.
/// net2 has host access, and this host no application of it.
class DesiredChangeTest : public testing::Test {
 protected:
  DesiredChangeTest() {
    for (int i = 0; i < 8; ++i) {
      Host host;
      host.name = fmt::format("host{}", i);
      host.vteps = {ip(fmt::format("192.0.2.{}", i + 1))};
      contents.hosts[host.name] = host;
    }
    for (int i = 0; i < 3; ++i) {
      Network network;
      network.name = fmt::format("net{}", i);
      network.vni = 100 + static_cast<policy::Vni>(i);
      network.subnets = {*Subnet::parse(fmt::format("10.{}.0.0/16", i))};
      network.gateways = {ip(fmt::format("10.{}.255.1", i))};
      network.host_access = i == 2;
      contents.networks[network.name] = network;
    }
    view.host = "host0";
    view.mtu_limit = 1430;
    for (int i = 0; i < 20; ++i) {
      put(i, i < 2 ? 0 : 1 + i % 7, 1);
      if (i >= 2) continue;
      view.devices.insert(tap_name(name(i)));
      devices[tap_name(name(i))] = {static_cast<std::uint32_t>(10 + i), false};
    }
    desired = desired_state(contents, view);
    auto compiled = overlay::compile(desired.state, devices, {});
    EXPECT_TRUE(compiled.problems.empty());
    image = std::move(compiled.image);
    left = devices;
    flows = overlay::ovs::compile(desired.state, bridge(devices));
    EXPECT_TRUE(flows.problems.empty());
  }

  /// A bridge that has the devices.
  static overlay::ovs::BridgePorts bridge(const overlay::PortDevices& devices) {
    overlay::ovs::BridgePorts ports;
    ports.tunnel = 1;
    ports.host = 2;
    for (const auto& [name, device] : devices) ports.numbers[name] = device.ifindex;
    return ports;
  }

  static std::string name(int number) { return fmt::format("vm{}", number); }

  void put(int number, int host, policy::Generation generation) {
    Binding binding;
    binding.name = binding.application = name(number);
    binding.network = fmt::format("net{}", number % 3);
    binding.mac = {{2, 0, 0, 0, 0, static_cast<std::uint8_t>(number)}};
    binding.prior_addresses = {ip(fmt::format("10.{}.0.{}", number % 3, number + 1))};
    binding.location = host < 0 ? "" : fmt::format("host{}", host);
    binding.generation = generation;
    write(binding);
  }

  void write(const Binding& binding) {
    note(binding.name);
    auto [application, is_new] = contents.applications.try_emplace(binding.application);
    application->second.name = binding.application;
    if (is_new) changes.applications.insert(binding.application);
    contents.bindings.insert_or_assign(binding.name, binding);
  }

  void erase(int number) {
    auto found = contents.bindings.find(name(number));
    if (found == contents.bindings.end()) return;
    note(name(number));
    contents.bindings.erase(found);
  }

  void note(const std::string& binding) {
    auto found = contents.bindings.find(binding);
    changes.bindings.try_emplace(binding, found == contents.bindings.end()
                                              ? std::nullopt
                                              : std::optional<Binding>(found->second));
  }

  void begin() {
    touched.clear();
    changes = {};
    changes.all = false;
  }

  std::optional<overlay::MapPatch> patch() {
    auto change = change_of(contents, view, changes, touched, desired);
    flows_patched = change && patch_flows(*change);
    if (!flows_patched) {
      flows = overlay::ovs::compile(desired_state(contents, view).state, bridge(devices));
    }
    if (!change) return std::nullopt;
    return overlay::patch_of(image, *change, left, devices);
  }

  bool patch_flows(const overlay::StateChange& change) {
    if (!flows.problems.empty()) return false;
    auto patch = overlay::ovs::patch_of(flows.carried, change, bridge(left), bridge(devices));
    if (!patch || !overlay::ovs::fits(flows.flows, *patch)) return false;
    for (const auto& one : overlay::ovs::changes(patch->before, patch->now)) {
      if (one.remove) flows.flows.erase(one.key);
    }
    for (const auto& [key, flow] : patch->now) flows.flows[key] = flow;
    flows.carried = overlay::ovs::changed(std::move(flows.carried), change);
    return true;
  }

  /// Follows the changes as VirtualNetwork does. True where they did not take a look at everything.
  bool follow() {
    auto changed = patch();
    if (changed) {
      overlay::apply_patch(image, *changed);
    } else {
      desired = desired_state(contents, view);
      image = overlay::compile(desired.state, devices, image).image;
    }
    left = devices;
    return changed.has_value();
  }

  /// `before`: the image that the last changes were made to.
  void expect_as_recomputed(const MapImage& before) {
    const Desired whole = desired_state(contents, view);
    EXPECT_EQ(whole.state.networks, desired.state.networks);
    EXPECT_EQ(whole.problems(), desired.problems());
    EXPECT_EQ(counts_of(whole), counts_of(desired));
    EXPECT_EQ(whole.ports, desired.ports);
    ASSERT_EQ(whole.own.size(), desired.own.size());
    for (const auto& [name, own] : whole.own) {
      ASSERT_TRUE(desired.own.contains(name)) << name;
      EXPECT_EQ(own.address, desired.own.at(name).address) << name;
      EXPECT_EQ(own.port, desired.own.at(name).port) << name;
      EXPECT_EQ(own.device, desired.own.at(name).device) << name;
    }
    const MapImage anew = overlay::compile(whole.state, devices, before).image;
    EXPECT_TRUE(equal(anew, image));
    const auto flows_anew = overlay::ovs::compile(whole.state, bridge(devices));
    EXPECT_EQ(flows_anew.carried, flows.carried);
    EXPECT_THAT(overlay::ovs::differences(flows_anew.flows, flows.flows), testing::IsEmpty());
    EXPECT_TRUE(equal(anew.contested_addresses, image.contested_addresses));
    EXPECT_TRUE(equal(anew.contested_neighbors, image.contested_neighbors));
    EXPECT_TRUE(equal(anew.contested_routes, image.contested_routes));
    EXPECT_TRUE(equal(anew.contested_ports, image.contested_ports));
    EXPECT_TRUE(equal(anew.contested_held, image.contested_held));
  }

  Contents contents;
  LocalView view;
  overlay::PortDevices devices;  ///< that there are
  overlay::PortDevices left;     ///< as they were at the last follow()
  Desired desired;
  MapImage image;
  overlay::ovs::CompiledFlows flows;  ///< What a host with Open vSwitch has.
  bool flows_patched = false;         ///< at the last patch()
  Changes changes;
  std::set<std::string> touched;  ///< applications of which something beside the rows changed
};

TEST_F(DesiredChangeTest, AnyRowOfOthersIsAsIfAllWereRecomputed) {
  std::mt19937 random(7);
  auto any = [&](int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); };
  for (int round = 0; round < 500; ++round) {
    begin();
    for (int rows = 1 + any(3); rows > 0; --rows) {
      const int number = 2 + any(25);
      if (any(5) == 0) {
        erase(number);
      } else {
        put(number, any(9) == 0 ? -1 : 1 + any(7), static_cast<policy::Generation>(round));
      }
    }
    const MapImage before = image;
    ASSERT_TRUE(follow()) << "round " << round;
    ASSERT_NO_FATAL_FAILURE(expect_as_recomputed(before)) << "round " << round;
    ASSERT_FALSE(HasFailure()) << "round " << round;
  }
}

/// Whatever may change: also what comes or goes here, moves, hosts, their interfaces, what networks
/// are like, and addresses that contradict each other.
class AnyChangeTest : public DesiredChangeTest {
 protected:
  explicit AnyChangeTest(unsigned seed = 11) : random_(seed) {}

  int any(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }

  void change_something(policy::Generation generation) {
    const int number = any(26);
    switch (any(18)) {
      case 0:
        return change_network(*std::next(contents.networks.begin(), any(3)));
      case 1: {
        changes.tables.insert(Host::kTable);
        Host& host = contents.hosts.at(fmt::format("host{}", 1 + any(7)));
        host.version = fmt::format("{}", generation);
        if (any(2)) host.vteps = {ip(fmt::format("192.0.2.{}", 100 + any(40)))};
        return;
      }
      case 2: {
        changes.tables.insert(Interface::kTable);
        Interface interface;
        interface.host = fmt::format("host{}", any(8));
        interface.address = ip(fmt::format("10.2.0.{}", 1 + any(30)));
        contents.interfaces[Uuid{{static_cast<std::uint8_t>(any(4))}}] = interface;
        return;
      }
      case 3:
        return put(number, 0, generation);
      case 4: {
        // With an address of another, of a gateway, or of another network.
        put(number, 1 + any(7), generation);
        Binding binding = contents.bindings.at(name(number));
        binding.prior_addresses.push_back(any(3) == 0
                                              ? ip(fmt::format("10.{}.255.1", any(3)))
                                              : ip(fmt::format("10.{}.0.{}", any(3), 1 + any(26))));
        binding.current_addresses = {ip(fmt::format("10.{}.0.{}", any(3), 1 + any(26)))};
        return write(binding);
      }
      case 5: {
        // With the MAC address of another.
        put(number, 1 + any(7), generation);
        Binding binding = contents.bindings.at(name(number));
        binding.mac.bytes[5] = static_cast<std::uint8_t>(any(26));
        return write(binding);
      }
      case 6:
      case 14:
        return move(name(number));
      case 15:
        return change_device(tap_name(name(number)), name(number));
      case 16:
        return change_application(name(number));
      case 17:
        // Two of one application.
        put(number, any(8), generation);
        if (Binding binding = contents.bindings.at(name(number)); any(2)) {
          binding.application = name(any(26));
          write(binding);
        }
        return;
      case 7:
      case 8:
        return erase(number);
      default:
        return put(number, any(9) == 0 ? -1 : 1 + any(7), generation);
    }
  }

  void change_network(std::pair<const std::string, Network>& row) {
    changes.tables.insert(Network::kTable);
    Network& network = row.second;
    switch (any(4)) {
      case 0:
        network.host_access = !network.host_access;
        return;
      case 1:
        network.unknown = any(2) ? UnknownDestination::normal : UnknownDestination::drop;
        return;
      case 2:
        network.gateways = {ip(fmt::format("10.{}.0.{}", any(3), 1 + any(26)))};
        return;
      default:
        network.mtu = 1200 + any(200);
        return;
    }
  }

  /// A move of the application begins, goes on or ends here, it has been here, or another host
  /// tells where it is.
  void move(const std::string& application) {
    switch (any(4)) {
      case 0:
        view.moves.erase(application);
        view.been_here.erase(application);
        view.told.erase(application);
        break;
      case 1:
        view.been_here.insert(application);
        break;
      case 2:
        view.told[application] = {
            fmt::format("host{}", 1 + any(7)), static_cast<policy::Generation>(any(4000)), {}};
        break;
      default:
        view.moves[application] = {static_cast<MoveView::Place>(any(3)), "host3"};
        break;
    }
    touched.insert(application);
    // A binding that has been here, or is told of, need not be the application's namesake.
    auto binding = contents.bindings.find(application);
    if (binding != contents.bindings.end()) touched.insert(binding->second.application);
  }

  /// It goes, comes, or another of that name is there.
  void change_device(const std::string& device, const std::string& application) {
    if (any(3) == 0 && devices.erase(device)) {
      view.devices.erase(device);
    } else {
      view.devices.insert(device);
      devices[device] = {next_ifindex_++, any(2) == 0};
    }
    for (const auto& [name, binding] : contents.bindings) {
      if (device_of(contents, binding) == device) touched.insert(binding.application);
    }
    touched.insert(application);
  }

  void change_application(const std::string& name) {
    changes.tables.insert(Application::kTable);
    changes.applications.insert(name);
    if (any(3) == 0) {
      contents.applications.erase(name);
      return;
    }
    Application& application = contents.applications[name];
    application.name = name;
    application.driver = any(2) ? Driver::qemu : Driver::netdev;
    // One device may be two applications'.
    application.properties["device"] = tap_name(fmt::format("vm{}", any(26)));
  }

 private:
  std::mt19937 random_;
  std::uint32_t next_ifindex_ = 100;
};

TEST_F(AnyChangeTest, LeavesWhatALookAtEverythingWould) {
  for (int i = 0; i < 26; ++i) {
    // Every application has a device here, should it come.
    view.devices.insert(tap_name(name(i)));
    devices[tap_name(name(i))] = {static_cast<std::uint32_t>(10 + i), i % 2 == 0};
  }
  begin();
  changes.all = true;
  follow();
  int patched = 0, with_routes = 0, with_ports = 0, with_networks = 0, with_flows = 0;
  for (int round = 0; round < 3000; ++round) {
    begin();
    for (int rows = 1 + any(3); rows > 0; --rows) {
      change_something(static_cast<policy::Generation>(round));
    }
    const MapImage before = image;
    const bool followed = follow();
    with_flows += flows_patched ? 1 : 0;
    if (followed) {
      ++patched;
      with_routes += same(before.routes, image.routes) ? 0 : 1;
      with_ports += same(before.ports, image.ports) ? 0 : 1;
      with_networks += before.networks.size() == image.networks.size() ? 0 : 1;
    }
    ASSERT_NO_FATAL_FAILURE(expect_as_recomputed(before)) << "round " << round;
    ASSERT_FALSE(HasFailure()) << "round " << round;
  }
  // Both ways were taken, and what the changes were to try has been tried.
  EXPECT_GT(with_flows, 100);
  EXPECT_GT(patched, 200);
  EXPECT_LT(patched, 2500) << "of 3000";
  EXPECT_GT(with_routes, 20);
  EXPECT_GT(with_ports, 50);
  EXPECT_GT(with_networks, 5);
}

TEST_F(DesiredChangeTest, ApplicationOfANetworkWithHostAccessHasARoute) {
  begin();
  put(23, 4, 1);  // net2
  auto changed = patch();
  ASSERT_TRUE(changed);
  ASSERT_EQ(changed->routes.updates.size(), 1u);
  EXPECT_EQ(overlay::ip_address(changed->routes.updates[0].first), ip("10.2.0.24"));
  EXPECT_EQ(changed->routes.updates[0].second.vni, 102u);
  overlay::apply_patch(image, *changed);

  begin();
  put(23, 5, 2);
  changed = patch();
  ASSERT_TRUE(changed);
  EXPECT_TRUE(changed->routes.updates.empty()) << "who moves is reached by the same route";
  overlay::apply_patch(image, *changed);

  begin();
  erase(23);
  changed = patch();
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->routes.removals.size(), 1u);
}

TEST_F(DesiredChangeTest, AddressThatIsAHostsOrAGatewayTakesAllOfIt) {
  for (const char* address : {"192.0.2.3", "10.2.255.1"}) {
    begin();
    put(20, 4, 1);  // net2
    Binding binding = contents.bindings.at(name(20));
    binding.current_addresses = {ip(address)};
    write(binding);
    EXPECT_FALSE(patch()) << address;
    begin();
    changes.all = true;
    erase(20);
    follow();
  }
}

TEST_F(DesiredChangeTest, InterfaceMattersWhereHostsAreReached) {
  begin();
  changes.tables = {Interface::kTable};
  EXPECT_FALSE(patch());
  contents.networks.at("net2").host_access = false;
  changes.tables.insert(Network::kTable);
  follow();
  begin();
  changes.tables = {Interface::kTable};
  EXPECT_TRUE(patch());
}

TEST_F(DesiredChangeTest, OneMoveWritesOneEntry) {
  begin();
  put(5, 7, 2);
  auto changed = patch();
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->addresses.updates.size(), 1u);
  EXPECT_TRUE(changed->addresses.removals.empty());
  EXPECT_TRUE(changed->neighbors.updates.empty());
  EXPECT_TRUE(changed->neighbors.removals.empty());
}

TEST_F(DesiredChangeTest, WhatComesOrLeavesCostsItsOwnEntries) {
  view.devices.insert(tap_name(name(5)));
  devices[tap_name(name(5))] = {77, false};
  MapImage before = image;
  begin();
  put(5, 0, 2);  // net2, which has had no port here
  auto changed = patch();
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->addresses.updates.size(), 1u);
  EXPECT_EQ(changed->ports.updates.size(), 1u);
  EXPECT_EQ(changed->network_ports.updates.size(), 1u);
  EXPECT_TRUE(changed->neighbors.updates.empty());
  EXPECT_TRUE(changed->routes.updates.empty());
  overlay::apply_patch(image, *changed);
  left = devices;
  expect_as_recomputed(before);

  before = image;
  begin();
  put(0, 4, 2);  // the only one of net0
  view.been_here = {name(0)};
  changed = patch();
  ASSERT_TRUE(changed);
  ASSERT_EQ(changed->addresses.updates.size(), 1u);
  EXPECT_TRUE(changed->addresses.updates[0].second.relayed);
  EXPECT_EQ(changed->ports.removals.size(), 1u);
  EXPECT_EQ(changed->networks.removals.size(), 1u);
  EXPECT_EQ(changed->neighbors.removals.size(), 1u) << "its gateway's";
  overlay::apply_patch(image, *changed);
  expect_as_recomputed(before);
}

TEST_F(DesiredChangeTest, StepsOfAMoveCostTheirOwnEntries) {
  const std::string vm = name(3);  // net0
  view.devices.insert(tap_name(vm));
  devices[tap_name(vm)] = {77, false};
  auto step = [&](auto deed) {
    begin();
    touched = {vm};
    deed();
    const MapImage before = image;
    auto changed = patch();
    EXPECT_TRUE(changed);
    overlay::apply_patch(image, *changed);
    left = devices;
    expect_as_recomputed(before);
    return *changed;
  };
  auto provided = step([&] { view.moves[vm] = {MoveView::Place::incoming, {}}; });
  EXPECT_EQ(provided.held.updates.size(), 1u);
  EXPECT_TRUE(provided.addresses.updates.empty());
  auto taken = step([&] { view.moves[vm] = {MoveView::Place::here, {}}; });
  EXPECT_EQ(taken.held.removals.size(), 1u);
  EXPECT_EQ(taken.addresses.updates.size(), 1u);
  auto committed = step([&] {
    put(3, 0, 2);
    view.moves.clear();
  });
  EXPECT_EQ(committed.addresses.updates.size(), 1u) << "the generation";
  EXPECT_TRUE(committed.ports.updates.empty());
  auto redirected = step([&] {
    view.moves[vm] = {MoveView::Place::redirected, "host4"};
    view.been_here = {vm};
  });
  EXPECT_EQ(redirected.addresses.updates.size(), 1u);
  EXPECT_TRUE(redirected.ports.updates.empty()) << "it stays a port until its guest is gone";
  auto released = step([&] {
    put(3, 4, 3);
    view.moves.clear();
    view.devices.erase(tap_name(vm));
    devices.erase(tap_name(vm));
  });
  EXPECT_EQ(released.ports.removals.size(), 1u);
}

TEST_F(DesiredChangeTest, DeviceOfTheSameNameIsAnotherPort) {
  const MapImage before = image;
  devices[tap_name(name(0))] = {99, true};
  begin();
  EXPECT_TRUE(patch()->ports.updates.empty()) << "nothing says so";
  touched = {name(0)};
  auto changed = patch();
  ASSERT_TRUE(changed);
  ASSERT_EQ(changed->ports.updates.size(), 1u);
  EXPECT_EQ(changed->ports.updates[0].first, 99u);
  EXPECT_EQ(changed->ports.removals.size(), 1u);
  EXPECT_EQ(changed->addresses.updates.size(), 1u);
  overlay::apply_patch(image, *changed);
  expect_as_recomputed(before);
}

TEST_F(DesiredChangeTest, ChangeOfANetworkOrOfWhereHostsAreTakesAllOfIt) {
  begin();
  changes.tables = {Network::kTable};
  EXPECT_FALSE(patch());
  begin();
  changes.tables = {Host::kTable};
  contents.hosts.at("host5").version = "2.0";
  EXPECT_TRUE(patch());
  contents.hosts.at("host5").vteps = {ip("192.0.2.99")};
  EXPECT_FALSE(patch());
  desired = desired_state(contents, view);
  begin();
  changes.tables = {"Host_Status", "Task", "Task_Status"};
  auto changed = patch();
  ASSERT_TRUE(changed);
  EXPECT_TRUE(changed->addresses.updates.empty());
}

TEST_F(DesiredChangeTest, AddressThatTwoClaimTakesAllOfIt) {
  begin();
  put(6, 6, 2);
  Binding twin = contents.bindings.at("vm6");
  twin.name = twin.application = "twin";
  twin.mac = {{2, 0, 0, 0, 1, 1}};
  write(twin);
  EXPECT_FALSE(patch());

  // And as long as they do, whoever of them changes.
  desired = desired_state(contents, view);
  auto compiled = overlay::compile(desired.state, devices, image);
  EXPECT_EQ(compiled.problems.size(), 1u);
  image = std::move(compiled.image);
  begin();
  put(6, 5, 3);
  EXPECT_FALSE(patch());
  desired = desired_state(contents, view);
  image = overlay::compile(desired.state, devices, image).image;
  begin();
  put(7, 5, 3);
  EXPECT_TRUE(patch()) << "the others are changed as ever";
}

TEST_F(DesiredChangeTest, BindingThatCannotBeCarriedIsNamedAsLongAsItCannot) {
  for (const char* address : {"198.51.100.1", "10.0.0.7"}) {
    begin();
    Binding stray = contents.bindings.at("vm6");
    stray.prior_addresses = {ip(address)};
    write(stray);
    const MapImage before = image;
    ASSERT_TRUE(follow()) << address;
    EXPECT_EQ(desired.problems().size(), address == std::string("10.0.0.7") ? 0u : 1u);
    expect_as_recomputed(before);
  }
}

}  // namespace
}  // namespace homeport::agent
