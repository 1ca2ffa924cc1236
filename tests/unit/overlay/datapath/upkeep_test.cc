// What every datapath keeps, adopts and mends.
#include "tests/unit/overlay/datapath/upkeep.h"

namespace homeport::overlay {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_P(Upkeep, ReadBackIsWhatWasApplied) {
  EXPECT_EQ(host_.read_back().value(), desired());
  EXPECT_TRUE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), IsEmpty());
  EXPECT_EQ(host_.read_back().value(), desired());
}

TEST_P(Upkeep, SetAddressIsReadBack) {
  EXPECT_TRUE(host_.untouched());
  AddressEntry& entry = fabric_.desired_entry(2, two_);
  entry = fabric_.left(two_, 2, 1, 9);
  host_.set_address(entry).value();
  EXPECT_EQ(host_.read_back().value(), desired());
  EXPECT_TRUE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), IsEmpty());  // It was not somebody else's.
  EXPECT_EQ(host_.read_back().value(), desired());
}

TEST_P(Upkeep, TrafficGoesOnWithoutTheAgent) {
  host_.datapath.reset();
  expect_talk();
}

TEST_P(Upkeep, NewAgentFindsEverythingAndKeepsTheCounters) {
  expect_talk();
  EXPECT_TRUE(eventually([&] { return host_.port(two_).delivered_packets >= 1; }));
  const auto delivered = host_.port(two_).delivered_packets;
  host_.restart();
  EXPECT_EQ(host_.read_back().value().addresses, desired().addresses);
  EXPECT_FALSE(host_.untouched()) << "it has left nothing yet";
  expect_talk();
  host_.apply().value();
  EXPECT_EQ(host_.read_back().value(), desired());
  EXPECT_TRUE(eventually([&] { return host_.port(two_).delivered_packets >= delivered + 1; }));
}

TEST_P(Upkeep, NewAgentRedirectsBeforeItsFirstApply) {
  host_.restart();
  AddressEntry& entry = fabric_.desired_entry(2, two_);
  entry = fabric_.left(two_, 2, 1, 2);
  host_.set_address(entry).value();
  EXPECT_EQ(host_.read_back().value().addresses, desired().addresses);
}

TEST_P(Upkeep, RestartsLoseNothing) {
  expect_no_loss_during([&] {
    for (int i = 0; i < 10; ++i) {
      host_.restart();
      host_.apply().value();
    }
  });
}

TEST_P(Upkeep, ChangesOfOthersLoseNothing) {
  AddressEntry other = fabric_.entry(one_, 2, 1);
  other.mac.bytes[5] = 50;
  other.ips = {boost::asio::ip::make_address("10.0.0.50")};
  expect_no_loss_during([&] {
    for (int i = 0; i < 5; ++i) {
      host_.desired.addresses.push_back(other);
      host_.apply().value();
      host_.desired.addresses.pop_back();
      host_.apply().value();
    }
  });
}

TEST_P(Upkeep, AddressDeletedByHandIsMendedAndNamed) {
  delete_address_by_hand();
  EXPECT_FALSE(host_.read_back().value() == desired());
  EXPECT_FALSE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(),
              Contains(HasSubstr("02:00:00:00:00:02 of network 42 w")));  // was or were missing
  EXPECT_EQ(host_.read_back().value(), desired());
  EXPECT_TRUE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), IsEmpty());
  expect_talk();
}

TEST_P(Upkeep, PortDeletedByHandIsMendedAndNamed) {
  delete_port_by_hand();
  EXPECT_THAT(host_.read_back().value().ports, IsEmpty());
  EXPECT_FALSE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), Contains(HasSubstr("app2 was missing")));
  EXPECT_TRUE(host_.untouched());
  EXPECT_EQ(host_.read_back().value(), desired());
  expect_talk();
}

TEST_P(Upkeep, MissingDeviceIsNamedAndTheRestIsApplied) {
  host_.desired.ports.insert(host_.desired.ports.begin(),
                             {"missing", kVni, {{2, 0, 0, 0, 0, 50}}, false});
  AddressEntry late = fabric_.entry(one_, 2, 1);
  late.mac.bytes[5] = 51;
  late.ips = {boost::asio::ip::make_address("10.0.0.51")};
  host_.desired.addresses.push_back(late);
  EXPECT_THAT(host_.apply().error().message, HasSubstr("missing is not carried"));
  host_.desired.ports.erase(host_.desired.ports.begin());
  EXPECT_EQ(host_.read_back().value(), desired());
}

TEST_P(Upkeep, AContradictionIsToldAndNothingToMend) {
  AddressEntry claims = fabric_.entry(one_, 2, 1);
  claims.mac.bytes[5] = 51;  // and the IP addresses are those of application 1
  host_.desired.addresses.push_back(claims);
  EXPECT_FALSE(host_.apply());
  EXPECT_TRUE(host_.untouched());
  delete_address_by_hand();
  EXPECT_FALSE(host_.untouched());
}

TEST_P(Upkeep, PortThatIsNoMoreWantedIsNoPort) {
  host_.desired.ports.clear();
  std::erase_if(host_.desired.addresses, [&](const auto& entry) { return entry.mac == two_.mac; });
  host_.apply().value();
  EXPECT_EQ(host_.read_back().value(), desired());
  EXPECT_TRUE(host_.inside.run([] { return find_link("app2").has_value(); }));
  EXPECT_EQ(host_.inside.run([&] { return host_.datapath->counters("app2").error().code; }),
            boost::system::errc::no_such_device);
}

TEST_P(Upkeep, DeviceThatComesBackIsAPortAgain) {
  expect_talk();
  host_.inside.run([] { delete_device("app2").value(); });
  EXPECT_FALSE(host_.untouched());
  EXPECT_FALSE(host_.apply());
  host_.inside.run([] { create_tap({.name = "app2"}).value(); });
  // ovs-vswitchd learns of both from the kernel, a moment later than of what it is told.
  EXPECT_TRUE(eventually([&] { return host_.apply() && host_.read_back().value() == desired(); }));
  UniqueFd guest = host_.inside.run([] { return open_tap_queue("app2").value(); });
  EXPECT_TRUE(eventually([&] {
    Socket client(one_.inside, false);
    client.send(two_.v4, 9, "here?");
    return !tap_queue_empty(guest.get()).value();
  }));
}

TEST_P(Upkeep, AddressOfADeviceThatIsNoPortIsRefused) {
  AddressEntry entry = fabric_.entry(two_, 2, 2);
  entry.location = LocalPort{"underlay"};
  EXPECT_THAT(host_.set_address(entry).error().message, HasSubstr("underlay"));
  entry.location = LocalPort{"missing"};
  EXPECT_EQ(host_.set_address(entry).error().code, boost::system::errc::no_such_device);
}

TEST_P(Upkeep, ManyAddressesAreReadBackWhole) {
  for (std::uint32_t i = 0; i < 500; ++i) {
    AddressEntry entry = fabric_.entry(one_, 2, 1);
    entry.mac.bytes = {2, 1, 0, 0, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)};
    entry.ips = {boost::asio::ip::address_v4(0x0a010000 + i)};
    host_.desired.addresses.push_back(entry);
  }
  host_.apply().value();
  EXPECT_TRUE(host_.read_back().value() == desired());
  host_.desired.addresses.resize(2);
  host_.apply().value();
  EXPECT_EQ(host_.read_back().value(), desired());
}

INSTANTIATE_TEST_SUITE_P(
    Fleets, Upkeep,
    testing::Values(Fleet{"Ebpf", Underlay::v4, {Kind::ebpf, Kind::ebpf}},
                    Fleet{"Ovs", Underlay::v4, {Kind::ovs, Kind::ovs}},
                    Fleet{"OvsAmongEbpf", Underlay::v6, {Kind::ebpf, Kind::ovs}}),
    fleet_name);

/// What only the eBPF datapath has.
class EbpfUpkeep : public Upkeep {};

TEST_P(EbpfUpkeep, WhatIsUnpinnedOrTakenDownByHandIsMendedAndNamed) {
  expect_talk();
  const auto delivered = host_.port(two_).delivered_packets;
  auto untouched = [&] { return host_.untouched(); };
  host_.apply().value();
  EXPECT_TRUE(untouched());
  const auto directory =
      host_.options.pin_directory / ("layout-" + std::to_string(HP_LAYOUT_VERSION));
  std::filesystem::remove(directory / "hp_addresses");
  EXPECT_FALSE(untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(),
              ElementsAre("1 of the maps in " + directory.string() + " were not pinned any more"));
  EXPECT_TRUE(untouched());
  std::filesystem::remove_all(directory);
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), Contains(HasSubstr("were not pinned any more")));
  EXPECT_TRUE(untouched());
  host_.inside.run([&] { set_link_up(host_.options.vxlan_device, false).value(); });
  EXPECT_FALSE(untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(),
              ElementsAre("the device " + host_.options.vxlan_device + " was down"));
  EXPECT_TRUE(untouched());
  // A new agent finds what the old one has pinned again.
  host_.restart();
  EXPECT_EQ(host_.read_back().value().addresses, desired().addresses);
  EXPECT_GE(host_.port(two_).delivered_packets, delivered);
  expect_talk();
}

INSTANTIATE_TEST_SUITE_P(Fleets, EbpfUpkeep,
                         testing::Values(Fleet{"Ebpf", Underlay::v4, {Kind::ebpf, Kind::ebpf}}),
                         fleet_name);

}  // namespace
}  // namespace homeport::overlay
