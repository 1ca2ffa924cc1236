// What one change of the database does to the datapath, against the whole recomputed.
#pragma once

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

using overlay::MapImage;

inline policy::IpAddress ip(const std::string& text) {
  return boost::asio::ip::make_address(text);
}

template <class Map>
bool same(const Map& a, const Map& b) {
  auto changes = overlay::difference(a, b);
  return changes.updates.empty() && changes.removals.empty();
}

inline bool equal(const MapImage& a, const MapImage& b) {
  return same(a.addresses, b.addresses) && same(a.neighbors, b.neighbors) &&
         same(a.networks, b.networks) && same(a.network_hosts, b.network_hosts) &&
         same(a.network_ports, b.network_ports) && same(a.ports, b.ports) && same(a.held, b.held) &&
         same(a.vteps, b.vteps) && same(a.routes, b.routes) && same(a.hosts, b.hosts);
}

inline HostCounts counts_of(const Desired& desired) {
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

}  // namespace homeport::agent
