// `homeport db init`: the embedded server, and what its rights let a host do.
#include "agent/database_server/db_init.h"

#include "agent/control/database.h"
#include "tests/unit/agent/database_server/server_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include <fstream>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

class DbInitTest : public testing::Test {
 protected:
  ~DbInitTest() override { EXPECT_TRUE(stop_database(options.directory)); }
  std::string transact(const std::string& remote, const std::string& operations,
                       const std::vector<std::string>& more = {}) {
    std::vector<std::string> command{"ovsdb-client"};
    command.insert(command.end(), more.begin(), more.end());
    command.insert(command.end(), {"transact", remote, "[\"Homeport\"," + operations + "]"});
    return test::run_command(command).text;
  }

  test::TemporaryDirectory directory;
  DatabaseServerOptions options{
      .directory = directory.path() / "db", .schema = HOMEPORT_SCHEMA, .tls = {}, .cluster = {}};
};

TEST_F(DbInitTest, SaysWhereItMayNotLook) {
  // A folder that leads to itself; root may look everywhere else.
  fs::create_symlink("db", options.directory);
  EXPECT_THAT(init_database(options).error().message,
              HasSubstr("cannot look for " + (options.directory / "homeport.db").string()));
}

TEST_F(DbInitTest, MakesStartsAndStops) {
  auto made = init_database(options);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_TRUE(made->created);
  EXPECT_TRUE(made->started);
  EXPECT_FALSE(made->tls_port);
  EXPECT_THAT(made->summary, HasSubstr("Created"));
  transact(made->unix_remote,
           R"({"op":"insert","table":"Storage","row":{"name":"s","kind":"nfs"}})");

  auto again = init_database(options);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_FALSE(again->created);
  EXPECT_FALSE(again->started);
  EXPECT_THAT(again->summary, HasSubstr("Nothing had to be changed"));

  EXPECT_TRUE(*stop_database(options.directory));
  EXPECT_FALSE(*stop_database(options.directory));
  auto restarted = init_database(options);
  ASSERT_TRUE(restarted);
  EXPECT_FALSE(restarted->created);
  EXPECT_TRUE(restarted->started);
  EXPECT_THAT(transact(restarted->unix_remote,
                       R"({"op":"select","table":"Storage","where":[],"columns":["name"]})"),
              HasSubstr(R"("name":"s")"));
}

TEST_F(DbInitTest, LeavesADatabaseOfAnotherVersionAlone) {
  ASSERT_TRUE(init_database(options));
  std::ifstream original(HOMEPORT_SCHEMA);
  std::string text(std::istreambuf_iterator<char>(original), {});
  const std::string key = "\"version\": \"";
  auto version = text.find(key);
  ASSERT_NE(version, text.npos);
  version += key.size();
  text.replace(version, text.find('"', version) - version, "9.0.0");
  options.schema = directory.path() / "other.ovsschema";
  std::ofstream(options.schema) << text;
  auto refused = init_database(options);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("9.0.0"));
}

TEST_F(DbInitTest, DoesNotMixASingleServerAndACluster) {
  ASSERT_TRUE(init_database(options));
  const auto files = test::certificates().issue("database");
  options.cluster.emplace();
  options.cluster->local = *parse_endpoint("127.0.0.1:1");
  options.cluster->files = files;
  EXPECT_THAT(init_database(options).error().message, HasSubstr("single server"));
  options.tls = {files, "192.0.2.1", 6650};
  EXPECT_THAT(init_database(options).error().message, HasSubstr("0.0.0.0"));
}

TEST_F(DbInitTest, SaysWhatIsMissing) {
  auto good = options;
  options.schema = "/nowhere/homeport.ovsschema";
  EXPECT_THAT(init_database(options).error().message, HasSubstr("/nowhere/homeport.ovsschema"));
  options = good;
  options.directory = directory.path() / std::string(120, 'x');
  EXPECT_EQ(init_database(options).error().code, errc::filename_too_long);
  options = good;
  options.tls =
      DatabaseServerOptions::Tls{{"/nowhere/key", "/nowhere/cert", "/nowhere/ca"}, "127.0.0.1", 0};
  EXPECT_THAT(init_database(options).error().message, HasSubstr("/nowhere/key"));
}

class RightsTest : public DbInitTest {
 protected:
  void SetUp() override {
    options.tls =
        DatabaseServerOptions::Tls{test::certificates().issue("database"), "127.0.0.1", 0};
    auto made = init_database(options);
    ASSERT_TRUE(made) << made.error().message;
    ASSERT_TRUE(made->tls_port);
    local = made->unix_remote;
    remote = fmt::format("ssl:127.0.0.1:{}", *made->tls_port);
    transact(local,
             R"({"op":"insert","table":"Host","row":{"name":"b"}},)"
             R"({"op":"insert","table":"Network","row":{"name":"blue","vni":100}},)"
             R"({"op":"insert","table":"Application","row":{"name":"vm1","driver":"qemu"}},)"
             R"({"op":"insert","table":"Application","row":{"name":"vm2","driver":"qemu"}},)"
             R"({"op":"insert","table":"Binding","row":{"name":"vm1","application":"vm1",)"
             R"("network":"blue","mac":"52:54:00:00:00:01","location":"a","generation":1}},)"
             R"({"op":"insert","table":"Binding","row":{"name":"vm2","application":"vm2",)"
             R"("network":"blue","mac":"52:54:00:00:00:02","location":"b","generation":1}})");
  }
  std::string as(const overlay::ovsdb::TlsFiles& files, const std::string& operations) {
    return transact(remote, operations,
                    {"--private-key=" + files.private_key.string(),
                     "--certificate=" + files.certificate.string(),
                     "--ca-cert=" + files.ca_certificate.string()});
  }

  std::string local, remote;
};

TEST_F(RightsTest, LetAHostWriteItsOwn) {
  asio::io_context io;
  DatabaseOptions database_options;
  database_options.session.remotes = remote;
  database_options.session.tls = test::certificates().issue("a");
  database_options.operation_timeout = 10s;
  ControlDatabase database(io.get_executor(), database_options);
  database.start();
  Host host;
  host.name = "a";
  auto published = test::run(io, database.publish_host(host));
  ASSERT_TRUE(published) << published.error().message;
  host.version = "0.1.0";
  EXPECT_TRUE(test::run(io, database.publish_host(host)));
  Interface eth0;
  eth0.name = "eth0";
  eth0.address = asio::ip::make_address("192.0.2.1");
  EXPECT_TRUE(test::run(io, database.publish_interfaces("a", {eth0})));
  eth0.mtu = 1500;
  EXPECT_TRUE(test::run(io, database.publish_interfaces("a", {eth0})));
  EXPECT_TRUE(test::run(io, database.publish_interfaces("a", {})));
  HostStatus status;
  status.host = "a";
  status.last_seen = wall_clock_now();
  EXPECT_TRUE(test::run(io, database.publish_status(status)));
  status.state = HostState::ready;
  EXPECT_TRUE(test::run(io, database.publish_status(status)));
  TaskStatus task;
  task.task = *parse_uuid("00112233-4455-6677-8899-aabbccddeeff");
  task.host = "a";
  task.application = "vm1";
  EXPECT_TRUE(test::run(io, database.write_task_status(task)));
  task.state = TaskState::succeeded;
  task.finished = wall_clock_now();
  task.total = task.downtime = task.eta = 5ms;
  task.phase = task.error = task.source = task.destination = "x";
  task.bytes_sent = task.bytes_total = task.ram_bytes = task.rounds = task.bytes_per_second = 1;
  task.figures = {{"stop_us", 1}};
  task.lanes = {{"192.0.2.1", "192.0.2.2:6711", LaneState::given_up, 1, 1}};
  EXPECT_TRUE(test::run(io, database.write_task_status(task)));
  EXPECT_THAT(as(test::certificates().issue("a"),
                 R"({"op":"update","table":"Binding","where":[["name","==","vm1"]],)"
                 R"("row":{"current_addresses":"203.0.113.1"}})"),
              HasSubstr(R"("count":1)"));
  // It gives its application away, and then it is not its own any more.
  EXPECT_EQ(*test::run(io, database.commit_move("vm1", "a", "b", 1)), Outcome::committed);
  EXPECT_EQ(*test::run(io, database.commit_move("vm1", "b", "a", 2)), Outcome::failed);
  EXPECT_EQ(*test::run(io, database.commit_move("vm2", "b", "a", 1)), Outcome::failed);
  host.name = "b";
  EXPECT_EQ(test::run(io, database.publish_host(host)).error().code, errc::permission_denied);
  Network network;
  network.name = "red";
  network.vni = 200;
  EXPECT_EQ(test::run(io, database.put_network(network)).error().code, errc::permission_denied);
}

TEST_F(RightsTest, LetAHostWriteNothingElse) {
  auto a = test::certificates().issue("a");
  EXPECT_THAT(as(a, R"({"op":"insert","table":"Host","row":{"name":"a"}})"),
              Not(HasSubstr("error")));
  const char* forbidden[] = {
      R"({"op":"update","table":"Host","where":[["name","==","b"]],"row":{"version":"x"}})",
      R"({"op":"update","table":"Host","where":[["name","==","a"]],"row":{"name":"c"}})",
      R"({"op":"delete","table":"Host","where":[["name","==","b"]]})",
      R"({"op":"insert","table":"Host","row":{"name":"c"}})",
      R"({"op":"update","table":"Binding","where":[["name","==","vm2"]],"row":{"location":"a"}})",
      R"({"op":"update","table":"Binding","where":[["name","==","vm1"]],"row":{"mac":"52:54:00:00:00:09"}})",
      R"({"op":"delete","table":"Binding","where":[["name","==","vm1"]]})",
      R"({"op":"insert","table":"Task","row":{"kind":"move","application":"vm1"}})",
      R"({"op":"insert","table":"Task_Status","row":{"task":"00112233-4455-6677-8899-aabbccddeeff",)"
      R"("host":"b","kind":"move","application":"vm1","state":"running"}})",
      R"({"op":"update","table":"Application","where":[],"row":{"qmp_socket":"/x"}})",
      R"({"op":"delete","table":"RBAC_Role","where":[]})",
      R"({"op":"update","table":"Global","where":[],"row":{"sequence":9}})"};
  for (const auto* operation : forbidden) {
    EXPECT_THAT(as(a, operation), HasSubstr("permission error")) << operation;
  }
  EXPECT_THAT(as(a, R"({"op":"select","table":"Binding","where":[]})"), HasSubstr("vm2"));
}

TEST_F(RightsTest, TurnAwayCertificatesOfAnotherCa) {
  test::Certificates others;
  auto stranger = others.issue("a");
  EXPECT_THAT(as(stranger, R"({"op":"select","table":"Host","where":[]})"), HasSubstr("failed"));
}

TEST_F(RightsTest, AreWrittenOnce) {
  auto again = init_database(options);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_THAT(again->summary, HasSubstr("Nothing had to be changed"));
  // What somebody has spoilt is mended.
  transact(local, R"({"op":"update","table":"RBAC_Permission","where":[["table","==","Binding"]],)"
                  R"("row":{"authorization":""}})");
  again = init_database(options);
  ASSERT_TRUE(again);
  EXPECT_THAT(again->summary, HasSubstr("rights of hosts were written"));
  // A listener survives the server, and a run without TLS.
  ASSERT_TRUE(*stop_database(options.directory));
  options.tls.reset();
  again = init_database(options);
  ASSERT_TRUE(again);
  EXPECT_THAT(
      transact(local, R"({"op":"select","table":"Connection","where":[],"columns":["role"]})"),
      HasSubstr("homeport-host"));
}

}  // namespace
}  // namespace homeport::agent
