// What outlives the agent, and what apply() repairs.
#include "overlay/datapath/map_image.h"
#include "overlay/datapath/tc_filter.h"
#include "tests/unit/overlay/datapath/fabric.h"

#include <bpf/bpf.h>
#include <gmock/gmock.h>
#include <net/if.h>
#include <sys/mount.h>

#include <algorithm>
#include <atomic>

namespace homeport::overlay {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

class Restart : public testing::Test {
 protected:
  Fabric fabric_{bpf(), 2};
  Host& host_ = fabric_.host(2);
  App& one_ = fabric_.app(1);
  App& two_ = fabric_.app(2);

  DesiredState desired() const {
    DesiredState state = host_.desired;
    normalize(state);
    return state;
  }

  void expect_talk() {
    Socket server(two_.inside, false), client(one_.inside, false);
    client.send(two_.v4, server.port(), "ping");
    EXPECT_EQ(server.receive(), "ping");
    server.send(one_.v4, client.port(), "pong");
    EXPECT_EQ(client.receive(), "pong");
  }

  /// Runs `disturb` while numbered datagrams go from one application to the other, one after
  /// the other as fast as they are taken; expects each of them, in order.
  template <class Disturb>
  void expect_no_loss_during(Disturb disturb) {
    Socket server(two_.inside, false), client(one_.inside, false);
    std::atomic<bool> done = false;
    std::uint64_t sent = 0;
    std::thread traffic([&] {
      while (!done) {
        const std::string data = std::to_string(++sent);
        client.send(two_.v4, server.port(), data);
        ASSERT_EQ(server.receive(), data);
      }
    });
    disturb();
    done = true;
    traffic.join();
    EXPECT_GT(sent, 100u);
  }

  std::filesystem::path pinned(const std::string& name) const {
    return host_.options.pin_directory / ("layout-" + std::to_string(HP_LAYOUT_VERSION)) / name;
  }

  /// Takes an entry out of a pinned map, as somebody with bpftool might.
  template <class Key>
  void delete_by_hand(const std::string& map, const Key& key) {
    UniqueFd fd(bpf_obj_get(pinned(map).c_str()));
    ASSERT_TRUE(fd);
    ASSERT_EQ(bpf_map_delete_elem(fd.get(), &key), 0);
  }

  std::uint32_t filter_of(const std::string& device) {
    return host_.inside.run(
        [&] { return tc_filter::program_id(::if_nametoindex(device.c_str())).value(); });
  }
};

TEST_F(Restart, NewAgentFindsEverythingAndKeepsTheCounters) {
  expect_talk();
  const auto delivered = host_.port(two_).delivered_packets;
  const std::uint32_t before = filter_of("app2");
  host_.restart();
  EXPECT_EQ(filter_of("app2"), before);  // Nothing changes before the first apply().
  expect_talk();
  host_.apply().value();
  EXPECT_NE(filter_of("app2"), before);
  EXPECT_EQ(host_.read_back().value(), desired());
  EXPECT_GE(host_.port(two_).delivered_packets, delivered + 1);
}

TEST_F(Restart, MapsOfTheFirstLayoutAreReplaced) {
  // Where a network was an MTU alone. A map of that shape is refused under this layout's name.
  const auto first = host_.options.pin_directory / "layout-1";
  std::filesystem::create_directories(first);
  UniqueFd networks(bpf_map_create(BPF_MAP_TYPE_HASH, "hp_networks", 4, 4, 16384, nullptr));
  ASSERT_EQ(bpf_obj_pin(networks.get(), (first / "hp_networks").c_str()), 0);
  host_.restart();
  EXPECT_TRUE(std::filesystem::exists(first));
  host_.apply().value();
  EXPECT_FALSE(std::filesystem::exists(first));
  EXPECT_EQ(host_.read_back().value(), desired());
  expect_talk();
}

TEST_F(Restart, ALayoutThatCannotBeRemovedIsToldOf) {
  const auto busy = host_.options.pin_directory / "layout-0" / "busy";
  std::filesystem::create_directories(busy);
  ASSERT_EQ(::mount("bpf", busy.c_str(), "bpf", 0, nullptr), 0);
  host_.restart();
  EXPECT_THAT(host_.apply().error().message, HasSubstr("Maps of other layouts"));
  ASSERT_EQ(::umount(busy.c_str()), 0);
  EXPECT_EQ(host_.read_back().value(), desired());
  expect_talk();
}

TEST_F(Restart, AnotherLayoutIsFilledBeforeItTakesOver) {
  // As if an agent of an older layout had been here, with a port that is no more wanted.
  App& gone = fabric_.add_app(2);
  host_.desired.ports.push_back({gone.device, kVni, gone.mac, false});
  host_.apply().value();
  host_.desired.ports.pop_back();
  const auto layout = pinned("").parent_path();
  expect_no_loss_during([&] {
    host_.datapath.reset();
    std::filesystem::rename(layout, layout.parent_path() / "layout-0");
    host_.restart();
    host_.apply().value();
  });
  EXPECT_EQ(filter_of(gone.device), 0u);
  EXPECT_FALSE(std::filesystem::exists(layout.parent_path() / "layout-0"));
  EXPECT_EQ(host_.read_back().value(), desired());
}

TEST_F(Restart, HandDeletedFilterIsSeenAndRepaired) {
  host_.inside.shell("tc filter del dev app2 ingress");
  EXPECT_THAT(host_.read_back().value().ports, IsEmpty());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), ElementsAre("the filter of app2 was missing"));
  EXPECT_EQ(host_.read_back().value(), desired());
  host_.inside.shell("tc qdisc del dev homeport0 clsact");
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), ElementsAre("the filter of homeport0 was missing"));
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), IsEmpty());
  expect_talk();
}

TEST_F(Restart, HandDeletedMapEntriesAreSeenAndRepaired) {
  const std::uint32_t ifindex =
      host_.inside.run([] { return static_cast<std::uint32_t>(::if_nametoindex("app2")); });
  delete_by_hand("hp_addresses", address_key(kVni, two_.mac));
  delete_by_hand("hp_neighbors", neighbor_key(kVni, one_.v4));
  delete_by_hand("hp_ports", ifindex);
  delete_by_hand("hp_networks", std::uint32_t{kVni});
  delete_by_hand("hp_network_hosts", hp_member_key{kVni, 0});
  delete_by_hand("hp_vteps", vtep_value(fabric_.host(1).vtep));
  EXPECT_FALSE(host_.read_back().value() == desired());
  host_.apply().value();
  EXPECT_THAT(
      host_.datapath->mended(),
      UnorderedElementsAre("the port with index " + std::to_string(ifindex) + " was missing",
                           "the address 02:00:00:00:00:02 of network 42 was missing",
                           "the address 10.0.0.1 of network 42 was missing",
                           "the network 42 was missing", "the host 0 of network 42 was missing",
                           "the host " + fabric_.host(1).vtep.to_string() + " was missing"));
  EXPECT_EQ(host_.read_back().value(), desired());
  expect_talk();
}

TEST_F(Restart, HandDeletedVxlanDeviceIsMadeAgain) {
  host_.inside.run([] { delete_device("homeport0").value(); });
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), ElementsAre("the device homeport0 was missing"));
  expect_talk();
  host_.inside.run([] { set_link_up("homeport0", false).value(); });
  host_.apply().value();
  expect_talk();
}

TEST_F(Restart, StrayEntriesAreRemoved) {
  AddressEntry stray = fabric_.entry(one_, 2, 1);
  stray.mac.bytes[5] = 77;
  host_.set_address(stray).value();
  EXPECT_EQ(host_.read_back().value().addresses.size(), 3u);
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), IsEmpty());  // it was not somebody else's
  EXPECT_EQ(host_.read_back().value(), desired());
}

TEST_F(Restart, ManyAddressesAreReadBackWhole) {
  // More than one batch of every map.
  for (std::uint32_t i = 0; i < 20'000; ++i) {
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

TEST_F(Restart, PortThatIsNoMoreWantedLosesItsFilterOnly) {
  host_.desired.ports.clear();
  std::erase_if(host_.desired.addresses, [&](const auto& entry) { return entry.mac == two_.mac; });
  host_.apply().value();
  EXPECT_EQ(filter_of("app2"), 0u);
  EXPECT_EQ(host_.read_back().value(), desired());
  EXPECT_TRUE(host_.inside.run([] { return find_link("app2").has_value(); }));
}

TEST_F(Restart, DeviceThatComesBackIsAPortAgain) {
  const std::uint64_t before = host_.port(two_).received_packets;
  expect_talk();
  EXPECT_GT(host_.port(two_).received_packets, before);
  host_.inside.run([] {
    delete_device("app2").value();
    create_tap({.name = "app2"}).value();
  });
  host_.apply().value();
  EXPECT_EQ(host_.read_back().value(), desired());
  EXPECT_EQ(host_.port(two_).received_packets, 0u);  // Another device: counted from 0.
}

TEST_F(Restart, UpdateChangesWhatOtherHostsHaveAndLooksUntouched) {
  auto update = [&](const StateChange& change) {
    return host_.inside.run([&] { return host_.datapath->update(change); });
  };
  auto untouched = [&] { return host_.inside.run([&] { return host_.datapath->untouched(); }); };
  EXPECT_TRUE(untouched().value());
  DesiredState wanted = desired();
  auto other = std::ranges::find_if(wanted.addresses, [](const AddressEntry& entry) {
    return std::holds_alternative<RemoteHost>(entry.location);
  });
  ASSERT_NE(other, wanted.addresses.end());
  StateChange change;
  change.before = {*other};
  ++other->generation;
  other->location = RemoteHost{boost::asio::ip::make_address("192.0.2.77")};
  change.now = {*other};
  EXPECT_TRUE(update(change).value());
  EXPECT_EQ(host_.read_back().value(), wanted);
  EXPECT_TRUE(untouched().value());
  EXPECT_FALSE(update(change).value()) << "it is not as it is said to have been";
  EXPECT_EQ(host_.read_back().value(), wanted);

  delete_by_hand("hp_addresses", address_key(other->vni, other->mac));
  EXPECT_FALSE(untouched().value());
  host_.apply().value();
  EXPECT_TRUE(untouched().value());
  host_.inside.run([&] { tc_filter::detach(::if_nametoindex("app2")).value(); });
  EXPECT_FALSE(untouched().value());
}

TEST_F(Restart, UpdateTakesPortsAndNetworksAwayAndBringsThemBack) {
  auto update = [&](const StateChange& change) {
    return host_.inside.run([&] { return host_.datapath->update(change).value(); });
  };
  auto untouched = [&] {
    return host_.inside.run([&] { return host_.datapath->untouched().value(); });
  };
  auto filter = [&] {
    return host_.inside.run([] { return tc_filter::program_id(::if_nametoindex("app2")).value(); });
  };
  const DesiredState with = desired();
  DesiredState without = with;
  StateChange leaving;
  auto port = std::ranges::find(without.ports, "app2", &Port::device);
  ASSERT_NE(port, without.ports.end());
  leaving.ports_before = {*port};
  auto address = std::ranges::find_if(without.addresses, [](const AddressEntry& entry) {
    return entry.location == Location(LocalPort{"app2"});
  });
  ASSERT_NE(address, without.addresses.end());
  leaving.before = {*address};
  AddressEntry elsewhere = *address;
  elsewhere.location = RemoteHost{boost::asio::ip::make_address("192.0.2.77")};
  *address = elsewhere;
  leaving.now = {elsewhere};
  const policy::Vni vni = port->vni;
  without.ports.erase(port);
  if (std::ranges::find(without.ports, vni, &Port::vni) == without.ports.end()) {
    auto network = std::ranges::find(without.networks, vni, &NetworkEntry::vni);
    leaving.networks_gone = {*network};
    without.networks.erase(network);
  }
  normalize(without);
  StateChange coming{leaving.now, leaving.before,      leaving.networks_gone, {},
                     {},          leaving.ports_before};
  const auto id = filter();
  EXPECT_NE(id, 0u);
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(update(leaving));
    EXPECT_EQ(host_.read_back().value(), without);
    EXPECT_EQ(filter(), 0u);
    EXPECT_TRUE(untouched());
    ASSERT_TRUE(update(coming));
    EXPECT_EQ(host_.read_back().value(), with);
    EXPECT_EQ(filter(), id);
    EXPECT_TRUE(untouched());
  }
  // Another device of that name: told of again, it is the port.
  host_.inside.run([] {
    delete_device("app2").value();
    create_tap({.name = "app2"}).value();
  });
  ASSERT_TRUE(
      update({leaving.before, leaving.before, {}, {}, leaving.ports_before, leaving.ports_before}));
  EXPECT_EQ(host_.read_back().value(), with);
  EXPECT_EQ(filter(), id);
  EXPECT_TRUE(untouched());
  host_.inside.run([] { delete_device("app2").value(); });
  EXPECT_FALSE(
      update({leaving.before, leaving.before, {}, {}, leaving.ports_before, leaving.ports_before}))
      << "there is no device";
  ASSERT_TRUE(update(leaving)) << "it goes all the same";
  EXPECT_EQ(host_.read_back().value(), without);
  EXPECT_TRUE(untouched());
}

TEST_F(Restart, AddressOfADeviceThatIsNoPortIsRefused) {
  AddressEntry entry = fabric_.entry(two_, 2, 2);
  entry.location = LocalPort{"underlay"};
  EXPECT_THAT(host_.set_address(entry).error().message, HasSubstr("underlay"));
  entry.location = LocalPort{"missing"};
  EXPECT_EQ(host_.set_address(entry).error().code, boost::system::errc::no_such_device);
  EXPECT_EQ(host_.inside.run([&] { return host_.datapath->counters("underlay").error().code; }),
            boost::system::errc::no_such_device);
}

TEST(Setup, DirectoryMustBeOnABpfFileSystem) {
  NetNamespace host;
  EbpfOptions options;
  options.pin_directory = std::filesystem::temp_directory_path() / "homeport-not-bpf" / "maps";
  auto made = host.run([&] { return make_ebpf_datapath(options); });
  EXPECT_THAT(made.error().message, HasSubstr("mount -t bpf"));
  EXPECT_FALSE(std::filesystem::exists(options.pin_directory.parent_path()));
}

TEST(Setup, VxlanDeviceOfAnotherShapeIsRefused) {
  NetNamespace host;
  EbpfOptions options;
  options.pin_directory = bpf().path() / "other-shape";
  host.run([&] { create_vxlan(options.vxlan_device, 4789).value(); });
  auto made = host.run([&] { return make_ebpf_datapath(options); });
  EXPECT_THAT(made.error().message, HasSubstr("homeport0"));
  host.run([&] {
    delete_device(options.vxlan_device).value();
    create_veth(options.vxlan_device, "other");
  });
  made = host.run([&] { return make_ebpf_datapath(options); });
  EXPECT_THAT(made.error().message, HasSubstr("not a VXLAN device"));
}

TEST(Setup, MapsThatAreNotOursAreRefused) {
  NetNamespace host;
  EbpfOptions options;
  options.pin_directory = bpf().path() / "foreign";
  const auto layout = options.pin_directory / ("layout-" + std::to_string(HP_LAYOUT_VERSION));
  std::filesystem::create_directories(layout);
  UniqueFd foreign(bpf_map_create(BPF_MAP_TYPE_ARRAY, "foreign", 4, 4, 1, nullptr));
  ASSERT_EQ(bpf_obj_pin(foreign.get(), (layout / "hp_addresses").c_str()), 0);
  auto made = host.run([&] { return make_ebpf_datapath(options); });
  EXPECT_THAT(made.error().message, HasSubstr(layout.string()));
  EXPECT_THAT(made.error().message, HasSubstr("parameter mismatch"));  // the cause
}

}  // namespace
}  // namespace homeport::overlay
