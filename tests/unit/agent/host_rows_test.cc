// The rows of a host, against a real server and the devices of a network namespace.
#include "agent/host_rows.h"

#include "overlay/spawn.h"
#include "tests/unit/overlay/link/devices.h"
#include "tests/unit/overlay/link/net_namespace.h"
#include "tests/unit/overlay/ovsdb/test_server.h"

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>

#include <chrono>
#include <optional>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

DatabaseOptions options(const std::string& remote) {
  DatabaseOptions options;
  options.session.remotes = remote;
  return options;
}

/// So far apart that only events count.
constexpr auto kSeldom = 1h;

TEST(HostRows, AreWrittenAnewAsSoonAsAnAddressOrItsDeviceIsAnother) {
  overlay::NetNamespace inside;
  inside.run([] {
    asio::io_context io;
    test::TestServer server;
    test::Condition changed(io);
    ControlDatabase database(io.get_executor(), options(server.remote()));
    database.on_change([&] { changed.notify(); });
    database.on_state([&](bool) { changed.notify(); });
    database.start();
    HostIdentity identity;
    identity.host.name = "h1";
    HostRows rows(io.get_executor(), database, identity, kSeldom);
    overlay::spawn(io.get_executor(), rows.keep());
    test::run(io, changed.wait([&] { return database.hosts().contains("h1"); }));
    const auto monitor = overlay::LinkMonitor::start(io.get_executor(), [&](const auto& event) {
                           rows.on_link_event(event);
                         }).value();
    auto state = [&]() -> std::optional<LinkState> {
      for (const auto& [uuid, row] : database.contents().interfaces) {
        if (row.name == "nic") return row.state;
      }
      return std::nullopt;
    };
    auto wait_for = [&](std::optional<LinkState> wanted) {
      test::run(io, changed.wait([&] { return state() == wanted; }));
    };

    const auto address = asio::ip::make_address("192.0.2.1");
    overlay::create_veth("nic", "peer");
    overlay::set_link_up("nic", true).value();
    overlay::add_address("nic", address, 24);
    wait_for(LinkState::down);
    overlay::set_link_up("peer", true).value();
    wait_for(LinkState::up);
    overlay::remove_address("nic", address, 24);
    wait_for(std::nullopt);
    overlay::add_address("nic", address, 24);
    wait_for(LinkState::up);
    overlay::delete_device("nic").value();
    wait_for(std::nullopt);
  });
}

}  // namespace
}  // namespace homeport::agent
