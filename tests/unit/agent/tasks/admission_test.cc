#include "agent/tasks/admission.h"

#include "agent/network/desired_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace homeport::agent {
namespace {

using testing::HasSubstr;

constexpr char kMove[] = "11111111-2222-4333-8444-555555555555";

/// hostA announces the move of vm1 to hostB, and all of it is as the database says.
class AdmissionTest : public testing::Test {
 protected:
  AdmissionTest() {
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
    binding.name = binding.application = "vm1";
    binding.network = "net1";
    binding.mac = *policy::MacAddress::parse("02:00:00:00:00:01");
    binding.location = "hostA";
    binding.generation = 4;
    contents.bindings.insert_or_assign("vm1", binding);
    Task task;
    task.uuid = *parse_uuid(kMove);
    task.application = "vm1";
    task.arguments = {{"destination", "hostB"}};
    contents.tasks[task.uuid] = task;

    request.set_move_id(kMove);
    request.set_application("vm1");
    request.set_launch_profile("guest");
    request.set_memory_mib(512);
    request.set_vcpus(1);
    request.set_generation(4);
    auto& port = *request.add_ports();
    port.set_binding("vm1");
    port.set_vni(100);
    port.set_mac(binding.mac.bytes.data(), binding.mac.bytes.size());
    port.set_mtu(1430);
  }

  policy::Result<std::vector<migration::PortSpec>> admit_it() {
    return admit(contents, "hostB", 1430, "hostA", request);
  }

  Contents contents;
  migration::Prepare request;
};

TEST_F(AdmissionTest, AMoveThatTheDatabaseAsksForIsAdmitted) {
  auto ports = admit_it();
  ASSERT_TRUE(ports) << ports.error().message;
  ASSERT_EQ(ports->size(), 1u);
  EXPECT_EQ(ports->front().vni, 100u);
  EXPECT_EQ(ports->front().device, tap_name("vm1"));
}

struct Lie {
  const char* name;
  std::function<void(Contents&, migration::Prepare&)> tell;
  const char* answer;
};

class AdmissionLie : public AdmissionTest, public testing::WithParamInterface<Lie> {};

TEST_P(AdmissionLie, IsRefused) {
  GetParam().tell(contents, request);
  auto ports = admit_it();
  ASSERT_FALSE(ports);
  EXPECT_THAT(ports.error().message, HasSubstr(GetParam().answer));
}

INSTANTIATE_TEST_SUITE_P(
    All, AdmissionLie,
    testing::Values(
        Lie{"unknown", [](auto& c, auto&) { c.applications.clear(); }, "knows no application"},
        Lie{"other_application", [](auto&, auto& r) { r.set_application("vm9"); }, "no task"},
        Lie{"elsewhere",
            [](auto& c, auto&) {
              Binding binding = c.bindings.at("vm1");
              binding.location = "hostC";
              c.bindings.insert_or_assign("vm1", binding);
            },
            "is at \"hostC\""},
        Lie{"generation", [](auto&, auto& r) { r.set_generation(3); }, "by generation 4"},
        Lie{"no_task", [](auto& c, auto&) { c.tasks.clear(); }, "no task"},
        Lie{"not_a_uuid", [](auto&, auto& r) { r.set_move_id("../x"); }, "no task"},
        Lie{"other_destination",
            [](auto& c, auto&) { c.tasks.begin()->second.arguments["destination"] = "hostC"; },
            "does not move vm1 to hostB"},
        Lie{"profile", [](auto&, auto& r) { r.set_launch_profile("other"); }, "otherwise"},
        Lie{"memory", [](auto&, auto& r) { r.set_memory_mib(1 << 30); }, "otherwise"},
        Lie{"ports_only", [](auto&, auto& r) { r.set_ports_only(true); }, "otherwise"},
        Lie{"port_missing", [](auto&, auto& r) { r.clear_ports(); }, "the ports of vm1"},
        Lie{"port_mac", [](auto&, auto& r) { r.mutable_ports(0)->set_mac("x"); },
            "the ports of vm1"},
        Lie{"port_vni", [](auto&, auto& r) { r.mutable_ports(0)->set_vni(7); },
            "the ports of vm1"}),
    [](const auto& info) { return info.param.name; });

class AdmissionUnderlayTest : public AdmissionTest {
 protected:
  void set_vteps(const char* host, std::vector<const char*> vteps) {
    Host& row = contents.hosts[host];
    row.name = host;
    row.vteps.clear();
    for (const char* vtep : vteps) row.vteps.push_back(boost::asio::ip::make_address(vtep));
  }
};

// The destination's own is the first of its VTEPs; the source needs one like it.
TEST_F(AdmissionUnderlayTest, ItsHostsNeedVtepsOfOneFamily) {
  set_vteps("hostA", {"192.0.2.1"});
  EXPECT_TRUE(admit_it());  // hostB's row has not come yet
  set_vteps("hostB", {"192.0.2.2"});
  EXPECT_TRUE(admit_it());
  set_vteps("hostB", {"2001:db8::2"});
  auto refused = admit_it();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message,
              HasSubstr("the VTEPs of hostB and hostA are of different families"));
  EXPECT_THAT(refused.error().message, HasSubstr("configure VTEPs of one family"));
  set_vteps("hostA", {"192.0.2.1", "2001:db8::1"});
  EXPECT_TRUE(admit_it());
  set_vteps("hostA", {"2001:db8::1"});
  EXPECT_TRUE(admit_it());
  set_vteps("hostB", {"192.0.2.2"});
  EXPECT_FALSE(admit_it());
}

/// It is a container behind a network device instead.
class NetdevAdmissionTest : public AdmissionTest {
 protected:
  NetdevAdmissionTest() {
    Application& application = contents.applications["vm1"];
    application.driver = Driver::netdev;
    application.launch_profile.clear();
    application.properties = {{"device", "app0"}};
    request.clear_launch_profile();
    request.clear_memory_mib();
    request.clear_vcpus();
    request.set_ports_only(true);
  }

  void add_other(const std::string& location) {
    contents.applications["web"] = contents.applications["vm1"];
    Binding binding = contents.bindings.at("vm1");
    binding.name = binding.application = "web";
    binding.mac = *policy::MacAddress::parse("02:00:00:00:00:02");
    binding.location = location;
    contents.bindings.insert_or_assign("web", binding);
  }
};

TEST_F(NetdevAdmissionTest, ItsPortIsTheDeviceThatIsThere) {
  add_other("hostC");  // has a device of that name at another host
  auto ports = admit_it();
  ASSERT_TRUE(ports) << ports.error().message;
  ASSERT_EQ(ports->size(), 1u);
  EXPECT_EQ(ports->front().device, "app0");
}

TEST_F(NetdevAdmissionTest, AsAMachineItIsRefused) {
  request.set_ports_only(false);
  auto ports = admit_it();
  ASSERT_FALSE(ports);
  EXPECT_THAT(ports.error().message, HasSubstr("otherwise"));
}

TEST_F(NetdevAdmissionTest, ADeviceThatIsAnothersIsRefused) {
  add_other("hostB");
  auto ports = admit_it();
  ASSERT_FALSE(ports);
  EXPECT_THAT(ports.error().message,
              HasSubstr("app0, the network device of vm1, is that of web on hostB"));
}

TEST_F(NetdevAdmissionTest, TwoBindingsCannotShareADevice) {
  Binding binding = contents.bindings.at("vm1");
  binding.name = "vm1/eth1";
  binding.mac = *policy::MacAddress::parse("02:00:00:00:00:02");
  contents.bindings.insert_or_assign(binding.name, binding);
  auto ports = admit_it();
  ASSERT_FALSE(ports);
  EXPECT_THAT(ports.error().message, HasSubstr("2 bindings and is behind one network device"));
}

TEST_F(AdmissionTest, RowsThatAreToldAreThoseOfItsPorts) {
  EXPECT_EQ(rows_of(request), KnownRows());
  request.set_application_row("11111111-2222-4333-8444-000000000001");
  request.add_binding_rows("not a UUID");
  request.add_binding_rows("11111111-2222-4333-8444-000000000002");
  request.add_binding_rows("11111111-2222-4333-8444-000000000003");
  const KnownRows rows = rows_of(request);
  EXPECT_EQ(rows.application, parse_uuid("11111111-2222-4333-8444-000000000001"));
  EXPECT_THAT(rows.bindings,
              testing::ElementsAre(*parse_uuid("11111111-2222-4333-8444-000000000002")))
      << "it has one port";
}

TEST_F(AdmissionTest, MoveThatNoTaskBringsHereIsNotExpected) {
  EXPECT_TRUE(check_task_of(contents, "hostB", request));
  EXPECT_FALSE(check_task_of(contents, "hostC", request));
  request.set_application("vm2");
  EXPECT_FALSE(check_task_of(contents, "hostB", request));
}

TEST_F(AdmissionTest, WhatMayOnlyBeLateIsTriedAgain) {
  contents.tasks.clear();
  EXPECT_EQ(admit_it().error().code, boost::system::errc::resource_unavailable_try_again);
}

}  // namespace
}  // namespace homeport::agent
