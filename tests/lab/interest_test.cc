// An agent follows the networks that its host takes part in, and no others: before, during and
// after a move.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <set>
#include <sstream>

#include "agent/control/interest.h"
#include "tests/lab/fleet.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace {

class Following : public testing::Test {
 protected:
  /// The value of a line of /metrics; -1 when there is none.
  static double metric(const Host& host, const std::string& name) {
    const std::string page = host.get("/metrics");
    const auto place = page.find("\n" + name + " ");
    if (place == std::string::npos) return -1;
    return std::strtod(page.c_str() + place + name.size() + 2, nullptr);
  }
  static double addresses(const Host& host) { return metric(host, "homeport_datapath_addresses"); }
  static double forwarded(const Host& host) {
    return metric(host, R"(homeport_datapath_packets_total{event="forwarded"})");
  }
  static void wait_addresses(const Host& host, double count) {
    wait_until([&] { return addresses(host) == count; }, 20s,
               host.name() + " to carry its addresses",
               [&] { return std::to_string(addresses(host)); });
  }
};

class Interest : public Following {
 protected:
  static void SetUpTestSuite() {
    fleet_ = std::make_unique<Fleet>(FleetOptions{.name = "interest", .host_access = false});
  }
  static void TearDownTestSuite() { fleet_.reset(); }

  static void wait_sent_on(const Host& host, double count) {
    const double before = forwarded(host);
    wait_until([&] { return forwarded(host) >= before + count; }, 20s,
               host.name() + " to send frames on",
               [&] { return std::to_string(forwarded(host) - before); });
  }

  static std::unique_ptr<Fleet> fleet_;
};

std::unique_ptr<Fleet> Interest::fleet_;

/// vm1 and the client are in net1, which the other host has nothing in.
TEST_F(Interest, HostCarriesTheNetworksItTakesPartInOnly) {
  Host& here = fleet_->wait_somewhere();
  const Host& there = fleet_->other_than(here);
  wait_addresses(here, 2);
  wait_addresses(fleet_->c(), 2);
  wait_addresses(there, 0);
}

/// The move into a network that is new to a host loses nothing; hosts that have not heard of it go
/// on sending to the old one, which has no application of the network any more and sends on, also
/// after its agent was restarted.
TEST_F(Interest, LateFramesAreSentOnByAHostThatHasNothingOfTheNetworkAnyMore) {
  Lab& lab = fleet_->lab();
  Host& from = fleet_->wait_somewhere();
  Host& to = fleet_->other_than(from);
  Host& late = fleet_->c();
  DatagramClient datagrams(lab.client(), "10.1.0.5", lab.directory() / "late.log");
  datagrams.wait_progress(500, 20s);
  late.agent().send_signal(SIGSTOP);
  ASSERT_EQ(fleet_->move(to).status, 0);
  fleet_->wait_settled(to);
  wait_addresses(to, 2);
  EXPECT_EQ(addresses(from), 2);

  wait_sent_on(from, 500);
  from.stop_agent();
  from.start_agent();
  from.wait_ready();
  wait_addresses(from, 2);
  wait_sent_on(from, 500);

  late.agent().send_signal(SIGCONT);
  late.wait_ready();
  wait_until(
      [&] {
        const double now = forwarded(from);
        datagrams.wait_progress(100, 20s);
        return forwarded(from) == now;
      },
      20s, late.name() + " to send to " + to.name() + " directly");
  EXPECT_EQ(datagrams.finish().all().lost, 0u);
  EXPECT_THAT(lab.complaints({"control database", "status could not be written"}),
              testing::IsEmpty());
}

/// In a large fleet no condition names the guest that is to come: its rows are read, by their
/// UUIDs, as to search for them takes the server long. First into a network that is new to the
/// host, then back to one that follows it.
TEST_F(Following, GuestMovesInALargeFleet) {
  Fleet fleet(FleetOptions{.name = "large", .host_access = false});
  std::string insert = R"(["Homeport")";
  for (std::size_t i = 0; i < agent::kSmallFleet; ++i) {
    insert +=
        R"(,{"op":"insert","table":"Host","row":{"name":"other)" + std::to_string(i) + R"("}})";
  }
  // A host that has nothing asks for the first application that comes by a condition.
  insert += R"(,{"op":"insert","table":"Network","row":{"name":"net2","vni":200}})"
            R"(,{"op":"insert","table":"Application","row":{"name":"vm2","driver":"qemu"}})"
            R"(,{"op":"insert","table":"Binding","row":{"name":"vm2","application":"vm2",)"
            R"("network":"net2","mac":"52:54:00:00:02:01","location":"hostB"}})";
  run_checked({"ovsdb-client", "transact", fleet.lab().database().local_remote(), insert + "]"});
  Host& from = fleet.wait_somewhere();
  Host& to = fleet.other_than(from);
  wait_addresses(to, 0);
  DatagramClient datagrams(fleet.lab().client(), "10.1.0.5", fleet.lab().directory() / "large.log");
  datagrams.wait_progress(500, 20s);
  DatabaseServer& server = fleet.lab().database().server(0);
  server.note_requests();
  for (Host* next : {&to, &from, &to}) {
    ASSERT_EQ(fleet.move(*next).status, 0);
    fleet.wait_settled(*next);
    wait_addresses(*next, 2);
    datagrams.wait_progress(500, 20s);
  }
  EXPECT_EQ(datagrams.finish().all().lost, 0u);
  EXPECT_THAT(fleet.lab().complaints({}), testing::IsEmpty());
  std::istringstream requests(server.requests());
  std::set<std::string> read;
  for (std::string line; std::getline(requests, line);) {
    auto has = [&](const std::string& text) { return line.find(text) != std::string::npos; };
    if (!has("|ssl:") || !has(R"("op":"select")")) continue;  // not of an agent
    EXPECT_FALSE(has(R"(["name","==","vm1"])") || has(R"(["application","==","vm1"])")) << line;
    for (const std::string table : {"Application", "Binding"}) {
      if (has("\"table\":\"" + table + "\"")) read.insert(table);
    }
  }
  EXPECT_THAT(read, testing::SizeIs(2));
}

/// Also by a host that has nothing of it: its own processes reach the applications, wherever they
/// go.
TEST_F(Following, NetworkThatHostsReachIsCarriedByAll) {
  Fleet fleet(FleetOptions{.name = "reach"});
  Host& from = fleet.wait_somewhere();
  Host& to = fleet.other_than(from);
  auto reached = [&] {
    for (Host* host : fleet.lab().hosts()) {
      wait_addresses(*host, 2);
      DatagramClient datagrams(host->inside(), "10.1.0.5",
                               fleet.lab().directory() / (host->name() + ".log"));
      datagrams.wait_progress(100, 20s);
    }
  };
  reached();
  ASSERT_EQ(fleet.move(to).status, 0);
  fleet.wait_settled(to);
  reached();
  EXPECT_THAT(fleet.lab().complaints({}), testing::IsEmpty());
}

}  // namespace
}  // namespace homeport::lab
