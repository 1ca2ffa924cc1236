#include "tests/unit/agent/network/desired_change.h"

namespace homeport::agent {
namespace {

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

TEST_F(DesiredChangeTest, AnotherClassIsAnotherPortAndNothingElse) {
  auto write_class = [&](int number, const char* traffic_class) {
    Binding binding = contents.bindings.at(name(number));
    binding.traffic_class = traffic_class;
    begin();
    write(binding);
  };
  for (const char* traffic_class : {"bulk", "gold", "interactive", ""}) {
    write_class(0, traffic_class);
    const MapImage before = image;
    auto changed = patch();
    ASSERT_TRUE(changed) << traffic_class;
    EXPECT_EQ(changed->ports.updates.size(), 1u);
    EXPECT_TRUE(changed->ports.removals.empty());
    EXPECT_TRUE(changed->addresses.updates.empty());
    EXPECT_TRUE(changed->neighbors.updates.empty());
    EXPECT_TRUE(flows_patched);
    overlay::apply_patch(image, *changed);
    expect_as_recomputed(before);
  }
  write_class(5, "bulk");  // of another host
  auto changed = patch();
  ASSERT_TRUE(changed);
  EXPECT_TRUE(changed->ports.updates.empty());
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

TEST_F(DesiredChangeTest, RulesForPortsTakeAllOfItAndOtherPolicyNothing) {
  begin();
  changes.tables = {PathPolicyRow::kTable};
  contents.path_policies[policy::TrafficClass::bulk].relays = false;
  EXPECT_TRUE(patch());
  begin();
  changes.tables = {PathPolicyRow::kTable};
  contents.path_policies[policy::TrafficClass::bulk].ports = {{6, 22, 22}};
  EXPECT_FALSE(patch());
  follow();
  EXPECT_THAT(desired.state.port_rules,
              testing::ElementsAre(policy::PortRule{{6, 22, 22}, policy::TrafficClass::bulk}));
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
