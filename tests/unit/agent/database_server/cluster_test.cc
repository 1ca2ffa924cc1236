// `homeport db init --cluster`: three servers on addresses of one loopback.
#include "agent/database_server/db_init.h"
#include "agent/database_server/ovsdb_tool.h"
#include "tests/unit/agent/database_server/server_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <stdexcept>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;

class ClusterTest : public testing::Test {
 protected:
  ClusterTest() { test::take_own_loopback(); }
  ~ClusterTest() override {
    for (const auto& entry : fs::directory_iterator(directory_.path())) {
      EXPECT_TRUE(stop_database(entry.path()));
    }
  }

  /// Server `number`, at 127.0.0.<number>; those after the first join it.
  DatabaseServerOptions options(int number) {
    DatabaseServerOptions made;
    made.directory = directory_.path() / std::to_string(number);
    made.schema = HOMEPORT_SCHEMA;
    made.cluster.emplace();
    made.cluster->local = *parse_endpoint(fmt::format("127.0.0.{}:6651", number));
    if (number > 1) made.cluster->join = {*parse_endpoint("127.0.0.1:6651")};
    made.cluster->files = test::certificates().issue("database");
    return made;
  }

  DatabaseServer start(const DatabaseServerOptions& which) {
    auto started = init_database(which);
    if (!started) throw std::runtime_error(started.error().message);
    return *started;
  }
  void start_three() {
    for (int number = 1; number <= 3; ++number) start(options(number));
  }

  std::string refusal(const DatabaseServerOptions& which) {
    auto made = init_database(which);
    return made ? "it was not refused" : made.error().message;
  }

  fs::path socket(int number) const {
    return directory_.path() / std::to_string(number) / "homeport.sock";
  }
  std::string all() const {
    return fmt::format("unix:{},unix:{},unix:{}", socket(1).string(), socket(2).string(),
                       socket(3).string());
  }
  /// Asks again while the servers elect a leader.
  void transact(const std::string& operations) {
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    while (true) {
      auto done = run_tool(
          {"ovsdb-client", "--timeout=5", "transact", all(), "[\"Homeport\"," + operations + "]"});
      if (done && done->status == 0) return;
      if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("no leader");
    }
  }

  test::TemporaryDirectory directory_;
};

TEST_F(ClusterTest, WaitsForALeaderAsLongAsItWasBegunWith) {
  DatabaseServerOptions first = options(1);
  first.cluster->election_timer = 7500ms;
  start(first);
  start(options(2));
  for (int number : {1, 2}) {
    const fs::path control = socket(number).parent_path() / "ovsdb-server.ctl";
    EXPECT_THAT(test::must({"ovs-appctl", "-t", control, "cluster/status", "Homeport"}),
                HasSubstr("Election timer: 7500"));
  }
}

TEST_F(ClusterTest, GoesOnWithoutOneAndTakesItBack) {
  const auto first = start(options(1));
  EXPECT_TRUE(first.created);
  EXPECT_TRUE(first.joined);
  EXPECT_THAT(first.summary, HasSubstr("rights of hosts were written"));
  const auto second = start(options(2));
  EXPECT_TRUE(second.created);
  EXPECT_TRUE(second.joined);
  start(options(3));
  EXPECT_THAT(start(options(2)).summary, HasSubstr("Nothing had to be changed"));

  transact(R"({"op":"insert","table":"Storage","row":{"name":"before","kind":"nfs"}})");
  ASSERT_TRUE(*stop_database(options(1).directory));
  transact(R"({"op":"insert","table":"Storage","row":{"name":"without","kind":"nfs"}})");
  const auto again = start(options(1));
  EXPECT_FALSE(again.created);
  EXPECT_TRUE(again.started);
  const auto rows = test::must(
      {"ovsdb-client", "--no-leader-only", "dump", "unix:" + socket(1).string(), "Storage"});
  EXPECT_THAT(rows, testing::AllOf(HasSubstr("before"), HasSubstr("without")));
}

TEST_F(ClusterTest, RefusesWhatCannotWork) {
  auto wrong = options(1);
  wrong.cluster->local = *parse_endpoint("0.0.0.0:6651");
  EXPECT_THAT(refusal(wrong), HasSubstr("name an address of this machine"));
  wrong.cluster->local = Endpoint(asio::ip::address_v4::loopback(), 0);
  EXPECT_THAT(refusal(wrong), HasSubstr("and a port"));
  wrong.cluster->local = *parse_endpoint("192.0.2.9:6651");
  EXPECT_THAT(refusal(wrong), HasSubstr("192.0.2.9:6651 is no address of this machine"));
  wrong = options(1);
  wrong.cluster->join = {wrong.cluster->local};
  EXPECT_THAT(refusal(wrong), HasSubstr("this server itself"));
  wrong = options(1);
  wrong.tls = DatabaseServerOptions::Tls{wrong.cluster->files, "127.0.0.1", 6650};
  EXPECT_THAT(refusal(wrong), HasSubstr("0.0.0.0 or [::]"));
  wrong = options(1);
  wrong.cluster->files.private_key = "/nowhere/database.key";
  EXPECT_THAT(refusal(wrong), HasSubstr("/nowhere/database.key"));
  asio::io_context context;
  asio::ip::tcp::acceptor taken(context, options(1).cluster->local);
  EXPECT_THAT(refusal(options(1)), HasSubstr("127.0.0.1:6651 is taken"));
  EXPECT_FALSE(fs::exists(options(1).directory)) << "nothing is left of what was refused";
}

TEST_F(ClusterTest, KeepsWhatADirectoryIs) {
  start(options(1));
  auto other = options(1);
  other.cluster->local = *parse_endpoint("127.0.0.9:6651");
  EXPECT_THAT(refusal(other), HasSubstr("cannot be changed to ssl:127.0.0.9:6651"));
  other.cluster.reset();
  EXPECT_THAT(refusal(other), HasSubstr("a server of a cluster"));
  auto single = options(2);
  single.cluster.reset();
  start(single);
  EXPECT_THAT(refusal(options(2)), HasSubstr("a single server"));
}

TEST_F(ClusterTest, CanBeToldAnotherServerToJoin) {
  auto lost = options(2);
  lost.cluster->join = {*parse_endpoint("127.0.0.8:6651")};
  lost.cluster->patience = 1s;
  auto alone = init_database(lost);
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().code, errc::timed_out);
  EXPECT_THAT(alone.error().message,
              testing::AllOf(HasSubstr("127.0.0.8:6651"), HasSubstr("ovsdb-server.log")));
  lost.cluster->join.clear();
  EXPECT_THAT(refusal(lost), HasSubstr("has not joined it yet")) << "it must not begin another one";
  start(options(1));
  EXPECT_TRUE(start(options(2)).joined);
}

TEST_F(ClusterTest, LivesAtIpv6Addresses) {
  auto first = options(1);
  first.cluster->local = *parse_endpoint("[::1]:6651");
  first.tls = DatabaseServerOptions::Tls{first.cluster->files, "::", 6650};
  EXPECT_EQ(start(first).tls_port, 6650);
  auto second = options(2);
  second.cluster->local = *parse_endpoint("[::1]:6652");
  second.cluster->join = {first.cluster->local};
  EXPECT_TRUE(start(second).joined);
  const auto& files = test::certificates().issue("a");
  const auto answer = test::must(
      {"ovsdb-client", "--private-key=" + files.private_key.string(),
       "--certificate=" + files.certificate.string(), "--ca-cert=" + files.ca_certificate.string(),
       "transact", "ssl:[::1]:6650",
       R"(["Homeport",{"op":"insert","table":"Network","row":{"name":"blue","vni":100}}])"});
  EXPECT_THAT(answer, HasSubstr("permission error"));
}

}  // namespace
}  // namespace homeport::agent
