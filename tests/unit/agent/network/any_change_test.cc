// Random changes, whatever they are, against the whole recomputed.
#include "tests/unit/agent/network/desired_change.h"

namespace homeport::agent {
namespace {

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
      case 3: {
        put(number, 0, generation);
        static constexpr std::array kClasses = {"", "interactive", "bulk", "gold"};
        Binding binding = contents.bindings.at(name(number));
        binding.traffic_class = kClasses[static_cast<std::size_t>(any(4))];
        return write(binding);
      }
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

}  // namespace
}  // namespace homeport::agent
